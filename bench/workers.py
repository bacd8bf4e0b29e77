"""Row 8: jobs a second with 1, 4, 16 and 64 workers, against as many times the one worker's, and what gives way first.

    python -m bench workers

The workers are those of `bench.nursery`: real processes whose forwards sleep, on a real gateway, Valkey and S3 server.
Jobs are submitted over HTTP while all workers are paused. What counts is the time in which every worker could be busy:
from when as many jobs have begun as there are workers, until no job waits. A job that lies in it by half counts half.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, final

import httpx2
import psutil

from bench.orders import Order
from bench.piped import Piped
from bench.site import READY_S, Site
from bench.table import Bar, markdown
from shared.client import Client
from shared.connection import connect, run
from shared.contract import JobBody
from shared.jobs import JobStatus
from shared.scripts import fleet
from tests.tiny_checkpoint import make_tiny_checkpoint

BAR: Final = Bar(0.95)
FULL: Final = 0.9
"""Of the processors: above it the machine, not the product, is what the next worker lacks."""
SUBMITTERS: Final = 4
PAGE: Final = 100
LIMIT_S: Final = 300.0
LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is drawn."""

    counts: tuple[int, ...] = (1, 4, 16, 64)
    jobs_each: int = 8
    steps: int = 25
    step_ms: float = 100.0
    """As a large picture takes on a consumer's GPU: 2.8 s a job with its decoding."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What so many workers did."""

    workers: int
    jobs_per_s: float
    busy: dict[str, float]
    """Processors that each part kept busy, by its name."""
    window_s: float


@dataclass(frozen=True, slots=True)
class Stage:
    """The running system."""

    site: Site
    url: str
    client: Client
    nursery: Piped
    scale: Scale


def main(folder: Path, scale: Scale) -> None:
    """Start ever more workers, measure, print the table."""
    checkpoint = str(make_tiny_checkpoint(folder / "tiny"))
    with Site(folder, model=checkpoint, threads=1) as site, Client(url := site.gateway()) as client:
        told = {"BENCH_STEP_MS": str(scale.step_ms), "OPENBLAS_NUM_THREADS": "1", "DARKROOM_LOG_LEVEL": "WARNING"}
        words = ("-m", "bench.nursery")
        with Piped(words, {**site.environment, **told}, folder / "nursery.log") as nursery:
            nursery.hear()
            stage = Stage(site, url, client, nursery, scale)
            found: list[Throughput] = []
            for count in scale.counts:
                nursery.ask(str(count - (found[-1].workers if found else 0)))
                _wait_for(site, count)
                _draw(stage, jobs=count)
                found.append(_measure(stage, count))
            resident = sum(_own_bytes(process) for process in _family(nursery.pid)) / 2**30
    _print(found, resident)


def _measure(stage: Stage, count: int) -> Throughput:
    """Have jobs drawn and see how fast."""
    site = stage.site
    parts = {"Valkey": site.valkey.pid, "S3 server": site.s3.pid, "gateway": site.gateway_process.pid}
    pids = {name: pid for name, pid in parts.items() if pid} | {"workers": stage.nursery.pid, "this bench": os.getpid()}
    with Meter(pids) as meter:
        ended = _draw(stage, jobs=stage.scale.jobs_each * count)
    begun_s, ended_s = window(ended, count)
    return Throughput(count, rate(ended, begun_s, ended_s), meter.busy(begun_s, ended_s), ended_s - begun_s)


def _draw(stage: Stage, *, jobs: int) -> list[JobBody]:
    """Submit so many jobs, then let the workers begin, all at once; the jobs when they have ended."""
    orders = [Order("a red circle", "", 64, 64, stage.scale.steps, 1.0, seed) for seed in range(jobs)]
    httpx2.post(f"{stage.url}/v1/queue/pause", trust_env=False).raise_for_status()
    with ThreadPoolExecutor(SUBMITTERS) as threads:
        ids = {str(job.id) for job in threads.map(stage.client.submit, (order.request() for order in orders))}
    httpx2.post(f"{stage.url}/v1/queue/resume", trust_env=False).raise_for_status()
    return _await(stage.client, ids)


def _wait_for(site: Site, count: int) -> None:
    """Wait until so many workers are ready."""
    until = time.monotonic() + READY_S
    with connect(site.settings) as redis:
        while sum(worker.state == "ready" for worker in run(redis, fleet()).workers) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"Not all of {count} workers are ready after {READY_S:g} s.")
            time.sleep(0.2)


def _await(client: Client, ids: set[str]) -> list[JobBody]:
    """Wait until all of these have ended, reading them a page at a time, rarely: reading takes processors, too."""
    until = time.monotonic() + LIMIT_S
    while True:
        newest = client.jobs(limit=1).data[0]
        if newest.status.is_terminal:
            jobs = _read(client, ids)
            if all(job.status.is_terminal for job in jobs):
                break
        if time.monotonic() > until:
            raise TimeoutError(f"Not all of {len(ids)} jobs have ended after {LIMIT_S:g} s.")
        time.sleep(1.0)
    bad = [job for job in jobs if job.status is not JobStatus.SUCCEEDED]
    if bad:
        raise RuntimeError(f"{len(bad)} of {len(jobs)} jobs are {bad[0].status}: {bad[0].error}")
    return jobs


def _read(client: Client, ids: set[str]) -> list[JobBody]:
    found: list[JobBody] = []
    cursor: str | None = None
    while len(found) < len(ids):
        page = client.jobs(cursor=cursor, limit=PAGE)
        found += [job for job in page.data if job.id in ids]
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def window(jobs: Sequence[JobBody], workers: int) -> tuple[float, float]:
    """Tell when every worker could be busy, Unix seconds: as many jobs have begun, and some still wait."""
    begins = sorted(job.started_at.timestamp() for job in jobs if job.started_at)
    return begins[workers - 1], begins[-1]


def rate(jobs: Sequence[JobBody], begun_s: float, ended_s: float) -> float:
    """Jobs a second between two times; one that lies there in part counts in part. Raises ValueError without a time."""
    if ended_s <= begun_s:
        raise ValueError("There was no time in which all workers could be busy: give each more jobs.")
    done = 0.0
    for job in jobs:
        if job.started_at and job.completed_at:
            start, end = job.started_at.timestamp(), job.completed_at.timestamp()
            done += max(0.0, min(end, ended_s) - max(start, begun_s)) / (end - start)
    return done / (ended_s - begun_s)


@final
@dataclass(slots=True)
class Meter:
    """Reads the processors' time of processes and their children, once a second."""

    pids: dict[str, int]
    _seen: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Meter:
        self._look()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._look()

    def busy(self, begun_s: float, ended_s: float) -> dict[str, float]:
        """Give the processors that each kept busy in that time."""
        found: dict[str, float] = {}
        for name, seen in self._seen.items():
            inside = [(at, used) for at, used in seen if begun_s - LOOK_S <= at <= ended_s + LOOK_S]
            spans = list(pairwise(inside))
            lasted = sum(later[0] - sooner[0] for sooner, later in spans)
            found[name] = sum(later[1] - sooner[1] for sooner, later in spans) / lasted if lasted else 0.0
        return found

    def _loop(self) -> None:
        while not self._closing.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        for name, pid in self.pids.items():
            self._seen[name].append((time.time(), sum(map(_used_s, _family(pid, alone=pid == os.getpid())))))


def _family(pid: int, *, alone: bool = False) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process] if alone else [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _used_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def _own_bytes(process: psutil.Process) -> float:
    """Memory that is the process' own, and its share of what is shared; without that figure, all that is resident."""
    try:
        full = process.memory_full_info()
        return getattr(full, "pss", 0) or full.rss
    except psutil.Error:
        return 0.0


def _print(found: Sequence[Throughput], resident_gib: float) -> None:
    one = found[0].jobs_per_s / found[0].workers
    cores = os.cpu_count() or 1
    names = sorted(found[-1].busy, key=lambda name: -found[-1].busy[name])
    rows: list[list[object]] = []
    for each in found:
        linear = each.jobs_per_s / (one * each.workers)
        busy = sum(each.busy.values())
        bar = f"the machine is full: {busy:.1f} of {cores} cores" if busy > FULL * cores else BAR.judge(linear)
        rows.append([each.workers, each.jobs_per_s, linear, *(each.busy[name] for name in names), bar])
    head = ("row 8: workers", "jobs a second", "of linear", *(f"{name}, cores" for name in names), "bar")
    print(f"\n{markdown(head, rows)}")
    last = found[-1]
    per_job = ", ".join(f"{name} {1000 * last.busy[name] / last.jobs_per_s:.0f}" for name in names)
    print(f"\nAt {last.workers} workers a job costs, in ms of a processor: {per_job}.")
    print(
        f"Windows of {', '.join(f'{each.window_s:.0f}' for each in found)} s; the workers take {resident_gib:.1f} GiB."
    )
