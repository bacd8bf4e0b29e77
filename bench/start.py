"""Row 7: how long a worker takes from its start to `ready`, beside a process that only imports and loads.

    python -m bench start

In turn, the first of each thrown away: it brings the files into memory. The bare process imports torch and diffusers,
loads the pipeline and moves it to the device, and ends there; a worker also warms up, measures its speed and joins.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Final

from bench.site import Site
from bench.subject import Subject
from bench.table import Bar, markdown
from deploy.probe import has_warmed_up

BAR: Final = Bar(1.1, at_least=False)
BARE_IS_READY: Final = "loaded"
LOOK_S: Final = 0.02
LIMIT_S: Final = 120.0


def main(folder: Path, subject: Subject, starts: int) -> None:
    """Start both in turn, print the table."""
    bare: list[float] = []
    ready: list[float] = []
    told: list[float] = []
    with Site(folder, model=subject.model) as site:
        for _ in range(starts):
            begun = time.monotonic()
            process = site.start(("-m", "bench.baselines.bare_start", str(subject.checkpoint)), BARE_IS_READY)
            bare.append(time.monotonic() - begun)
            process.stop(LIMIT_S)
            begun = time.monotonic()
            process = site.worker()
            ready.append(time.monotonic() - begun)
            while not has_warmed_up(site.settings, process.pid or 0):
                if time.monotonic() - begun > LIMIT_S:
                    raise TimeoutError(f"The fleet does not know the worker as ready after {LIMIT_S:g} s.")
                time.sleep(LOOK_S)
            told.append(time.monotonic() - begun)
            process.stop(LIMIT_S)
    base = median(bare[1:])
    rows: list[list[object]] = [["import, `from_pretrained`, to the device", base, 1.0, None]]
    ratio = median(mine / its for mine, its in zip(ready[1:], bare[1:], strict=True))
    rows.append(["worker, ready by its log", median(ready[1:]), ratio, BAR.judge(ratio)])
    ratio = median(mine / its for mine, its in zip(told[1:], bare[1:], strict=True))
    rows.append(["worker, ready in the fleet", median(told[1:]), ratio, None])
    print(f"\n{markdown(('row 7: start to ready', 's, median', 'ratio', 'bar'), rows)}\n\n{starts - 1} starts each.")
