"""What every request passes first and every answer last: whence it may come, sizes and times, ids, headers, the log.

Pure ASGI, so that streams stay streams. Lines in the log name method, path, status, time and tenant; never a
query, a body, a prompt or a key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import EXCHANGE, PATH, Exchange, choose_request_id
from api.errors import http_problem
from api.traces import READING, Traces, began_at
from shared.contract import IDEMPOTENCY_KEY, KEY_IS, VISITOR
from shared.errors import DarkroomError
from shared.logs import ABOUT, About
from shared.meters import HTTP_REQUESTS, HTTP_SECONDS, Meters
from shared.network import LOOPBACK
from shared.tracing import trace_of

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 256 * 1024
MAX_HEAD_BYTES: Final = 32 * 1024
"""Of address and headers together."""
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
"""Of a body that is many requests, sent to `BATCHES`."""
BATCHES: Final = "/v1/batches"
CAME_WHOLE: Final = "darkroom.came_whole"
"""In the state of a request's scope once all of it has come in, if the server tells."""
BODY_WITHIN_S: Final = 30.0
"""How long a body may take to come: even the largest on a slow line takes less."""
BATCH_WITHIN_S: Final = 300.0

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Nothing that the gateway answers is a page.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
}

CORS_METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
CORS_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Request-ID",
    IDEMPOTENCY_KEY,
    KEY_IS,
    VISITOR,
)
CORS_ANSWER_HEADERS: Final = (
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Policy",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""Which headers of an answer a page of a listed origin may read."""

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = READING.union(CORS_METHODS)
_CLOSE: Final = {"Connection": "close"}
_QUIET: Final = frozenset({"/healthz", "/readyz"})
_REFUSED: Final = 400
ELSEWHERE: Final = "elsewhere"
"""In place of a route: where there is none, or the request was refused before anybody looked."""
_STATUS_WORDS: Final[Mapping[int | None, str]] = {status: str(status) for status in range(100, 600)}
_ON_EACH: Final = tuple(
    (name.lower().encode(), value.encode()) for name, value in {**SECURITY_HEADERS, "Cache-Control": "no-store"}.items()
)
_NAMED_ON_EACH: Final = frozenset(name for name, _ in _ON_EACH)


class Edge:
    """The outermost layer: refuses what must not come in, answers what nobody else could."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        loopback_only: bool,
        meters: Meters,
        traces: Traces,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._meters = meters
        self._traces = traces
        self._loopback_only = loopback_only
        self._origins = origins
        # Asked for the listed origins alone: to any other it would answer with what is no Problem.
        self._for_pages = CORSMiddleware(
            self._serve,
            allow_origins=origins,
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            allow_private_network=True,
            expose_headers=CORS_ANSWER_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; never raises unless an answer broke off for an unknown reason."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _head(scope)
        about = About(choose_request_id(headers.get("x-request-id")))
        exchange = Exchange(about)
        if self._traces.is_on and scope["method"] not in READING:
            exchange.span = self._traces.request(headers, about)
            about.trace = trace_of(exchange.span)
        answer = _Answer(send, about.request, exchange, varies=bool(self._origins))
        token = ABOUT.set(about)
        path_token = PATH.set(scope["path"])
        EXCHANGE.set(exchange)
        started = time.perf_counter()
        try:
            is_listed = headers.get("origin") in self._origins
            if CAME_WHOLE not in scope.get("state", ()):
                receive = _Incoming(receive, BATCH_WITHIN_S if _is_batch(scope) else BODY_WITHIN_S).receive
            if is_listed:
                await self._for_pages(scope, receive, answer.send)
            else:
                await self._let_in(headers, scope, receive, answer.send)
        except ClientDisconnect:
            log.info("the caller left before the request had come in whole")
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            await self._failed(error, answer, scope, receive)
        finally:
            self._count(scope, exchange, answer, started)
            is_quiet = _is_quiet(scope, answer.status)
            if self._traces.is_on and not is_quiet:
                self._trace(scope, headers, exchange, answer, started)
            level = logging.DEBUG if is_quiet else logging.INFO
            if log.isEnabledFor(level):
                took_ms = (time.perf_counter() - started) * 1000
                path = quote(scope["path"][:200])
                said = {"method": scope["method"], "path": path, "status": answer.status, "took_ms": took_ms}
                log.log(level, "%(method)s %(path)s %(status)s %(took_ms).1f ms", said)
            PATH.reset(path_token)
            ABOUT.reset(token)

    def _count(self, scope: Scope, exchange: Exchange, answer: _Answer, started: float) -> None:
        route = _route(scope, exchange)
        # What callers make up must not make more and more series.
        method = scope["method"] if route is not ELSEWHERE and scope["method"] in _METHODS else ""
        self._meters.count(HTTP_REQUESTS, method, route, _STATUS_WORDS.get(answer.status, ""), exchange.code)
        if answer.began is not None and not exchange.is_held:
            self._meters.note(HTTP_SECONDS, answer.began - started, method, route)

    def _trace(
        self, scope: Scope, headers: Mapping[str, str], exchange: Exchange, answer: _Answer, started: float
    ) -> None:
        """End the span; a read that was refused has it all told now."""
        about, span = exchange.about, exchange.span
        if span is None:
            at_ns = began_at(time.perf_counter() - started)
            span = self._traces.request(headers, about, at_ns=at_ns)
            about.trace = trace_of(span)
        # What callers make up is no method.
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        self._traces.answered(span, f"{method} {_route(scope, exchange)}", answer.status, exchange)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._let_in(_head(scope), scope, receive, send)

    async def _let_in(self, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(scope, headers) or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        if self._loopback_only and not _names_loopback(headers.get("host", "")):
            # Else a web page could rebind its own name to this machine and read the answers.
            return http_problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This gateway serves its own machine only: ask it as 127.0.0.1 or localhost.",
            )
        is_listed = headers.get("origin") in self._origins
        if scope["method"] not in READING and not is_listed and not _same_origin(headers):
            return http_problem(
                HTTPStatus.FORBIDDEN,
                "A web page of another origin may not do this. Ask from a server of yours, or from the page itself.",
            )
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            return http_problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, headers=_CLOSE)
        length = headers.get("content-length", "0")
        size = int(length.lstrip("0")[:20] or "0") if length.isdecimal() else None
        if size is None or size > (MAX_BATCH_BYTES if _is_batch(scope) else MAX_BODY_BYTES):
            said = "The batch is too large: send 16 MiB at most, and the rest as another." if _is_batch(scope) else None
            return http_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said, headers=_CLOSE)
        if scope["method"] in _WITHOUT_BODY and ("transfer-encoding" in headers or size > 0):
            # Else it would come in while an answer is held.
            return http_problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "A GET takes no body: send the parameters in the address.",
                headers=_CLOSE,
            )
        return None

    async def _failed(self, error: Exception, answer: _Answer, scope: Scope, receive: Receive) -> None:
        cause = error.__cause__ if isinstance(error.__cause__, DarkroomError) else error
        if answer.status is None:
            log.error("unexpected error", exc_info=error)
            await http_problem(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, answer.send)
        elif isinstance(cause, DarkroomError):
            # The server closes the connection, so the reader sees a short body, not a wrong one.
            log.warning("the answer broke off: %s", cause)
        else:
            raise error


class _Incoming:
    """Hands a request's body on as long as it comes in time."""

    def __init__(self, receive: Receive, within_s: float) -> None:
        self._receive = receive
        self._until = time.monotonic() + within_s
        self._is_whole = False

    async def receive(self) -> Message:
        """Receive. Raises HTTPException (408) while a body has not come in whole in time."""
        if self._is_whole:  # what comes now is that the caller leaves
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, headers=dict(_CLOSE)) from None
        self._is_whole = not message.get("more_body", False)
        return message


class _Answer:
    """Sends an answer on, with the headers that each one has; remembers its status."""

    def __init__(self, send: Send, request_id: str, exchange: Exchange, *, varies: bool) -> None:
        self._send = send
        self.request_id = request_id
        self._exchange = exchange
        self._varies = varies
        self.status: int | None = None
        self.began: float | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.began = time.perf_counter()
            said = message["headers"]
            own = _NAMED_ON_EACH.intersection([name for name, _ in said])
            each = [header for header in _ON_EACH if header[0] not in own] if own else _ON_EACH
            message["headers"] = [*said, *each, (b"x-request-id", self.request_id.encode())]
            if self._exchange.headers or self._varies:
                headers = MutableHeaders(scope=message)
                headers.update(self._exchange.headers)
                if self._varies:  # what a browser keeps for one origin must not be shown to another
                    headers.add_vary_header("Origin")
        await self._send(message)


def _head(scope: Scope) -> Mapping[str, str]:
    """A request's headers; of one that came several times the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _is_quiet(scope: Scope, status: int | None) -> bool:
    """True for what would drown the rest of the log: polls that were answered, and probes."""
    return scope["path"] in _QUIET or (scope["method"] in READING and status is not None and status < _REFUSED)


def _route(scope: Scope, exchange: Exchange) -> str:
    if exchange.route:
        return exchange.route
    found = scope.get("route")
    return ELSEWHERE if found is None else found.path_format


def _is_batch(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"] == BATCHES


def _head_bytes(scope: Scope) -> int:
    sizes = (len(name) + len(value) + 4 for name, value in scope["headers"])
    return len(scope["raw_path"]) + len(scope["query_string"]) + sum(sizes)


@lru_cache
def _names_loopback(host: str) -> bool:
    """True for a Host header that a browser can't be talked into for another site's page."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in LOOPBACK or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _same_origin(headers: Mapping[str, str]) -> bool:
    """True unless a browser says that another origin's page asks.

    After Go 1.25's `net/http.CrossOriginProtection`: Sec-Fetch-Site where there is one, else Origin
    against Host; neither: no browser, or one that asks for its user.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == headers.get("host", "")
    except ValueError:
        return False
