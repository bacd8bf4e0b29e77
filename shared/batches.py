"""The batch: many requests sent at once. Its record, what its lines ask for, and the JSON bodies of both.

A line becomes a job in its turn, once, and only while not too many of the batch's jobs are under way, so that a batch
of thousands leaves room in the queue. The scripts see to that; this module knows nothing of Redis.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NewType

from pydantic import StringConstraints

from shared.compatibility import FIRST
from shared.contract import Body, JobBody, MetadataKey, MetadataValue
from shared.generation import GenerationParams
from shared.jobs import Job, JobError, JobId, JobStatus, NewJob, Tenant, TraceParent, Value, drawn, new_job_id
from shared.lanes import Lane
from shared.words import Word

BatchId = NewType("BatchId", str)
"""Random, as a job's id is."""

MAX_LINES: Final = 10_000
MAX_NAME_CHARS: Final = 200

BatchName = Annotated[str, StringConstraints(max_length=MAX_NAME_CHARS)]


class BatchStatus(Word):
    """Where a batch stands."""

    RUNNING = "running"
    """Lines wait to become jobs, or jobs have not ended."""
    ENDED = "ended"
    """Each line's job has ended, one way or another."""
    CANCELED = "canceled"
    """Somebody called it off; what had not ended by then is counted as canceled."""


def new_batch_id() -> BatchId:
    """Draw an id that nobody can guess."""
    return BatchId(drawn(26))


class Line(Value):
    """What a line asks for, held against its model when the batch was accepted: nothing of it is open any more."""

    model: str
    """As the request named it: a model's id, or that and a class. In which pool's queue it goes is told in its turn."""
    params: GenerationParams
    metadata: dict[MetadataKey, MetadataValue]
    lane: Lane
    cancel_after_s: int | None
    may_reuse: bool
    asked: str | None = None
    """Id of the request that brought the batch."""
    trace: TraceParent | None = None
    """Of that request, for its job's trace to link to; None: it is not traced."""
    needs: int = FIRST
    """What contract a gateway must know to make a job of it: an older one would read the parameters without what it
    does not know."""

    def job(self, tenant: Tenant) -> NewJob:
        """Make the line's job."""
        return NewJob(
            new_job_id(),
            tenant,
            self.model,
            self.params,
            self.metadata,
            lane=self.lane,
            cancel_after_s=self.cancel_after_s,
            asked=self.asked,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Which line a job is."""

    batch: BatchId
    line: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class Helping:
    """Lines that are to become jobs now."""

    batch: BatchId
    tenant: Tenant
    before: int
    """How many lines before them are jobs already."""
    lines: tuple[str, ...]
    """In JSON, as `Line` reads them."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a line asked for and what became of it."""

    line: Line
    job_id: JobId | None
    """None while it waits to become a job, and if it never will."""
    job: Job | None
    """None also if the job was deleted, or forgotten."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as one atomic read found it. Times are Unix milliseconds by Redis' clock."""

    id: BatchId
    name: str
    status: BatchStatus
    created_at_ms: int
    completed_at_ms: int | None
    total: int
    entered: int
    """Lines that have become jobs."""
    active: int
    """Jobs that have not ended."""
    succeeded: int
    failed: int
    canceled: int
    """Also lines that will never be jobs."""
    expired: int

    @property
    def has_ended(self) -> bool:
        """True once nothing more comes of it."""
        return self.status is not BatchStatus.RUNNING


class Counts(Body):
    """How many of a batch's lines stand where. The rest add up to `total`."""

    total: int
    waiting: int
    """Not jobs yet: they become jobs as others end."""
    active: int
    """Jobs that are queued or running."""
    succeeded: int
    failed: int
    canceled: int
    expired: int


class BatchUrls(Body):
    """Where to go from here, as paths of this gateway."""

    get: str
    cancel: str
    results: str
    results_zip: str


class BatchBody(Body):
    """A batch, in answer to submit, get, list and cancel."""

    id: BatchId
    name: str
    status: BatchStatus
    created_at: datetime
    completed_at: datetime | None
    counts: Counts
    urls: BatchUrls

    @property
    def has_ended(self) -> bool:
        """True once nothing more comes of it; also in a status that this version doesn't know."""
        return self.completed_at is not None


class BatchPage(Body):
    """`GET /v1/batches`: newest first."""

    data: tuple[BatchBody, ...]
    next_cursor: str | None
    """Hand it back as `cursor` for the next page; null on the last one."""


LineStatus = JobStatus | Literal["waiting", "deleted"]
"""How a line's job stands; `waiting` if it is none yet, `deleted` if it is gone before its batch."""


class ResultBody(Body):
    """A line of `GET /v1/batches/{id}/results`."""

    line: int
    """Which one of the batch, from 1."""
    status: LineStatus
    job_id: JobId | None
    """Null while the line is no job, and if it never will be one."""
    job: JobBody | None
    """Null also if the job was deleted."""


class FileBody(Body):
    """A picture in a batch's archive."""

    name: str
    """Of the file in the archive."""
    seed: int
    variation_seed: int | None = None
    sha256: str
    num_bytes: int
    missing: bool = False
    """True if the store has it no more: then the archive has no such file."""


class ManifestLine(Body):
    """A line of `manifest.jsonl` in a batch's archive."""

    line: int
    status: LineStatus
    job_id: JobId | None
    model: str
    params: GenerationParams
    """With the seed that was drawn if none was said; the seed of each picture is beside its file."""
    metadata: dict[str, str]
    files: tuple[FileBody, ...]
    error: JobError | None


def batch_body(batch: Batch) -> BatchBody:
    """Say a batch in JSON's terms."""
    base = f"/v1/batches/{batch.id}"
    is_canceled = batch.status is BatchStatus.CANCELED
    return BatchBody(
        id=batch.id,
        name=batch.name,
        status=batch.status,
        created_at=_time(batch.created_at_ms),
        completed_at=None if batch.completed_at_ms is None else _time(batch.completed_at_ms),
        counts=Counts(
            total=batch.total,
            waiting=0 if is_canceled else batch.total - batch.entered,
            active=batch.active,
            succeeded=batch.succeeded,
            failed=batch.failed,
            canceled=batch.canceled,
            expired=batch.expired,
        ),
        urls=BatchUrls(get=base, cancel=f"{base}/cancel", results=f"{base}/results", results_zip=f"{base}/results.zip"),
    )


def status_of(batch: Batch, result: Result) -> LineStatus:
    """Tell how a line stands."""
    if result.job is not None:
        return result.job.status
    if result.job_id is not None:
        return "deleted"
    return JobStatus.CANCELED if batch.status is BatchStatus.CANCELED else "waiting"


def has_ended(status: LineStatus) -> bool:
    """True once nothing more comes of a line."""
    return status.is_terminal if isinstance(status, JobStatus) else status == "deleted"


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
