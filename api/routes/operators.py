"""`/v1/workers` and `/v1/queue`: see what works, waits and failed; pause, drain, resume, retry. For operators alone."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.convertors import StringConvertor, register_url_convertor

from api.acceptance import accept_again, accepted_before
from api.deps import Gateway, TheGateway, TheJobId, operator
from api.digests import once_to_retry
from api.openapi import problems
from shared.contract import WorkerState
from shared.errors import (
    InvalidRequest,
    JobNotFound,
    NoModel,
    QueueFull,
    QueueUnavailable,
    StoreUnavailable,
    TenantQueueFull,
    WorkerNotFound,
)
from shared.history import MOST_MINUTES
from shared.jobs import Submission, WorkerId
from shared.lanes import Lane
from shared.oversight import (
    DrawingBody,
    FailedList,
    HistoryBody,
    LaneBody,
    LineBody,
    PoolBody,
    QueueBody,
    ResultCache,
    RetriedJob,
    SetAsideList,
    WorkerBody,
    WorkerList,
    failed_job,
    history_body,
    set_aside_job,
)
from shared.pools import model_in
from shared.scripts import (
    Fleet,
    Mode,
    Outlook,
    RunningWork,
    Waiting,
    WaitingWork,
    direct,
    failure,
    failures,
    fleet,
    history,
    outlook,
    overview,
    parts,
    set_aside,
    waiting,
)

router = APIRouter(prefix="/v1", tags=["Operators"], dependencies=[Depends(operator)])

log = logging.getLogger(__name__)

_WORKER_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Order(StrEnum):
    """What an operator says; the last part of the address."""

    PAUSE = "pause"
    RESUME = "resume"
    DRAIN = "drain"


class OrderConvertor(StringConvertor):
    """Lets no other word stand where an order does, so that other addresses may stand beside it."""

    regex = "|".join(Order)


register_url_convertor("order", OrderConvertor())

MODES: Final = {Order.PAUSE: Mode.PAUSED, Order.RESUME: Mode.WORK, Order.DRAIN: Mode.DRAINED}


AN_OPERATORS: Final = "an operator's"
"""In place of an idempotency key; none of a tenant's has a blank."""


async def worker_id(
    worker_id: Annotated[
        str, Path(description="A worker's id, from `GET /v1/workers`.", examples=["gpu1-4711-a1b2c3"])
    ],
) -> WorkerId:
    """The path's worker id. Raises WorkerNotFound for what was never one: no key is made of it."""
    if not _WORKER_ID.fullmatch(worker_id):
        raise WorkerNotFound(worker_id[:128])
    return WorkerId(worker_id)


TheOrder = Annotated[
    Order,
    Path(
        description="`pause`: begin nothing more, end what runs. `drain`: begin nothing more, end what runs if that is "
        "soon, and hand back the rest, uncharged. `resume`: work."
    ),
]


@router.get("/workers", summary="List workers", responses=problems(QueueUnavailable))
async def list_workers(gateway: TheGateway) -> WorkerList:
    """List the living workers: what each serves, holds and shall do, and how fast it was.

    A worker that falls silent is gone from here within `DARKROOM_LEASE_S`.
    """
    found, living = await asyncio.gather(gateway.run(fleet()), gateway.run(parts()))
    workers = sorted(found.workers, key=lambda worker: (worker.pool, worker.started_at_ms, worker.id))
    aheads = await asyncio.gather(*(gateway.run(outlook(pool)) for pool in {worker.pool for worker in workers}))
    running = [work for ahead in aheads for work in ahead.running]
    return WorkerList(
        mode=found.mode.value,
        data=tuple(_worker(found, worker, running) for worker in workers),
        parts=tuple(sorted(living, key=lambda part: (part.kind, part.id))),
    )


@router.post(
    "/workers/{worker_id}/{order:order}",
    summary="Pause, drain or resume a worker",
    responses=problems(WorkerNotFound, QueueUnavailable),
)
async def direct_worker(
    gateway: TheGateway, worker_id: Annotated[WorkerId, Depends(worker_id)], order: TheOrder
) -> WorkerBody:
    """Tell a worker what to do; it obeys with its next heartbeat, within a second or so.

    It forgets its orders when it ends: its successor works. While all are paused (`POST /v1/queue/pause`), a worker
    that is resumed stays paused. A second time it changes nothing.
    """
    await gateway.run(direct(MODES[order], worker_id))
    gateway.outlooks.forget()
    log.info("an operator: %s worker=%s", order, worker_id)
    found = await gateway.run(fleet())
    for worker in found.workers:
        if worker.id == worker_id:
            return _worker(found, worker, (await gateway.run(outlook(worker.pool))).running)
    raise WorkerNotFound(worker_id)


@router.get("/queue", summary="See what waits", responses=problems(QueueUnavailable))
async def show_queue(gateway: TheGateway) -> QueueBody:
    """Tell what waits and runs for each pool and whose it is, who works on it, and how many results were found."""
    return await _queue(gateway)


@router.post(
    "/queue/{order:order}",
    summary="Pause, drain or resume all workers",
    responses=problems(QueueUnavailable, statuses=(HTTPStatus.NOT_FOUND,)),
)
async def direct_all(gateway: TheGateway, order: TheOrder) -> QueueBody:
    """Tell all workers what to do, those too that start later. Jobs are accepted meanwhile, and wait.

    Orders to single workers stay as they are: `resume` leaves a worker paused that was paused alone. A second time it
    changes nothing.
    """
    await gateway.run(direct(MODES[order]))
    gateway.outlooks.forget()
    log.info("an operator: %s all", order)
    return await _queue(gateway)


@router.get(
    "/queue/set-aside",
    summary="List jobs that were given up",
    responses=problems(QueueUnavailable, InvalidRequest),
)
async def list_set_aside(
    gateway: TheGateway, limit: Annotated[int, Query(ge=1, le=100, description="Jobs, at most.")] = 20
) -> SetAsideList:
    """List the jobs of all tenants that failed as `worker_lost`, latest first, with the workers that died of them.

    Once the cause is mended, their owners can try them again (`POST /v1/jobs/{id}/retry`), and so can you
    (`POST /v1/queue/failed/{id}/retry`).
    """
    found = await gateway.run(set_aside(limit=limit))
    return SetAsideList(data=tuple(set_aside_job(job) for job in found))


@router.get("/queue/failed", summary="List jobs that failed", responses=problems(QueueUnavailable, InvalidRequest))
async def list_failed(
    gateway: TheGateway, limit: Annotated[int, Query(ge=1, le=100, description="Jobs, at most.")] = 20
) -> FailedList:
    """List the jobs of all tenants that failed, latest first, each with the reason, and without its texts.

    The latest thousand are remembered, as long as their owners keep them.
    """
    found = await gateway.run(failures(limit=limit))
    return FailedList(data=tuple(failed_job(job) for job in found))


@router.post(
    "/queue/failed/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Send a failed job again",
    responses=problems(
        JobNotFound, InvalidRequest, NoModel, QueueFull, TenantQueueFull, QueueUnavailable, StoreUnavailable
    ),
)
async def retry_failed(gateway: TheGateway, job_id: TheJobId) -> RetriedJob:
    """Submit a job that failed as a new one of its tenant's, under the tenant's limits; its pictures are the tenant's.

    A second time within a day it changes nothing: the answer tells of the same job, unless that was deleted.
    """
    old = await gateway.run(failure(job_id))
    if old is None:
        raise JobNotFound(job_id)
    once = once_to_retry(AN_OPERATORS, job_id)
    again = await accepted_before(gateway, old.tenant, once)
    if again is None:
        again = (await accept_again(gateway, old, once=once)).job
        log.info("an operator: retry job=%s as=%s", job_id, again.id)
    return RetriedJob(
        id=again.id, retry_of=old.id, tenant=again.tenant, model=again.model, lane=again.lane, status=again.status
    )


@router.get("/queue/history", summary="See how jobs ended lately", responses=problems(QueueUnavailable, InvalidRequest))
async def show_history(
    gateway: TheGateway,
    minutes: Annotated[int, Query(ge=1, le=MOST_MINUTES, description="How far to look back.")] = 60,
) -> HistoryBody:
    """Tell how many jobs and pictures ended how, and how long jobs waited and were drawn, by lane and over time.

    By minute, or in periods of ten minutes if more than 120 are asked for.
    """
    return history_body(await gateway.run(history(minutes)), minutes)


def _worker(found: Fleet, worker: WorkerState, running: Iterable[RunningWork]) -> WorkerBody:
    return WorkerBody(
        **dict(worker),
        mode=found.mode_of(worker.id).value,
        silent_s=found.silent_ms.get(worker.id, 0) / 1000,
        drawing=tuple(
            DrawingBody(lane=work.lane, step=work.step, steps=work.steps, elapsed_s=work.elapsed_ms / 1000)
            for work in running
            if work.worker == worker.id
        ),
    )


async def _queue(gateway: Gateway) -> QueueBody:
    found, known = await asyncio.gather(gateway.run(fleet()), gateway.run(overview()))
    served = {card.id for card in found.cards} | {worker.pool for worker in found.workers}
    pools = sorted(served | set(known.pools))
    aheads, lines = await asyncio.gather(
        asyncio.gather(*(gateway.run(outlook(pool)) for pool in pools)),
        asyncio.gather(*(gateway.run(waiting(pool)) for pool in pools)),
    )
    bodies = {pool: _pool(found, pool, ahead, of_it) for pool, ahead, of_it in zip(pools, aheads, lines, strict=True)}
    # A pool that is gone for good is of interest as long as somebody waits for it.
    shown = tuple(body for pool, body in bodies.items() if pool in served or _has_jobs(body))
    return QueueBody(mode=found.mode.value, models=shown, results=_results(known.tallies))


def _pool(found: Fleet, pool: str, ahead: Outlook, lines: Mapping[Lane, Waiting]) -> PoolBody:
    states = Counter[str](worker.state for worker in found.workers if worker.pool == pool)
    return PoolBody(
        model=model_in(pool),
        pool=pool,
        waiting={lane: _lane(all_of_it, lines[lane]) for lane, all_of_it in ahead.waiting.items()},
        running=len(ahead.running),
        workers={state: states[state] for state in ("warming", "ready", "draining")},
    )


def _lane(all_of_it: WaitingWork, who: Waiting) -> LaneBody:
    lines = tuple(
        LineBody(
            tenant=line.tenant,
            jobs=line.jobs,
            work_s=line.work_ms / 1000,
            running=line.running,
            waited_s=line.waited_ms / 1000,
        )
        for line in who.lines
    )
    return LaneBody(jobs=all_of_it.jobs, work_s=all_of_it.work_ms / 1000, tenants=who.tenants, lines=lines)


def _has_jobs(pool: PoolBody) -> bool:
    return pool.running > 0 or any(lane.jobs for lane in pool.waiting.values())


def _results(tallies: Mapping[str, int]) -> ResultCache:
    new, joined, reused = (tallies.get(how, 0) for how in (Submission.NEW, Submission.JOINED, Submission.REUSED))
    asked = new + joined + reused
    return ResultCache(new=new, joined=joined, reused=reused, hit_rate=(joined + reused) / asked if asked else None)
