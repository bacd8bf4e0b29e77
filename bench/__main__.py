"""`make bench`: the product beside other ways to the same pictures, on the demo model and the CPU.

    python -m bench [PART ...] [--quick]

Without names: speed, start, workers, memory, gateway. `--quick` draws little, to see that everything runs. By name
only: one_user (rows 1 and 4 of speed, by themselves), queue, redis, estimate, streams, engine. `bench/README.md` has
the last tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Final, cast

from bench.ending import end_cleanly
from bench.subject import Subject

USUAL: Final = ("speed", "start", "workers", "memory", "gateway")


def speed(folder: Path, *, quick: bool) -> None:
    """Rows 1 to 6."""
    from bench import speed  # noqa: PLC0415 (each part brings much along)

    scale = speed.Scale(turns=1, pictures=2, rounds=1, mixed=4, users=2, bulk=8, bulk_by_others=2, interactive=2)
    speed.main(folder, Subject.of("demo"), scale if quick else speed.Scale())


def one_user(folder: Path, *, quick: bool) -> None:
    """Rows 1 and 4 alone."""
    from bench import speed  # noqa: PLC0415

    speed.one_user(folder, Subject.of("demo"), speed.Scale(turns=2) if quick else speed.Scale())


def start(folder: Path, *, quick: bool) -> None:
    """Row 7."""
    from bench import start  # noqa: PLC0415

    start.main(folder, Subject.of("demo"), starts=2 if quick else 9)


def workers(folder: Path, *, quick: bool) -> None:
    """Row 8."""
    from bench import workers  # noqa: PLC0415

    workers.main(folder, workers.Scale(counts=(1, 2), jobs_each=2) if quick else workers.Scale())


def memory(folder: Path, *, quick: bool) -> None:
    """Growth."""
    from bench import memory  # noqa: PLC0415

    memory.main(folder, Subject.of("demo"), jobs=60 if quick else 500)


def queue(_folder: Path, *, quick: bool) -> None:
    """The queue's verbs."""
    from bench import queue  # noqa: PLC0415

    queue.main(*((20_000, 100, 300) if quick else ()))


def redis(folder: Path, *, quick: bool) -> None:
    """One Redis: what a job costs it."""
    from bench import redis  # noqa: PLC0415

    few = redis.Scale(jobs=400, workers=50, calls=100, seconds=0.5, full=100)
    redis.main(folder, few if quick else redis.Scale())


def estimate(_folder: Path, *, quick: bool) -> None:
    """Times and places told."""
    from bench import estimate  # noqa: PLC0415

    estimate.main(["--seconds", "20"] if quick else [])


def streams(folder: Path, *, quick: bool) -> None:
    """A thousand streams of events."""
    from bench import streams  # noqa: PLC0415

    few, usual = (streams.Load(50, 5, 5),), (streams.Load(1000, 20, 30), streams.Load(1000, 100, 30))
    streams.main(folder, few if quick else usual)


def engine(_folder: Path, *, quick: bool) -> None:
    """The engine beside the stock call, in one process."""
    from bench import engine  # noqa: PLC0415

    engine.main(pairs=2 if quick else 20)


def gateway(folder: Path, *, quick: bool) -> None:
    """Requests a second."""
    from bench import gateway  # noqa: PLC0415

    gateway.main(folder, gateway.Scale(rounds=1, seconds=0.5) if quick else gateway.Scale())


PARTS: Final[dict[str, Callable[..., None]]] = {
    part.__name__: part
    for part in (speed, start, workers, memory, gateway, one_user, queue, redis, estimate, streams, engine)
}


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="draw little, to see that everything runs")
    asked = parser.parse_args()
    unknown = sorted(set(asked.parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for every process: `make bench-gpu` is the other one
    end_cleanly()
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    for name in asked.parts or USUAL:
        begun = time.monotonic()
        print(f"\n## {name}")
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            PARTS[name](Path(folder), quick=asked.quick)
        print(f"\n({time.monotonic() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
