"""Polls and submits, which are most of what is asked, on a short way past FastAPI's routing and its dependencies.

It asks the same functions as the routes in `api/routes/jobs.py`. Those stay: for the document, and for what is said in
a less common way, with a query, `Prefer` or a body of unknown length. Both give the same answers; a test holds them to
it (tests/integration/test_gateway_shortcut.py). Why: docs/decisions/0023.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from api.acceptance import accept_body, headers_of
from api.access import Principal
from api.context import EXCHANGE
from api.deps import Gateway, gateway_of, idempotency_key_in, identify, key_in, must_know_in, visitor_in
from api.errors import darkroom_problem, refusal
from api.intake import JSON, require_json
from shared import access
from shared.contract import IDEMPOTENCY_KEY, KEY_IS, VISITOR
from shared.errors import DarkroomError
from shared.jobs import ID_PATTERN, JobId

JOBS: Final = "/v1/jobs"
JOB: Final = f"{JOBS}/{{job_id}}"
_ONE_JOB: Final = re.compile(rf"{JOBS}/(?P<id>{ID_PATTERN})")

Headers: TypeAlias = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON, and the headers that are this answer's own."""

    status: HTTPStatus
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Way: TypeAlias = Callable[[Gateway, Headers, Receive], Awaitable[Answer]]


class Shortcut:
    """Answers what it knows; the rest goes the usual way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        found = _way(scope, headers) if headers else None
        if found is None:
            await self._app(scope, receive, send)
            return
        EXCHANGE.get().route, way = found
        try:
            answer = await way(gateway_of(scope["app"]), headers, receive)
        except DarkroomError as error:
            await darkroom_problem(error)(scope, receive, send)
        except HTTPException as error:
            await refusal(error)(scope, receive, send)
        else:
            await _send(answer, send)


def _way(scope: Scope, headers: Headers) -> tuple[str, Way] | None:
    """Tell how a request is answered here, if it is, and the address as the document has it."""
    is_plain = not scope["query_string"] and len(headers) == len(scope["headers"])  # said once is said plainly
    if not is_plain:
        return None
    method, path = scope["method"], scope["path"]
    if method == "GET" and (match := _ONE_JOB.fullmatch(path)):
        return JOB, partial(_read, JobId(match["id"]))
    if method == "POST" and path == JOBS and b"content-length" in headers and b"prefer" not in headers:
        return JOBS, _submit
    return None


async def _read(job_id: JobId, gateway: Gateway, headers: Headers, _receive: Receive) -> Answer:
    tenant = (await _asker(gateway, headers)).require(access.Scope.READ)
    body = await gateway.outlooks.body(await gateway.read(job_id, tenant))
    return Answer(HTTPStatus.OK, to_json(body))


async def _submit(gateway: Gateway, headers: Headers, receive: Receive) -> Answer:
    tenant = (await _asker(gateway, headers)).require(access.Scope.SUBMIT)
    key = idempotency_key_in(_said(headers, IDEMPOTENCY_KEY))
    require_json(*(headers.get(name, b"").decode("latin-1") for name in (b"content-type", b"content-encoding")))
    submitted = await accept_body(gateway, tenant, await _whole(receive), key)
    body = await gateway.outlooks.body(submitted.job)
    return Answer(HTTPStatus.ACCEPTED, to_json(body), headers_of(submitted, body))


async def _asker(gateway: Gateway, headers: Headers) -> Principal:
    key = key_in(_said(headers, "Authorization"))
    must_know = must_know_in(_said(headers, KEY_IS))
    return await identify(gateway, key, visitor_in(_said(headers, VISITOR)), must_know=must_know)


def _said(headers: Headers, name: str) -> tuple[str, ...]:
    value = headers.get(name.lower().encode())
    return () if value is None else (value.decode("latin-1"),)


async def _whole(receive: Receive) -> bytes:
    """Read a body; its size is bounded by its Content-Length, which the edge has looked at. Raises ClientDisconnect."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _send(answer: Answer, send: Send) -> None:
    headers = [(b"content-type", JSON.encode()), (b"content-length", b"%d" % len(answer.body))]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
