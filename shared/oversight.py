"""The JSON bodies for operators: what the gateway tells of workers, queues, jobs that failed, and how jobs ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from shared.contract import Body, WorkerState
from shared.errors import WorkerLost
from shared.generation import GenerationParams
from shared.history import Ended, History, Outcome, Times
from shared.jobs import Job, JobError, JobId, JobStatus
from shared.lanes import Lane
from shared.parts import Part
from shared.words import OR_NEWER

ModeName = Annotated[Literal["work", "paused", "drained"], OR_NEWER]
"""`work`: take jobs; `paused`: begin nothing more; `drained`: begin nothing more and hand back what takes long."""


class DrawingBody(Body):
    """A job that a worker holds."""

    lane: Lane
    step: int
    """Denoising steps done, over all of the job's pictures."""
    steps: int
    elapsed_s: float
    """Since this attempt began."""


class WorkerBody(WorkerState):
    """A living worker in `GET /v1/workers`."""

    mode: ModeName
    """What it shall do: the stricter of its own orders and those for all."""
    silent_s: float = 0.0
    """Since its last heartbeat."""
    drawing: tuple[DrawingBody, ...] = ()
    """What it holds, by the queue's record."""


class WorkerList(Body):
    """`GET /v1/workers`."""

    mode: ModeName
    """What all workers shall do, those too that come later."""
    data: tuple[WorkerBody, ...]
    parts: tuple[Part, ...] = ()
    """The living gateways, couriers and workers of this Darkroom, with their versions."""


class LineBody(Body):
    """A tenant's waiting jobs in a lane."""

    tenant: str
    jobs: int
    work_s: float
    """How long one worker would take for them; a guess for a long line."""
    running: int
    """Jobs of the tenant that run, of all lanes and models."""
    waited_s: float
    """Since the submit of the one that goes next."""


class LaneBody(Body):
    """What waits in a lane."""

    jobs: int
    work_s: float
    """How long one worker would take for them."""
    tenants: int = 0
    """Whose they are; of thousands not all are counted."""
    lines: tuple[LineBody, ...] = ()
    """By tenant: the twenty with most work waiting, that first."""


class PoolBody(Body):
    """A pool's queue and the workers that serve it."""

    model: str
    pool: str | None = None
    """The model, or that and a GPU class: `segmind/SSD-1B@l4`. Null from an older gateway."""
    waiting: dict[Lane, LaneBody]
    running: int
    """Jobs."""
    workers: dict[str, int]
    """How many are `warming`, `ready` or `draining`."""


class ScalingBody(Body):
    """`GET /v1/scaling`: how many workers of a pool shall run."""

    model: str
    pool: str | None = None
    """As asked for: the model, or that and a GPU class. Null from an older gateway."""
    workers_wanted: int
    """What a scaler takes."""
    because: Annotated[Literal["idle", "work", "wait", "busy", "paused", "unmeasured"], OR_NEWER]
    """`idle`: nothing waits or runs; `work`: so much work in the time of the target; `wait`: a job has waited longer;
    `busy`: so many hold jobs; `paused`: the operators let none begin anything; `unmeasured`: none was ever measured."""
    workers: dict[str, int]
    """How many are `warming`, `ready` or `draining`."""
    waiting_jobs: int
    """That wait for nothing but a worker."""
    running_jobs: int
    work_s: float
    """What one worker would need for all of these, at the pace measured."""
    oldest_wait_s: float
    """Since the submit of the job that has waited longest, of those that go next for their tenants."""
    target_s: float
    """As asked for."""


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
    """One for each pool: several of a model whose workers are of several GPU classes."""
    results: ResultCache


class SetAsideJob(Body):
    """A job that was given up because every worker that took it died."""

    id: JobId
    tenant: str
    model: str
    pool: str | None = None
    """Whose workers drew it, or were to. Null from an older gateway."""
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
    retried_as: JobId | None = None
    """The latest job that tries it again."""


class SetAsideList(Body):
    """`GET /v1/queue/set-aside`: latest first."""

    data: tuple[SetAsideJob, ...]


def set_aside_job(job: Job) -> SetAsideJob:
    """Say a job that was given up, to operators."""
    return SetAsideJob(
        id=job.id,
        tenant=job.tenant,
        model=job.model,
        pool=job.pool,
        lane=job.lane,
        params=job.params,
        cost=job.params.cost,
        error=job.error,
        attempts=job.attempt,
        lost_workers=job.lost_workers,
        created_at=_moment(job.created_at_ms),
        set_aside_at=None if job.completed_at_ms is None else _moment(job.completed_at_ms),
        retried_as=job.retried_as,
    )


class FailedJob(Body):
    """A job that failed, without its texts: why it did is the operator's business, what it asked for is not."""

    id: JobId
    tenant: str
    model: str
    pool: str | None = None
    """Whose workers drew it, or were to. Null from an older gateway."""
    lane: Lane
    width: int
    height: int
    num_images: int
    num_inference_steps: int
    error: JobError | None
    is_set_aside: bool
    """True if it was given up because every worker that took it died."""
    attempts: int
    lost_workers: tuple[str, ...]
    """Those that died, or fell silent, while they worked on it."""
    created_at: datetime
    failed_at: datetime | None
    retried_as: JobId | None
    """The latest job that tries it again."""


class FailedList(Body):
    """`GET /v1/queue/failed`: latest first."""

    data: tuple[FailedJob, ...]


class RetriedJob(Body):
    """The job that tries a failed one again, as an operator is told of it."""

    id: JobId
    retry_of: JobId
    tenant: str
    model: str
    lane: Lane
    status: JobStatus


class EndsBody(Body):
    """How many jobs ended in one way."""

    jobs: int
    pictures: int
    """That they were for."""


class TimesBody(Body):
    """How long something took, right to a tenth or so."""

    jobs: int
    """That were timed."""
    median_s: float
    p90_s: float
    """Nine of ten took no longer."""


class EndedBody(Body):
    """What ended in a lane."""

    outcomes: dict[Outcome, EndsBody]
    waited: TimesBody | None
    """From the submit to the first attempt, of the jobs that began; null if none did."""
    drew: TimesBody | None
    """From there to the end, of those that succeeded with pictures of their own."""


class PeriodBody(Body):
    """What ended in a stretch of time."""

    at: datetime
    """When it began."""
    lanes: dict[Lane, EndedBody]


class HistoryBody(Body):
    """`GET /v1/queue/history`."""

    minutes: int
    """As asked for."""
    period_s: int
    """How long a period is: a minute, or ten if more than 120 minutes are asked for."""
    until: datetime
    """Now, by the queue's clock."""
    total: dict[Lane, EndedBody]
    """All of it."""
    periods: tuple[PeriodBody, ...]
    """The oldest first; those in which nothing ended are left out, and the last one goes on."""


def failed_job(job: Job) -> FailedJob:
    """Say a failed job, to operators."""
    return FailedJob(
        id=job.id,
        tenant=job.tenant,
        model=job.model,
        pool=job.pool,
        lane=job.lane,
        width=job.params.width,
        height=job.params.height,
        num_images=job.params.num_images,
        num_inference_steps=job.params.num_inference_steps,
        error=job.error,
        is_set_aside=job.error is not None and job.error.code == WorkerLost.code,
        attempts=job.attempt,
        lost_workers=job.lost_workers,
        created_at=_moment(job.created_at_ms),
        failed_at=None if job.completed_at_ms is None else _moment(job.completed_at_ms),
        retried_as=job.retried_as,
    )


def history_body(found: History, minutes: int) -> HistoryBody:
    """Say how jobs ended, in JSON's terms."""
    return HistoryBody(
        minutes=minutes,
        period_s=found.period_s,
        until=_moment(found.now_ms),
        total=_lanes(found.total()),
        periods=tuple(PeriodBody(at=_moment(one.at_ms), lanes=_lanes(one.lanes)) for one in found.periods),
    )


def _lanes(lanes: Mapping[Lane, Ended]) -> dict[Lane, EndedBody]:
    return {
        lane: EndedBody(
            outcomes={
                outcome: EndsBody(jobs=ended.outcomes[outcome].jobs, pictures=ended.outcomes[outcome].pictures)
                for outcome in Outcome
                if outcome in ended.outcomes
            },
            waited=_times(ended.waited),
            drew=_times(ended.drew),
        )
        for lane, ended in lanes.items()
    }


def _times(times: Times) -> TimesBody | None:
    median_ms, p90_ms = times.quantile(0.5), times.quantile(0.9)
    if median_ms is None or p90_ms is None:
        return None
    return TimesBody(jobs=times.jobs, median_s=round(median_ms / 1000, 3), p90_s=round(p90_ms / 1000, 3))


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
