"""The JSON bodies for operators: what the gateway tells of workers, queues and jobs that were given up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from shared.contract import Body, WorkerState
from shared.generation import GenerationParams
from shared.jobs import Job, JobError, JobId
from shared.lanes import Lane

ModeName = Literal["work", "paused", "drained"]
"""`work`: take jobs; `paused`: begin nothing more; `drained`: begin nothing more and hand back what takes long."""


class WorkerBody(WorkerState):
    """A living worker in `GET /v1/workers`."""

    mode: ModeName
    """What it shall do: the stricter of its own orders and those for all."""


class WorkerList(Body):
    """`GET /v1/workers`."""

    mode: ModeName
    """What all workers shall do, those too that come later."""
    data: tuple[WorkerBody, ...]


class LaneBody(Body):
    """What waits in a lane."""

    jobs: int
    work_s: float
    """How long one worker would take for them."""


class PoolBody(Body):
    """A model's queue and the workers that serve it."""

    model: str
    waiting: dict[Lane, LaneBody]
    running: int
    """Jobs."""
    workers: dict[str, int]
    """How many are `warming`, `ready` or `draining`."""


class ResultCache(Body):
    """Submits that might have found their pictures, since this Redis was set up: what became of them."""

    new: int
    """Had to be drawn."""
    joined: int
    """Waited for another job that drew the same pictures."""
    reused: int
    """Were there already."""
    hit_rate: float | None
    """The part that needed no drawing; null before the first submit."""


class QueueBody(Body):
    """`GET /v1/queue`."""

    mode: ModeName
    """What all workers shall do."""
    models: tuple[PoolBody, ...]
    results: ResultCache


class SetAsideJob(Body):
    """A job that was given up because every worker that took it died."""

    id: JobId
    tenant: str
    model: str
    lane: Lane
    params: GenerationParams
    cost: int
    """Thousands of pixels times steps, twice with guidance, over all pictures."""
    error: JobError | None
    attempts: int
    lost_workers: tuple[str, ...]
    """Those that died, or fell silent, while they worked on it."""
    created_at: datetime
    set_aside_at: datetime | None


class SetAsideList(Body):
    """`GET /v1/queue/set-aside`: latest first."""

    data: tuple[SetAsideJob, ...]


def set_aside_job(job: Job) -> SetAsideJob:
    """Say a job that was given up, to operators."""
    return SetAsideJob(
        id=job.id,
        tenant=job.tenant,
        model=job.model,
        lane=job.lane,
        params=job.params,
        cost=job.params.cost,
        error=job.error,
        attempts=job.attempt,
        lost_workers=job.lost_workers,
        created_at=_moment(job.created_at_ms),
        set_aside_at=None if job.completed_at_ms is None else _moment(job.completed_at_ms),
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
