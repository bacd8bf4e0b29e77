"""Whole jobs by the queue's own verbs, from the submit to the end, drawn nowhere, at a rate: a process of its own.

    python -m bench.whole_jobs REDIS_URL  <  runs in JSON, one a line        prints what came of each, likewise

A job's life takes the calls that gateways, workers and callers make of a real one; its seconds are not waited for, so a
few connections stand for a large fleet.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from bench.callers import Callers, Talk, due_evenly
from bench.price import FORGOTTEN_AT_ONCE, Mix
from bench.streams import CARD, JPEG, PARAMS
from shared.contract import Memory, Speed, WorkerState
from shared.generation import OutputFormat
from shared.jobs import Image, JobId, LeaseToken, NewJob, Tenant, Terms, WorkerId, drawn, image_key, new_job_id
from shared.scripts import (
    Lease,
    add_image,
    claim,
    discard,
    finish,
    heartbeat,
    progress,
    read,
    reap,
    renew,
    retire,
    submit,
)

TENANTS: Final = 100
LEASE_S: Final = 3600.0
TERMS: Final = Terms(keep_s=0, max_waiting=10_000_000, max_tenant_waiting=10_000_000)


@dataclass(frozen=True, slots=True)
class Run:
    """So many jobs."""

    jobs: int
    per_second: float | None
    """None: all are due at once."""
    connections: int
    workers: int
    """That are known to the fleet."""
    mix: Mix


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run."""

    late_s: list[float]
    """From when each job's submit was due to its reply."""
    took_s: float
    cpu_s: float
    """This process' own."""


def worker_id(number: int) -> WorkerId:
    """Name a worker of the bench."""
    return WorkerId(f"gpu-host-{number:04d}-{number + 4711}-7f3a9c")


def state_of(number: int) -> WorkerState:
    """Say what a worker says of itself."""
    return WorkerState(
        id=worker_id(number),
        state="ready",
        model=CARD.id,
        device="NVIDIA H100 80GB HBM3",
        software_version="0.1.0",
        started_at_ms=1_700_000_000_000,
        jobs=1,
        memory=Memory(used_bytes=9_000_000_000, total_bytes=80_000_000_000),
        speeds=tuple(
            Speed(width=side, height=side, guided=True, step_ms=100.0, picture_ms=300.0) for side in (512, 768, 1024)
        ),
    )


def new_job() -> NewJob:
    """Make a job as the gateway does."""
    tenant = Tenant(f"tenant-{random.randrange(TENANTS)}")
    return NewJob(new_job_id(), tenant, CARD.id, PARAMS, {}, work_ms=2800, asked=drawn(26))


def picture_of(tenant: Tenant, job: JobId) -> Image:
    """Make the record of a job's picture."""
    return Image(
        index=0,
        seed=7,
        key=image_key(tenant, job, 0, OutputFormat.PNG),
        size=PARAMS.size,
        output_format=OutputFormat.PNG,
        num_bytes=400_000,
        sha256="ab" * 32,
    )


def life(mix: Mix, number: int, workers: int) -> Talk:
    """One job's calls, in their order; every hundredth has a hundred old ones forgotten."""
    new, worker = new_job(), random.randrange(workers)
    yield submit(new, TERMS, result=drawn(32))
    claiming = claim(CARD.id, worker_id(worker), LeaseToken(drawn(32)), lease_s=LEASE_S)
    reply = yield claiming
    claimed = claiming.parse(reply)
    if claimed is None:
        raise RuntimeError("no job waits")
    job, lease = claimed.job, claimed.lease
    beats = 0
    for step in range(mix.steps + 1):
        yield progress(lease, step, jpeg=JPEG if 0 < step <= mix.previews else b"")
        if step * mix.seconds >= (beats + 1) * mix.steps:
            beats += 1
            yield from beat(worker, lease)
    for _ in range(mix.polls):
        yield read(job.id, job.tenant)
    yield add_image(lease, picture_of(job.tenant, job.id))
    yield finish(lease)
    if number % FORGOTTEN_AT_ONCE == 0:
        retiring = retire(limit=FORGOTTEN_AT_ONCE)
        reply = yield retiring
        if objects := retiring.parse(reply).objects:
            yield discard(objects)


def beat(worker: int, lease: Lease) -> Talk:
    """What a worker's heartbeat and its sweep ask, each second."""
    yield renew([lease], lease_s=LEASE_S)
    yield heartbeat(state_of(worker), life_s=LEASE_S)
    yield reap(lease_s=LEASE_S, max_attempts=3)


def ran(callers: Callers, order: Run) -> Ran:
    """Have the jobs done."""
    lives = [life(order.mix, number, order.workers) for number in range(order.jobs)]
    begun, cpu = time.monotonic(), time.process_time()
    late = callers.hold(lives, due_evenly(order.jobs, order.per_second) if order.per_second else None)
    return Ran(late, time.monotonic() - begun, time.process_time() - cpu)


def main() -> None:
    """Carry out one run after another."""
    url = sys.argv[1]
    for line in sys.stdin:
        said = cast("dict[str, Any]", json.loads(line))
        order = Run(mix=Mix(**said.pop("mix")), **said)
        with Callers(url, order.connections) as callers:
            print(json.dumps(asdict(ran(callers, order))), flush=True)


if __name__ == "__main__":
    main()
