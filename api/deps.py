"""What routes are given: the parts of the running gateway, and who asks."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, TypeVar, cast

from fastapi import Depends, FastAPI, Header, Path, Query
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from redis.asyncio import Redis
from starlette.requests import Request

from api.access import Access, Principal
from api.changes import Changes
from api.context import EXCHANGE
from api.metrics import Metrics
from api.outlook import Outlooks
from api.rates import Rates
from api.routing import Routes
from api.stays import Stays
from api.storage import Storage
from api.streams import Streams
from api.terms import rate_of
from api.together import Together
from api.traces import Traces
from api.upkeep import Unanswered, Waker
from api.vocabularies import Vocabularies
from shared.access import NO_LIMITS, VISITOR_PATTERN, Limits, Scope
from shared.call import Call
from shared.contract import IDEMPOTENCY_KEY, KEY_IS, KEY_PATTERN, REQUIRED, VISITOR, checked_key
from shared.errors import FieldError, InvalidRequest, JobNotFound, KeyRefused, QueueUnavailable, RateLimited
from shared.jobs import ID_PATTERN, Job, JobId, Tenant
from shared.scripts.jobs import CURSOR_PATTERN
from shared.settings import Settings

T = TypeVar("T")

_BEARER = HTTPBearer(
    scheme_name="key",
    description="A key, `darkroom_...`. None is needed where the gateway serves its own machine only.",
    auto_error=False,
)
_VISITOR = re.compile(VISITOR_PATTERN)


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
    streams: Streams
    access: Access
    rates: Rates
    stays: Stays
    together: Together
    vocabularies: Vocabularies
    metrics: Metrics
    traces: Traces
    routes: Routes

    async def run(self, call: Call[T]) -> T:
        """Run one of the queue's verbs."""
        return await self.together.run(call)

    async def read(self, job_id: JobId, tenant: Tenant) -> Job:
        """Read a job. Raises JobNotFound, QueueUnavailable."""
        return await self.together.read(job_id, tenant)

    def forget_access(self) -> None:
        """Ask Redis again for keys and limits, and whether whose answers are held may stay."""
        self.access.hear(None)
        self.stays.look()


def gateway_of(app: FastAPI) -> Gateway:
    """The parts of an application that has started."""
    return cast("Gateway", app.state.gateway)


async def gateway(request: Request) -> Gateway:
    """The gateway that this request reached."""
    return gateway_of(request.app)


def key_in(authorizations: Sequence[str]) -> str | None:
    """The key that Authorization headers bring, if there are any. Raises KeyRefused for one said in another way."""
    if not authorizations:
        return None
    if len(authorizations) > 1:  # a proxy may have looked at another one than we do
        raise KeyRefused("Send one key: there is more than one `Authorization` header.")
    scheme, _, said = authorizations[0].strip().partition(" ")
    if not scheme:
        return None
    said = said.strip()
    if scheme.lower() == "bearer" and said:
        return said
    if scheme.lower() == "basic":  # clients of AUTOMATIC1111 know no other way
        with suppress(ValueError):
            return base64.b64decode(said, validate=True).decode().partition(":")[2]
    raise KeyRefused("Send the key as `Authorization: Bearer` and the key, or as the password of `Basic`.")


def visitor_in(names: Sequence[str]) -> str | None:
    """The visitor that these headers name, if there are any. Raises InvalidRequest."""
    if not names:
        return None
    if len(names) > 1 or not _VISITOR.fullmatch(names[0]):
        raise InvalidRequest((FieldError(VISITOR, "Send one name, of 1 to 64 letters, digits, dots, - and _."),))
    return names[0]


def must_know_in(said: Sequence[str]) -> bool:
    """True if these headers ask that the key be one that is known. Raises InvalidRequest."""
    if any(word != REQUIRED for word in said):
        raise InvalidRequest((FieldError(KEY_IS, f"Say `{REQUIRED}`, or leave it away."),))
    return bool(said)


async def identify(gateway: Gateway, key: str | None, visitor: str | None, *, must_know: bool) -> Principal:
    """Tell who asks, and count it against their rate.

    Raises KeyRequired, KeyRefused, ScopeMissing, RateLimited, QueueUnavailable.
    """
    found = await gateway.access.principal(key, visitor, must_know=must_know)
    exchange = EXCHANGE.get()
    exchange.about.tenant, exchange.about.key = found.tenant, found.key or ""
    per_minute = rate_of(gateway.settings, await _limits_of(gateway, found), is_limited=found.is_limited)
    rate = await gateway.rates.count(found.tenant, per_minute) if per_minute else None
    if rate is not None:
        exchange.headers |= rate.headers
        if rate.is_over:
            raise RateLimited(per_minute, rate.reset_s)
    return found


async def _limits_of(gateway: Gateway, found: Principal) -> Limits:
    try:
        return await gateway.access.limits(found.tenant)
    except QueueUnavailable:
        if found.is_limited:
            raise
        return NO_LIMITS  # none but by name, and while Redis is away nobody is counted


def idempotency_key_in(keys: Sequence[str]) -> str | None:
    """The idempotency key that these headers bring, if there are any. Raises InvalidRequest."""
    if not keys:
        return None
    if len(keys) > 1:
        raise InvalidRequest((FieldError(IDEMPOTENCY_KEY, "Send one key only."),))
    return checked_key(keys[0])


async def bearer(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> str | None:
    """The request's key, if it has one. Raises KeyRefused."""
    return key_in(request.headers.getlist("authorization"))


async def visitor(
    request: Request,
    visitor_name: Annotated[
        str | None,
        Header(
            alias=VISITOR,
            description="Whom of your visitors this is for, by a name of yours: each is a tenant of its own. "
            "Needs the scope `visit`.",
            json_schema_extra={"pattern": f"^{VISITOR_PATTERN}$"},
            examples=["8e03978e40d543dd"],
        ),
    ] = None,
) -> str | None:
    """For which visitor is asked, if for any. Raises InvalidRequest."""
    del visitor_name  # for the document: of several headers it is but the last
    return visitor_in(request.headers.getlist(VISITOR))


async def must_know(
    request: Request,
    key_is: Annotated[
        str | None,
        Header(
            alias=KEY_IS,
            description=f"`{REQUIRED}`: refuse a key that is not known here. Otherwise a gateway that needs no keys "
            "takes one that has not the form of ours for none.",
            json_schema_extra={"pattern": f"^{REQUIRED}$"},
            examples=[REQUIRED],
        ),
    ] = None,
) -> bool:
    """True if the key must be one that is known. Raises InvalidRequest."""
    del key_is  # for the document: of several headers it is but the last
    return must_know_in(request.headers.getlist(KEY_IS))


async def principal(
    gateway: Annotated[Gateway, Depends(gateway)],
    key: Annotated[str | None, Depends(bearer)],
    visitor: Annotated[str | None, Depends(visitor)],
    must_know: Annotated[bool, Depends(must_know)],
) -> Principal:
    """Who asks; counted against its rate.

    Raises KeyRequired, KeyRefused, ScopeMissing, RateLimited, QueueUnavailable.
    """
    return await identify(gateway, key, visitor, must_know=must_know)


ThePrincipal = Annotated[Principal, Depends(principal)]
"""Who asks, whatever its key opens."""


async def reader(principal: ThePrincipal) -> Tenant:
    """Who asks to see something. Raises ScopeMissing, KeyRequired."""
    return principal.require(Scope.READ)


async def submitter(principal: ThePrincipal) -> Tenant:
    """Who asks to make or change something. Raises ScopeMissing, KeyRequired."""
    return principal.require(Scope.SUBMIT)


async def operator(principal: ThePrincipal) -> None:
    """Let an operator pass. Raises ScopeMissing, KeyRequired."""
    principal.require(Scope.ADMIN)


async def watcher(principal: ThePrincipal) -> None:
    """Let one pass who measures the fleet. Raises ScopeMissing, KeyRequired."""
    principal.require(Scope.WATCH)


async def job_id(
    job_id: Annotated[str, Path(description="A job's id.", examples=["5r0z9k2m4c7q8x1t6w3v0h2j9n"])],
) -> JobId:
    """The path's job id. Raises JobNotFound for what was never one: no key is made of it."""
    if not re.fullmatch(ID_PATTERN, job_id):
        raise JobNotFound(job_id[:26])
    return JobId(job_id)


async def idempotency_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=IDEMPOTENCY_KEY,
            description="Drawn by you for this request: sent again with the same key, it gives the job that is there.",
            json_schema_extra={"pattern": KEY_PATTERN},
            examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
        ),
    ] = None,
) -> str | None:
    """The request's idempotency key, if it has one. Raises InvalidRequest."""
    del key  # for the document: of several headers it is but the last
    return idempotency_key_in(request.headers.getlist(IDEMPOTENCY_KEY))


TheGateway = Annotated[Gateway, Depends(gateway)]
TheTenant = Annotated[Tenant, Depends(reader)]
TheSubmitter = Annotated[Tenant, Depends(submitter)]
"""Who asks, of a route that makes or changes something."""
TheJobId = Annotated[JobId, Depends(job_id)]
TheKey = Annotated[str | None, Depends(idempotency_key)]
TheCursor = Annotated[
    str | None,
    Query(
        max_length=64,
        description="`next_cursor` of the page before.",
        examples=["s1041"],
        json_schema_extra={"pattern": CURSOR_PATTERN},
    ),
]
TheLimit = Annotated[int, Query(ge=1, le=100, description="How many a page, at most.")]
