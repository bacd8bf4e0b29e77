"""Whether a worker grows: its memory after the first jobs and after hundreds.

    python -m bench memory [--jobs 500]

Short jobs of mixed sizes, with and without guidance, one after another through one worker. Resident memory is read
while the worker is idle.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from bench.load import Round
from bench.orders import short
from bench.site import Site
from bench.spans import Traced
from bench.subject import Subject
from bench.table import markdown
from bench.ways import Darkroom
from shared.generation import Size

FIRST_JOBS: Final = 50
"""After so many, allocators have met every size."""
USERS: Final = 4
SETTLE_S: Final = 0.5
MIB: Final = 2**20


def main(folder: Path, subject: Subject, jobs: int, sizes: Sequence[Size] = ()) -> None:
    """Send the jobs through, print the table. No sizes: all that the model advises."""
    sizes = sizes or [ratio.size for ratio in subject.card.aspect_ratios]
    with Site(folder, model=subject.model) as site:
        trace = folder / "trace.jsonl"
        with Darkroom(site, worker="bench.traced_worker", environment={"BENCH_TRACE": str(trace)}) as darkroom:
            darkroom.alone = False
            process = psutil.Process(darkroom.worker.pid)
            rows: list[list[object]] = []
            done = 0
            for upto in (0, min(FIRST_JOBS, jobs), (jobs + FIRST_JOBS) // 2, jobs):
                if upto > done:
                    _draw(darkroom, subject, range(done, upto), sizes)
                    done = upto
                time.sleep(SETTLE_S)
                peaks = Traced.read(trace).cuda_peaks
                cuda = peaks[-1] / MIB if peaks and peaks[-1] else None
                rows.append([done, process.memory_info().rss / MIB, process.num_threads(), process.num_fds(), cuda])
    print(f"\n{markdown(('jobs drawn', 'resident, MiB', 'threads', 'files', 'CUDA peak, MiB'), rows)}")
    grown = float(str(rows[-1][1])) - float(str(rows[1][1]))
    print(f"\n{grown:+.1f} MiB over the last {jobs - min(FIRST_JOBS, jobs)} jobs.")


def _draw(darkroom: Darkroom, subject: Subject, numbers: range, sizes: Sequence[Size]) -> Round:
    orders = [
        replace(
            order,
            width=sizes[at % len(sizes)].width,
            height=sizes[at % len(sizes)].height,
            guidance_scale=(1.0 if at % 2 else order.guidance_scale),
        )
        for at, order in zip(numbers, short(subject, len(numbers), seed=numbers.start), strict=True)
    ]
    return darkroom.draw(orders, USERS)
