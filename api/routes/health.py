"""`/healthz` and `/readyz`: is the process alive, can the service draw; and `/`, where things are."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api.deps import Gateway, TheGateway
from api.openapi import problems
from shared.contract import Check, Readiness
from shared.errors import DarkroomError, InvalidRequest, QueueUnavailable
from shared.scripts import Fleet, fleet

router = APIRouter(tags=["Health"])


class Alive(BaseModel):
    """The gateway's process answers."""

    ok: bool = True


class Index(BaseModel):
    """Addresses of this gateway."""

    service: str = "Darkroom, text to image"
    openapi: str = "/openapi.json"
    models: str = "/v1/models"
    jobs: str = "/v1/jobs"
    ready: str = "/readyz"
    alive: str = "/healthz"


@router.get("/healthz", summary="Is the gateway alive?")
@router.head("/healthz", include_in_schema=False)
async def healthz() -> Alive:
    """Answer 200 as long as the process does, whatever else is away: restart it if this fails."""
    return Alive()


class Wish(StrEnum):
    """What somebody wants to know of readiness."""

    DRAWING = "drawing"
    """Would a job be drawn now?"""
    TRAFFIC = "traffic"
    """Would this gateway take one?"""


@router.get(
    "/readyz",
    summary="Can the service draw?",
    responses={503: {"model": Readiness}, **problems(InvalidRequest)},
)
@router.head("/readyz", include_in_schema=False)
async def readyz(
    gateway: TheGateway,
    response: Response,
    wish: Annotated[
        Wish,
        Query(
            alias="for",
            description="`drawing`: check Redis, the object store and that a worker is ready. `traffic`: check Redis "
            "alone, for a load balancer: without a worker jobs are taken and wait, without the store they can be read.",
        ),
    ] = Wish.DRAWING,
) -> Readiness:
    """Check what is needed; 503 with what is missing if something is."""
    if wish is Wish.TRAFFIC:
        checks = ((await _queue_checks(gateway))[0],)
    else:
        (redis, worker), store = await asyncio.gather(_queue_checks(gateway), _store_check(gateway))
        checks = (redis, store, worker)
    ready = all(check.ok for check in checks)
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Readiness(ready=ready, checks=checks)


@router.get("/", summary="Where are things?")
async def index() -> Index:
    """Tell where things are, for someone who opens the gateway's address."""
    return Index()


async def _queue_checks(gateway: Gateway) -> tuple[Check, Check]:
    try:
        found = await gateway.run(fleet())
    except QueueUnavailable as error:
        return (
            Check(name="redis", ok=False, message=str(error)),
            Check(name="worker", ok=False, message="Unknown while Redis does not answer."),
        )
    return Check(name="redis", ok=True, message="Redis answers."), _worker_check(found)


async def _store_check(gateway: Gateway) -> Check:
    try:
        await gateway.storage.require()
    except DarkroomError as error:
        return Check(name="object_store", ok=False, message=str(error))
    return Check(name="object_store", ok=True, message="The object store answers and has the bucket.")


def _worker_check(found: Fleet) -> Check:
    ready = [worker for worker in found.workers if worker.state == "ready"]
    if ready:
        named = ", ".join(sorted({f"{worker.pool} on {worker.device}" for worker in ready}))
        return Check(name="worker", ok=True, message=f"{len(ready)} ready: {named}.")
    if any(worker.state == "warming" for worker in found.workers):
        return Check(name="worker", ok=False, message="A worker is loading its model. Jobs wait until it is ready.")
    return Check(
        name="worker", ok=False, message="No worker is ready. Start one (see README); jobs that wait are kept."
    )
