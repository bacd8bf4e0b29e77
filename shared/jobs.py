"""The job: one request, from accepted to ended. Its states, its record, its results.

    nothing  ─► queued      submit
             ─► succeeded   submit, when another job had drawn its pictures
    queued   ─► running     claim
             ─► succeeded   finish, of the job that it joined
             ─► failed      fail or reap, of the job that it joined
             ─► queued      reroute, to another pool of its model
             ─► canceled    cancel, erase, withdraw, and of its batch: cancel_batch, erase_batch, withdraw_batch
             ─► expired     claim or reap, past its deadline
    running  ─► queued      release, not charged; reap, charged
             ─► succeeded   finish
             ─► failed      fail; reap, after the last attempt
             ─► canceled    cancel, erase, withdraw, and of its batch: cancel_batch, erase_batch, withdraw_batch;
                            reap, past its deadline

Only the Lua scripts in `shared/lua` move a job; each move raises `version`. This module reads what
they wrote and knows nothing of Redis.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from pydantic import BaseModel, ConfigDict

from shared.compatibility import needed_by
from shared.errors import DeadlinePassed
from shared.generation import GenerationParams, OutputFormat, Size
from shared.lanes import Lane
from shared.pools import class_in, model_in
from shared.words import Word

JobId = NewType("JobId", str)
"""26 characters of Crockford base 32, 130 random bits: unguessable and safe in a URL."""

Tenant = NewType("Tenant", str)
"""Who pays and shares fairly."""

WorkerId = NewType("WorkerId", str)
"""One worker process: host, process id and a random part, so that a restart is another worker."""

LeaseToken = NewType("LeaseToken", str)
"""A worker's timed claim to one attempt at one job; every write of the worker carries it."""

TraceParent = NewType("TraceParent", str)
"""A place in a trace, from which others go on: W3C's `traceparent`, 55 characters. Only of what is sampled."""

LOCAL_TENANT: Final = Tenant("local")
"""Whoever asks without a key, where none is needed."""

_ALPHABET = 8 * b"0123456789abcdefghjkmnpqrstvwxyz"
"""For each byte a character: that of its lower five bits."""
ID_PATTERN: Final = r"[0-9a-hjkmnp-tv-z]{26}"
"""The form of a job's id, a batch's and a webhook's."""

IMAGES: Final = "images/"
"""How the object keys of all pictures begin."""


def drawn(length: int) -> str:
    """Draw characters, of five random bits each, that nobody can guess."""
    return secrets.token_bytes(length).translate(_ALPHABET).decode()


def new_job_id() -> JobId:
    """Draw an id that nobody can guess."""
    return JobId(drawn(26))


class JobStatus(Word):
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
    """Waited past its deadline (`cancel_after`). One that runs by then is canceled."""

    @property
    def is_terminal(self) -> bool:
        """True once nothing can change the job any more."""
        return self not in _UNDER_WAY


_UNDER_WAY: Final = (JobStatus.QUEUED, JobStatus.RUNNING)


class Hold(StrEnum):
    """What keeps a waiting job besides those before it."""

    JOINED = "joined"
    """Another job of the tenant's draws the same pictures; they will be this job's too."""
    RUNNING_LIMIT = "running_limit"
    """As many of the tenant's jobs run as may at once."""


class Submission(StrEnum):
    """What became of a submit."""

    NEW = "new"
    """A job was accepted into the queue."""
    KNOWN = "known"
    """The job of this id was there already."""
    REPEATED = "repeated"
    """The idempotency key had come before, with this body: its job."""
    JOINED = "joined"
    """A job was accepted that waits for another's pictures."""
    REUSED = "reused"
    """A job was accepted and has succeeded: its pictures were there."""


class Value(BaseModel):
    """An immutable part of a job's record."""

    # A record that can't be read is logged, and no log quotes a prompt.
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class Image(Value):
    """One finished picture in the object store."""

    index: int
    seed: int
    variation_seed: int | None = None
    """None: it is no variation."""
    key: str
    """Object key: `images/{tenant}/{job}/{index}.{suffix}`; the same for every attempt."""
    size: Size
    """As stored, after any resize."""
    output_format: OutputFormat
    num_bytes: int
    sha256: str
    alone: bool = True
    """False if it was drawn in company: the same request may give a picture that differs in a few pixels."""


class JobWarning(Value):
    """Something that the requester should know though the job goes on."""

    code: str
    """`prompt_truncated`, `prompt_syntax_unread`, and the same of `negative_prompt`."""
    message: str


class WeightedPassage(Value):
    """A part of a text that counts more or less than the rest, which has a weight of 1."""

    text: str
    weight: float


class TextReading(Value):
    """What the model's encoders saw of a text."""

    tokens: int
    """In all, the cut ones too."""
    window: int
    """Tokens that the encoders take at once."""
    windows: int
    """Such windows that were read."""
    weights: tuple[WeightedPassage, ...] = ()
    cut: str = ""
    """What was not read, as it was written; empty if all of it was."""


class Reading(Value):
    """What the model's encoders saw of a job's texts."""

    prompt: TextReading
    negative_prompt: TextReading | None = None
    """None without guidance: it is not read then."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What a worker says of a job besides its pictures."""

    reading: Reading | None = None
    warnings: tuple[JobWarning, ...] = ()


NO_NOTES: Final = Notes()


class JobError(Value):
    """Why a job ended without its pictures."""

    code: str
    message: str


DEADLINE_PASSED: Final = JobError(code=DeadlinePassed.code, message=str(DeadlinePassed()))


@dataclass(frozen=True, slots=True)
class NewJob:
    """What `submit` writes."""

    id: JobId
    tenant: Tenant
    pool: str
    """Whose queue it goes to: the model, or one of its pools."""
    params: GenerationParams
    metadata: dict[str, str]
    lane: Lane = Lane.INTERACTIVE
    work_ms: int = 1000
    """How long one worker is expected to take, by the fleet's measured speed."""
    cancel_after_s: int | None = None
    """End it so long after its submit, whether it waits or runs; None: never."""
    retry_of: JobId | None = None
    """The ended job that this one tries again."""
    asked: str | None = None
    """Id of the request that made it, for log lines."""
    trace: TraceParent | None = None
    """From where its worker's and its webhooks' spans go on; None: it is not traced."""
    needs: int | None = None
    """The contract that a worker must know to draw it right; None: what its parameters tell."""
    roams: bool = False
    """True if its request named the model alone, so that another of its pools may draw it too."""

    @property
    def model(self) -> str:
        """What shall draw it, on whichever class of GPU."""
        return model_in(self.pool)

    @property
    def needed(self) -> int:
        """The contract that its worker must know."""
        return needed_by(self.params) if self.needs is None else self.needs

    @property
    def steps(self) -> int:
        """Denoising steps in all."""
        return self.params.num_inference_steps * self.params.num_images


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a tenant's job is accepted."""

    keep_s: int
    """How long the job and its pictures are kept after its end."""
    weight: float = 1.0
    """The tenant's share of the work, beside the others'."""
    bulk_percent: int = 20
    """The bulk lane's part of the work while both lanes wait, 1 to 99; one for all tenants."""
    max_waiting: int = 10_000
    """Waiting jobs of everybody."""
    max_tenant_waiting: int = 10_000
    max_tenant_running: int = 0
    """Running at once; 0: as many as there are workers."""


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key with the body that it came with, both as digests: this submit shall be one, however often."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submit's answer."""

    job: Job
    how: Submission
    all_called: bool = False
    """True if as many wake-ups wait as there are workers: one more would wake nobody."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as one atomic read found it. Times are Unix milliseconds by Redis' clock."""

    id: JobId
    tenant: Tenant
    pool: str
    """Whose workers it waits for, or was drawn by: the model's, or those of a class."""
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
    """Place in the fair order of all that wait for the model: 0 goes next; None unless it waits for a worker. An
    interactive job counts its own lane alone: bulk jobs make way for it even after they have begun."""
    ahead_jobs: int = 0
    """Those before it in its own lane."""
    ahead_ms: int = 0
    """Expected work of those."""
    hold: Hold | None = None
    lane: Lane = Lane.INTERACTIVE
    work_ms: int = 0
    """How long one worker was expected to take."""
    deadline_ms: int | None = None
    retry_of: JobId | None = None
    retried_as: JobId | None = None
    """The latest job that tries this one again."""
    is_reused: bool = False
    """True if another job drew its pictures."""
    may_reuse: bool = True
    """False if it was to draw its pictures itself."""
    reading: Reading | None = None
    """None until a worker has begun it."""
    lost_workers: tuple[WorkerId, ...] = ()
    """Those that died, or fell silent, while they worked on it."""
    asked: str | None = None
    """Id of the request that made it, by which a worker's log lines name it; None: made without one, or by an older
    gateway."""
    trace: TraceParent | None = None
    """From where spans about it go on; None: it is not traced."""
    pictures_trace: TraceParent | None = None
    """The same of the job that had, or was drawing, its pictures when it was submitted."""
    queued_at_ms: int | None = None
    """When it was last put back into the queue."""
    claimed_at_ms: int | None = None
    """When its last attempt began."""
    needs: int = 1
    """The contract that a worker must know to draw it right."""
    roams: bool = False
    """True if it is in the pool of a class that its request did not name."""

    @property
    def model(self) -> str:
        """What draws it, on whichever class of GPU."""
        return model_in(self.pool)

    @property
    def is_pinned(self) -> bool:
        """True if its request named the class, so that no other pool may draw it."""
        return class_in(self.pool) is not None and not self.roams


def trace_id(parent: TraceParent | None) -> str:
    """The id of the trace that this place is in, for log lines; empty if there is none."""
    return (parent or "").partition("-")[2].partition("-")[0]


def image_key(tenant: Tenant, job_id: JobId, index: int, output_format: OutputFormat) -> str:
    """The object key of a job's picture: deterministic, so that a second attempt overwrites."""
    return image_keys(tenant, job_id, output_format).format(index)


def image_keys(tenant: Tenant, job_id: JobId, output_format: OutputFormat) -> str:
    """The object keys of a job's pictures: `{}` stands for the index."""
    return f"{IMAGES}{tenant}/{job_id}/{{}}.{output_format.suffix}"


def image_file_name(job_id: JobId, index: int, output_format: OutputFormat) -> str:
    """The name under which a job's picture is saved: plain ASCII, no two alike."""
    return f"darkroom-{job_id}-{index}.{output_format.suffix}"
