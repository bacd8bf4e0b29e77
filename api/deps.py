"""What routes are given: the parts of the running gateway, and who asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, TypeVar, cast

from fastapi import Depends, FastAPI, Header, Path
from redis.asyncio import Redis
from starlette.requests import Request

from api.changes import Changes
from api.outlook import Outlooks
from api.storage import Storage
from api.upkeep import Unanswered, Waker
from shared.call import Call
from shared.connection import run_async
from shared.contract import IDEMPOTENCY_KEY, checked_key
from shared.errors import FieldError, InvalidRequest, JobNotFound
from shared.jobs import LOCAL_TENANT, JobId, Tenant
from shared.settings import Settings

T = TypeVar("T")

_JOB_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")


@dataclass(frozen=True, slots=True)
class Gateway:
    """The running gateway's parts; made once, at its start."""

    settings: Settings
    redis: Redis
    storage: Storage
    waker: Waker
    unanswered: Unanswered
    outlooks: Outlooks
    changes: Changes

    async def run(self, call: Call[T]) -> T:
        """Run one of the queue's verbs."""
        return await run_async(self.redis, call)


def gateway_of(app: FastAPI) -> Gateway:
    """The parts of an application that has started."""
    return cast("Gateway", app.state.gateway)


async def gateway(request: Request) -> Gateway:
    """The gateway that this request reached."""
    return gateway_of(request.app)


async def tenant() -> Tenant:
    """Who asks. Everybody is one tenant while there are no keys."""
    return LOCAL_TENANT


async def job_id(
    job_id: Annotated[str, Path(description="A job's id.", examples=["5r0z9k2m4c7q8x1t6w3v0h2j9n"])],
) -> JobId:
    """The path's job id. Raises JobNotFound for what was never one: no key is made of it."""
    if not _JOB_ID.fullmatch(job_id):
        raise JobNotFound(job_id[:26])
    return JobId(job_id)


async def idempotency_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description="Drawn by you for this request: sent again with the same key, it gives the job that is there.",
            examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
        ),
    ] = None,
) -> str | None:
    """The request's idempotency key, if it has one. Raises InvalidRequest."""
    if key is None:
        return None
    if len(request.headers.getlist(IDEMPOTENCY_KEY)) > 1:
        raise InvalidRequest((FieldError(IDEMPOTENCY_KEY, "Send one key only."),))
    return checked_key(key)


TheGateway = Annotated[Gateway, Depends(gateway)]
TheTenant = Annotated[Tenant, Depends(tenant)]
TheJobId = Annotated[JobId, Depends(job_id)]
TheKey = Annotated[str | None, Depends(idempotency_key)]
