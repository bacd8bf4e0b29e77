"""A short way to speak to the queue in a test, and a job, a picture, a card and a worker to speak of."""

from __future__ import annotations

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
    Lane,
    LeaseToken,
    NewJob,
    Submitted,
    Tenant,
    Terms,
    WorkerId,
    image_key,
    new_job_id,
)
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
    return NewJob(new_job_id(), tenant, model, params, {"note": "naïve"}, lane, work_ms, cancel_after_s)


def submit_call(job: NewJob, *, max_waiting: int = 1000) -> Call[Submitted]:
    return scripts.submit(job, replace(TERMS, max_waiting=max_waiting))


def claim_call(token: str | None = None, *, lease_s: float = LEASE_S, model: str = MODEL) -> Call[Claimed | None]:
    return scripts.claim(model, WORKER, LeaseToken(token or uuid4().hex), lease_s=lease_s)


def image_of(job: Job, index: int = 0) -> Image:
    return Image(
        index=index,
        seed=job.params.seed_of(index),
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

    def submit(self, *, tenant: Tenant = TENANT, model: str = MODEL, num_images: int = 1) -> Job:
        return self(submit_call(new_job(tenant=tenant, model=model, num_images=num_images))).job

    def claim(self, *, lease_s: float = LEASE_S) -> Claimed:
        claimed = self(claim_call(lease_s=lease_s))
        assert claimed is not None
        return claimed

    def read(self, job: Job) -> Job:
        return self(scripts.read(job.id, job.tenant))

    def reap(self, *, lease_s: float = LEASE_S, max_attempts: int = 3) -> scripts.Sweep:
        return self(scripts.reap(lease_s=lease_s, max_attempts=max_attempts))

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
