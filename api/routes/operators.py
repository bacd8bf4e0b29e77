"""`/v1/workers` and `/v1/queue`: see what works and what waits; pause, drain and resume. For operators alone."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.convertors import StringConvertor, register_url_convertor

from api.deps import Gateway, TheGateway, operator
from api.openapi import problems
from shared.contract import WorkerState
from shared.errors import InvalidRequest, QueueUnavailable, WorkerNotFound
from shared.jobs import Submission, WorkerId
from shared.oversight import (
    LaneBody,
    PoolBody,
    QueueBody,
    ResultCache,
    SetAsideList,
    WorkerBody,
    WorkerList,
    set_aside_job,
)
from shared.scripts import Fleet, Mode, Outlook, direct, fleet, outlook, overview, set_aside

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
    found = await gateway.run(fleet())
    workers = sorted(found.workers, key=lambda worker: (worker.model, worker.started_at_ms, worker.id))
    return WorkerList(mode=found.mode.value, data=tuple(_worker(found, worker) for worker in workers))


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
            return _worker(found, worker)
    raise WorkerNotFound(worker_id)


@router.get("/queue", summary="See what waits", responses=problems(QueueUnavailable))
async def show_queue(gateway: TheGateway) -> QueueBody:
    """Tell what waits and runs for each model, who works on it, and how many results were found rather than drawn."""
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

    Their owners can try them again (`POST /v1/jobs/{id}/retry`) once the cause is mended.
    """
    found = await gateway.run(set_aside(limit=limit))
    return SetAsideList(data=tuple(set_aside_job(job) for job in found))


def _worker(found: Fleet, worker: WorkerState) -> WorkerBody:
    return WorkerBody(**dict(worker), mode=found.mode_of(worker.id).value)


async def _queue(gateway: Gateway) -> QueueBody:
    found, known = await asyncio.gather(gateway.run(fleet()), gateway.run(overview()))
    served = {card.id for card in found.cards} | {worker.model for worker in found.workers}
    models = sorted(served | set(known.models))
    aheads = await asyncio.gather(*(gateway.run(outlook(model)) for model in models))
    pools = [_pool(found, model, ahead) for model, ahead in zip(models, aheads, strict=True)]
    # A model that is gone for good is of interest as long as somebody waits for it.
    shown = tuple(pool for pool in pools if pool.model in served or _has_jobs(pool))
    return QueueBody(mode=found.mode.value, models=shown, results=_results(known.tallies))


def _pool(found: Fleet, model: str, ahead: Outlook) -> PoolBody:
    states = Counter[str](worker.state for worker in found.workers if worker.model == model)
    return PoolBody(
        model=model,
        waiting={
            lane: LaneBody(jobs=waiting.jobs, work_s=waiting.work_ms / 1000) for lane, waiting in ahead.waiting.items()
        },
        running=len(ahead.running),
        workers={state: states[state] for state in ("warming", "ready", "draining")},
    )


def _has_jobs(pool: PoolBody) -> bool:
    return pool.running > 0 or any(lane.jobs for lane in pool.waiting.values())


def _results(tallies: Mapping[str, int]) -> ResultCache:
    new, joined, reused = (tallies.get(how, 0) for how in (Submission.NEW, Submission.JOINED, Submission.REUSED))
    asked = new + joined + reused
    return ResultCache(new=new, joined=joined, reused=reused, hit_rate=(joined + reused) / asked if asked else None)
