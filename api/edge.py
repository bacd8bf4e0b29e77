"""What every request passes first and every answer last: who may ask, request ids, headers, the log.

Pure ASGI, so that streams stay streams. Lines in the log name method, path, status and time; never a
query, a body or a prompt.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import REQUEST_ID, choose_request_id
from api.errors import http_problem
from shared.errors import DarkroomError
from shared.network import LOOPBACK

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 256 * 1024

SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    # Nothing that the gateway answers is a page.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-site",
}

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_QUIET: Final = frozenset({"/healthz", "/readyz"})


class Edge:
    """The outermost layer: refuses what must not come in, answers what nobody else could."""

    def __init__(self, app: ASGIApp, *, loopback_only: bool) -> None:
        self._app = app
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; never raises unless an answer broke off for an unknown reason."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = _Answer(send, choose_request_id(headers.get("x-request-id")))
        token = REQUEST_ID.set(answer.request_id)
        started = time.perf_counter()
        try:
            refusal = self._refusal(scope, headers)
            await (refusal or self._app)(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            await self._failed(error, answer, scope, receive)
        finally:
            level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
            took_ms = (time.perf_counter() - started) * 1000
            path = quote(scope["path"][:200])
            log.log(level, "%s %s %s %.1f ms", scope["method"], path, answer.status, took_ms)
            REQUEST_ID.reset(token)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if self._loopback_only and not _names_loopback(headers.get("host", "")):
            # Else a web page could rebind its own name to this machine and read the answers.
            return http_problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This gateway serves its own machine only: ask it as 127.0.0.1 or localhost.",
            )
        if scope["method"] not in _READING and not _same_origin(headers):
            return http_problem(
                HTTPStatus.FORBIDDEN,
                "A web page of another origin may not do this. Ask from a server of yours, or from the page itself.",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > MAX_BODY_BYTES:
            return http_problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers={"Connection": "close"})
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


class _Answer:
    """Sends an answer on, with the headers that each one has; remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)


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


def _same_origin(headers: Headers) -> bool:
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
