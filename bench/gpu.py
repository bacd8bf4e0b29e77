"""`make bench-gpu`: the rows of `make bench` for SSD-1B on a GPU, at 512x512 and 1024x1024, beside the device's floor.

    python -m bench.gpu [--random-weights] [--model segmind/SSD-1B] [--sides 512 1024] [--without-others]

`--random-weights` needs no checkpoint: a folder with the full architecture, all of its files and random numbers is made
first (4.5 GB); speed does not depend on what the weights are. All ways are up at once, each with a copy of the model:
with less than some 40 GB take `--without-others`, which leaves rows 2 and 3 out. `--tiny` tries the commands on any
machine, with a tiny model, and says nothing about speed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import Final, cast

import torch

from bench import load_ssd1b, memory, speed, start
from bench.ending import end_cleanly
from bench.floors import TERA, Work, data_sheet_peak, measured_peak
from bench.speed import Rounds, Scale
from bench.subject import Subject
from bench.table import markdown
from shared.generation import Size
from tests.tiny_checkpoint import make_tiny_checkpoint
from worker.engine.source import SSD_1B

TINY: Final = Scale(turns=1, pictures=2, rounds=1, mixed=4, users=2, bulk=8, bulk_by_others=2, interactive=2)
PARTS: Final = ("speed", "start", "memory")


def main() -> None:
    """Read the command line; find or make the checkpoint; run the parts."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all of them")
    parser.add_argument("--model", default=SSD_1B, help="a hub id or a folder")
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--without-others", action="store_true", help="leave rows 2 and 3 out")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--jobs", type=int, default=500, help="for memory")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.parts) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if not asked.tiny and not torch.cuda.is_available():
        sys.exit("There is no CUDA device here, so there is nothing to measure. `--tiny` tries the commands.")
    end_cleanly()
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as temporary:
        folder = Path(temporary)
        model, sides = asked.model, asked.sides
        if asked.tiny:
            model, sides = str(make_tiny_checkpoint(folder / "tiny")), [64]
        elif asked.random_weights:
            begun = time.monotonic()
            model = str(folder / "ssd-1b")
            load_ssd1b.build(Path(model))
            print(f"SSD-1B's architecture with random weights: made in {time.monotonic() - begun:.0f} s")
        subjects = [Subject.of(model, Size(width=side, height=side)) for side in sides]
        run(folder, subjects, asked)


def run(folder: Path, subjects: list[Subject], asked: argparse.Namespace) -> None:
    """Run the parts that are asked for; sizes one after another."""
    parts = asked.parts or PARTS
    if "speed" in parts:
        scale = replace(TINY if asked.tiny else Scale(), others=not asked.without_others)
        for subject in subjects:
            place = folder / f"speed-{subject.size}"
            place.mkdir()
            print_shares(subject, speed.main(place, subject, scale))
    for name in ("start", "memory"):
        if name in parts:
            place = folder / name
            place.mkdir()
            if name == "start":
                start.main(place, subjects[0], starts=2 if asked.tiny else 4)
            else:
                memory.main(place, subjects[0], jobs=60 if asked.tiny else asked.jobs, sizes=(subjects[0].size,))


def print_shares(subject: Subject, found: dict[str, Rounds]) -> None:
    """Print what share of the device's peak each way got; without CUDA only the operations."""
    work = Work.of(subject.checkpoint, subject.size)
    step, decode = 2 * work.step / TERA, work.decode / TERA
    print(f"\nOperations at {subject.size}: {step:.3g} T a guided step, {decode:.3g} T decoding.")
    if not torch.cuda.is_available():
        return
    device = torch.cuda.get_device_name()
    peaks = {"data sheet": data_sheet_peak(device), "matrix product, measured": measured_peak()}
    known = {name: peak for name, peak in peaks.items() if peak}
    rows: list[list[object]] = []
    for name, rounds in found.items():
        each = [
            (work.of_orders(one.order for one in drawn.drawn), drawn.wall_s, len(drawn.drawn))
            for drawn in rounds.rounds
        ]
        operations, seconds, pictures = (sum(column) for column in zip(*each, strict=True))
        floors = [f"{operations / peak / pictures:.3f}" for peak in known.values()]
        shares = [f"{operations / seconds / peak:.0%}" for peak in known.values()]
        rows.append([name, f"{seconds / pictures:.3f}", f"{operations / seconds / TERA:.0f}", *floors, *shares])
    head = ["way", "s a picture", "T operations a second"]
    head += [f"floor by {name} ({peak / TERA:.0f} T), s" for name, peak in known.items()]
    head += [f"share of {name}" for name in known]
    print(f"\n{device}\n\n{markdown(head, rows)}")


if __name__ == "__main__":
    main()
