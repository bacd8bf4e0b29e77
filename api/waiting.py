"""How long an answer may be held for who waits for it, and whether they are still there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Header
from starlette.requests import Request

from api.deps import TheGateway, ThePrincipal
from api.stays import Stay
from shared.errors import RateLimited

MOST_WAIT_S: Final = 60
"""Proxies commonly give up an answer that takes longer."""

PREFER: Final = "Prefer"
APPLIED: Final = "Preference-Applied"

_WAIT: Final = re.compile(r'wait(?:\s*=\s*"?0*([0-9]{1,9})"?)?', re.IGNORECASE)


def leaves(request: Request, stay: Stay) -> asyncio.Task[None]:
    """Make what is done when the caller has closed the connection, or may stay no longer."""

    async def has_left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    left = asyncio.create_task(has_left())
    stay.when_over(left.cancel)
    return left


async def stay(gateway: TheGateway, principal: ThePrincipal) -> AsyncGenerator[Stay]:
    """A place among those whose answers are held, until the answer has been sent or its reader has left.

    Raises RateLimited, KeyRefused, QueueUnavailable.
    """
    async with gateway.stays.begin(principal) as one:
        yield one


TheStay = Annotated[Stay, Depends(stay)]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long the caller prefers to wait, and their place."""

    seconds: int
    stay: Stay


async def preferred_wait(
    request: Request,
    gateway: TheGateway,
    principal: ThePrincipal,
    prefer: Annotated[  # for the document: of several headers it is but the last
        str | None,
        Header(
            alias=PREFER,
            description=f"RFC 7240: with `wait=N` the answer is held until the job has ended, for N seconds at most; "
            f"beyond {MOST_WAIT_S}, and of `wait` alone, for {MOST_WAIT_S}.",
            examples=["wait=30"],
        ),
    ] = None,
) -> AsyncGenerator[Wait | None]:
    """The caller's preference; None for none, and where too many wait already.

    A preference can't be wrong, and need not be heeded (RFC 7240, 2): one that can't be read is as good as none, and
    the first one counts. Raises KeyRefused, QueueUnavailable.
    """
    del prefer
    seconds, stay = _preferred_s(request.headers.getlist(PREFER)), None
    async with AsyncExitStack() as place:
        if seconds is not None:
            with suppress(RateLimited):
                stay = await place.enter_async_context(gateway.stays.begin(principal))
        yield Wait(seconds, stay) if seconds is not None and stay is not None else None


def _preferred_s(said: Iterable[str]) -> int | None:
    for preference in ",".join(said).split(","):
        if found := _WAIT.fullmatch(preference.split(";")[0].strip()):
            seconds = MOST_WAIT_S if found[1] is None else min(int(found[1]), MOST_WAIT_S)
            return seconds or None
    return None


TheWait = Annotated[Wait | None, Depends(preferred_wait)]
