"""`/healthz` and `/readyz`: is the process alive, can the service draw; and `/`, where things are."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.deps import Gateway, TheGateway
from shared.contract import Check, Readiness
from shared.errors import DarkroomError, QueueUnavailable
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


@router.get("/readyz", summary="Can the service draw?", responses={503: {"model": Readiness}})
@router.head("/readyz", include_in_schema=False)
async def readyz(gateway: TheGateway, response: Response) -> Readiness:
    """Check Redis, the object store, and that a worker is ready; 503 with what is missing if not."""
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
        named = ", ".join(sorted({f"{worker.model} on {worker.device}" for worker in ready}))
        return Check(name="worker", ok=True, message=f"{len(ready)} ready: {named}.")
    if any(worker.state == "warming" for worker in found.workers):
        return Check(name="worker", ok=False, message="A worker is loading its model. Jobs wait until it is ready.")
    return Check(
        name="worker", ok=False, message="No worker is ready. Start one (see README); jobs that wait are kept."
    )
