"""A short way to speak to the queue in a test, and a job, a picture, a card and a worker to speak of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar, cast
from uuid import uuid4

import redis

from shared import scripts
from shared.call import Call
from shared.connection import run
from shared.contract import WorkerState
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, OutputFormat, Scheduler, Size
from shared.jobs import (
    Image,
    Job,
    JobError,
    JobId,
    LeaseToken,
    NewJob,
    Once,
    Submitted,
    Tenant,
    Terms,
    WorkerId,
    image_key,
    new_job_id,
)
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.scripts import Claimed, Lease

T = TypeVar("T")

TENANT = Tenant("ann")
OTHER = Tenant("bob")
MODEL = "segmind/SSD-1B"
WORKER = WorkerId("host-1-a")
KEEP_S = 3600
LEASE_S = 5.0
TERMS = Terms(keep_s=KEEP_S)


CARD = ModelCard(
    id=MODEL,
    title="SSD-1B",
    revision="0" * 40,
    description="A small SDXL.",
    aspect_ratios=(AspectRatio(name="Square 1:1", size=Size(width=1024, height=1024)),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(
        size=Size(width=1024, height=1024), num_inference_steps=25, guidance_scale=9, scheduler=Scheduler.EULER
    ),
)


def new_job(
    *,
    tenant: Tenant = TENANT,
    model: str = MODEL,
    num_images: int = 1,
    prompt: str = "a fox",
    steps: int = 10,
    lane: Lane = Lane.INTERACTIVE,
    work_ms: int = 1000,
    cancel_after_s: int | None = None,
    needs: int | None = None,
) -> NewJob:
    params = GenerationParams(
        prompt=prompt,
        width=512,
        height=512,
        num_inference_steps=steps,
        guidance_scale=7.5,
        seed=7,
        num_images=num_images,
        scheduler=Scheduler.EULER,
    )
    return NewJob(new_job_id(), tenant, model, params, {"note": "naïve"}, lane, work_ms, cancel_after_s, needs=needs)


def submit_call(
    job: NewJob, *, max_waiting: int = 1000, once: Once | None = None, result: str | None = None
) -> Call[Submitted]:
    return scripts.submit(job, replace(TERMS, max_waiting=max_waiting), once=once, result=result)


def claim_call(token: str | None = None, *, lease_s: float = LEASE_S, model: str = MODEL) -> Call[Claimed | None]:
    return scripts.claim(model, WORKER, LeaseToken(token or uuid4().hex), lease_s=lease_s)


def image_of(job: Job, index: int = 0) -> Image:
    return Image(
        index=index,
        seed=job.params.seed_of(index),
        variation_seed=job.params.variation_seed_of(index),
        key=image_key(job.tenant, job.id, index, OutputFormat.PNG),
        size=Size(width=512, height=512),
        output_format=OutputFormat.PNG,
        num_bytes=3,
        sha256="ab" * 32,
    )


class Desk:
    """What a test says to the queue, in its shortest form."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def __call__(self, call: Call[T]) -> T:
        return run(self.client, call)

    def submit(
        self,
        *,
        tenant: Tenant = TENANT,
        model: str = MODEL,
        num_images: int = 1,
        steps: int = 10,
        lane: Lane = Lane.INTERACTIVE,
        work_ms: int = 1000,
        cancel_after_s: int | None = None,
        needs: int | None = None,
        terms: Terms = TERMS,
        result: str | None = None,
    ) -> Job:
        job = new_job(
            tenant=tenant,
            model=model,
            num_images=num_images,
            steps=steps,
            lane=lane,
            work_ms=work_ms,
            cancel_after_s=cancel_after_s,
            needs=needs,
        )
        return self(scripts.submit(job, terms, result=result)).job

    def claim(self, *, lease_s: float = LEASE_S) -> Claimed:
        claimed = self(claim_call(lease_s=lease_s))
        assert claimed is not None
        return claimed

    def submit_many(self, number: int, *, tenant: Tenant | None = TENANT) -> list[NewJob]:
        """Submit many at once; None: each for another tenant."""
        jobs = [new_job(tenant=tenant or Tenant(f"tenant{at}")) for at in range(number)]
        self.all(submit_call(job, max_waiting=100_000) for job in jobs)
        return jobs

    def all(self, calls: Iterable[Call[T]]) -> None:
        """Send many calls without waiting for each."""
        self(scripts.fleet())  # so that Redis knows the library
        with self.client.pipeline(transaction=False) as pipeline:  # pyright: ignore[reportUnknownMemberType]: untyped
            for call in calls:
                pipeline.execute_command(*call.words)  # pyright: ignore[reportUnknownMemberType]: **options
            pipeline.execute()

    def draw_next(self) -> Job:
        """Claim the next job and finish it, as a worker would."""
        job, lease = (claimed := self.claim()).job, claimed.lease
        for index in range(job.params.num_images):
            self(scripts.add_image(lease, image_of(job, index)))
        self(scripts.finish(lease))
        return self.read(job)

    def cancel(self, job: Job | NewJob) -> Job:
        return self(scripts.cancel(job.id, job.tenant))

    def read(self, job: Job | NewJob) -> Job:
        return self(scripts.read(job.id, job.tenant))

    def reap(self, *, lease_s: float = LEASE_S, max_attempts: int = 3) -> scripts.Sweep:
        return self(scripts.reap(lease_s=lease_s, max_attempts=max_attempts))

    def lapse(self, job_id: JobId, at_ms: int = 1) -> None:
        """Let a running job's lease have ended long ago."""
        self.client.zadd(DEFAULT.prefix + "leases", {job_id: at_ms}, xx=True)

    def pass_deadline(self, job_id: JobId, at_ms: int = 1) -> None:
        """Let a job's deadline have been long ago."""
        self.client.hset(f"{DEFAULT.prefix}job:{job_id}", "deadline_ms", str(at_ms))
        self.client.zadd(DEFAULT.prefix + "deadlines", {job_id: at_ms}, xx=True)

    def grow_old(self, job_id: JobId) -> None:
        """Let an ended job have been kept long enough."""
        self.client.zadd(DEFAULT.prefix + "expiry", {job_id: 1}, xx=True)

    def make_due(self, objects: Iterable[str]) -> None:
        """Let the time have come to delete these objects."""
        self.client.zadd(DEFAULT.prefix + "trash", dict.fromkeys(objects, 1), xx=True)

    def sweep_was(self, ago_s: float) -> None:
        """Let the last sweep have been so long ago."""
        self.client.set(DEFAULT.prefix + "swept", self.now_ms() - round(ago_s * 1000))

    def lease_left_ms(self, job_id: JobId) -> float:
        ends = self.client.zscore(DEFAULT.prefix + "leases", job_id)
        assert isinstance(ends, float)
        return ends - self.now_ms()

    def now_ms(self) -> int:
        seconds, micros = self.client.time()  # pyright: ignore[reportUnknownMemberType]: **kwargs
        return seconds * 1000 + micros // 1000

    def dump(self) -> dict[bytes, object]:
        """All that Redis holds, so that a test can see that nothing changed."""
        return {key: self.client.dump(key) for key in self.all_keys()}

    def all_keys(self) -> list[bytes]:
        return cast("list[bytes]", self.client.keys())  # pyright: ignore[reportUnknownMemberType]: **kwargs


def state(name: str = "w1") -> WorkerState:
    return WorkerState(
        id=name, state="ready", model=MODEL, device="cpu", software_version="0.1.0", started_at_ms=1_700_000_000_000
    )


def finished(desk: Desk, job: Job, lease: Lease) -> None:
    desk(scripts.add_image(lease, image_of(job)))
    desk(scripts.finish(lease))


def failed(desk: Desk, _job: Job, lease: Lease) -> None:
    desk(scripts.fail(lease, JobError(code="model_error", message="No.")))
