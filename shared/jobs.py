"""The job: one request, from accepted to ended. Its states, its record, its results.

                       ┌────────── release, reap ──────────┐
                       ▼                                   │
    submit ──►      QUEUED ─────────── claim ───────► RUNNING
                       │                                   │
                       └──────────── cancel ─────┐         ├── finish ──► SUCCEEDED
                                                 ▼         ├── fail, reap ► FAILED
                                             CANCELED ◄────┘ cancel

Only the Lua scripts in `shared/lua` move a job; each move raises `version`. This module reads what
they wrote and knows nothing of Redis.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from pydantic import BaseModel, ConfigDict

from shared.generation import GenerationParams, OutputFormat, Size

JobId = NewType("JobId", str)
"""26 characters of Crockford base 32, 130 random bits: unguessable and safe in a URL."""

Tenant = NewType("Tenant", str)
"""Who pays and shares fairly."""

WorkerId = NewType("WorkerId", str)
"""One worker process: host, process id and a random part, so that a restart is another worker."""

LeaseToken = NewType("LeaseToken", str)
"""A worker's timed claim to one attempt at one job; every write of the worker carries it."""

LOCAL_TENANT: Final = Tenant("local")
"""Everybody, while the gateway has no keys."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_job_id() -> JobId:
    """Draw an id that nobody can guess."""
    return JobId("".join(secrets.choice(_ALPHABET) for _ in range(26)))


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """Accepted and waiting for a worker."""
    RUNNING = "running"
    """Leased to a worker."""
    SUCCEEDED = "succeeded"
    """Every picture is in the object store."""
    FAILED = "failed"
    """Ended without its pictures; `error` says why."""
    CANCELED = "canceled"
    """Ended because somebody asked for that."""
    EXPIRED = "expired"
    """Waited past its deadline. Reserved: nothing sets deadlines yet."""

    @property
    def is_terminal(self) -> bool:
        """True once nothing can change the job any more."""
        return self not in {JobStatus.QUEUED, JobStatus.RUNNING}


class Value(BaseModel):
    """An immutable part of a job's record."""

    model_config = ConfigDict(frozen=True)


class Image(Value):
    """One finished picture in the object store."""

    index: int
    seed: int
    key: str
    """Object key: `images/{tenant}/{job}/{index}.{suffix}`; the same for every attempt."""
    size: Size
    """As stored, after any resize."""
    output_format: OutputFormat
    num_bytes: int
    sha256: str


class JobWarning(Value):
    """Something that the requester should know though the job goes on."""

    code: str
    """`prompt_truncated` or `negative_prompt_truncated`."""
    message: str


class JobError(Value):
    """Why a job failed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """What `submit` writes."""

    id: JobId
    tenant: Tenant
    model: str
    params: GenerationParams
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """A job as one atomic read found it. Times are Unix milliseconds by Redis' clock."""

    id: JobId
    tenant: Tenant
    model: str
    params: GenerationParams
    metadata: dict[str, str]
    status: JobStatus
    version: int
    created_at_ms: int
    started_at_ms: int | None
    """The first attempt's start."""
    completed_at_ms: int | None
    attempt: int
    """Charged attempts, the running one included; 0 before the first claim."""
    worker: WorkerId | None
    step: int
    """Denoising steps done over all of the job's pictures."""
    steps: int
    """Denoising steps in all: `num_inference_steps * num_images`, as the schedulers count them."""
    images: tuple[Image, ...]
    warnings: tuple[JobWarning, ...]
    error: JobError | None
    position: int | None
    """Place among the waiting: 0 goes next; None unless queued."""


def image_key(tenant: Tenant, job_id: JobId, index: int, output_format: OutputFormat) -> str:
    """The object key of a job's picture: deterministic, so that a second attempt overwrites."""
    return f"images/{tenant}/{job_id}/{index}.{output_format.suffix}"


def image_file_name(job_id: JobId, index: int, output_format: OutputFormat) -> str:
    """The name under which a job's picture is saved: plain ASCII, no two alike."""
    return f"darkroom-{job_id}-{index}.{output_format.suffix}"
