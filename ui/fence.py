"""What may come in at the page's door: from which pages, of what size, and to which of Gradio's routes.

Gradio brings more routes than this page has use for: one takes files, one fetches any public address for whoever asks.
And it tells browsers that pages of other sites may read its answers. So only what the page's own scripts ask for
passes. Knows nothing of visitors, and needs no settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES: Final = 2**20
"""Of a request's body: a press sends the form, and at most 2,000 ids of favourites."""
PATIENCE_S: Final = 30.0
"""For the body: it is held in memory meanwhile."""

_GRADIO: Final = "/gradio_api/"
_NEEDED: Final = frozenset(
    {"app_id", "cancel", "heartbeat", "info", "login_check", "queue", "reset", "run", "startup-events", "theme.css"}
)
"""What follows it in the addresses that the page's scripts ask for."""
_OWN_LIMIT: Final = "/settings"
"""A dropped picture is larger, and `ui.restore` counts it."""
_READING: Final = frozenset({"GET", "HEAD"})

_FOREIGN: Final = "A web page of another address may not do this."
_TOO_LARGE: Final = f"A request may have {MOST_BYTES // 2**20} MB at most."


class Fence:
    """ASGI middleware that turns away what the page's own scripts don't send."""

    def __init__(self, app: ASGIApp, *, patience_s: float = PATIENCE_S) -> None:
        self._app = app
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body whole, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = _refusal(scope, headers)
        if refusal is None and _is_bounded(scope):
            try:
                async with asyncio.timeout(self._patience_s):
                    receive = await _whole(receive)
            except TimeoutError:
                refusal = _refused(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to get here.")
        await (refusal or self._app)(scope, receive, send)


def is_foreign(method: str, headers: Mapping[str, str]) -> bool:
    """True if a browser says that another address's page asks, and it isn't a link that leads here.

    Where no Sec-Fetch-Site tells (plain http), Origin must name this host, as the browser or a proxy says it: no page
    can have a browser send X-Forwarded-Host without asking first, which is refused.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"} and (origin is not None or method not in _READING)
    if origin is None:
        return False
    try:
        asker = urlsplit(origin).netloc
    except ValueError:
        return True
    forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip()
    return not asker or asker not in {headers.get("host"), forwarded}


def _refusal(scope: Scope, headers: Headers) -> Response | None:
    _, is_gradios, route = scope["path"].partition(_GRADIO)
    if is_gradios and route.partition("/")[0] not in _NEEDED:
        return _refused(HTTPStatus.NOT_FOUND, "There is no such address.")
    if is_foreign(scope["method"], headers):
        return _refused(HTTPStatus.FORBIDDEN, _FOREIGN)
    is_chunked = "transfer-encoding" in headers  # which h11 follows though a length is said, too
    if not (is_chunked or _is_bounded(scope)):
        return None
    length = headers.get("content-length", "")
    if is_chunked or not (length.isascii() and length.isdecimal()):
        return _refused(HTTPStatus.LENGTH_REQUIRED, "Say the request's length.")
    # Python refuses to read numbers of thousands of digits.
    if len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
        return _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
    return None


def _is_bounded(scope: Scope) -> bool:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope["method"] not in _READING and path != _OWN_LIMIT


async def _whole(receive: Receive) -> Receive:
    """Take a body in, and give it on in one piece; what comes behind it is that the caller leaves."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":  # they left in the middle of it
            break
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            message = {"type": "http.request", "body": b"".join(parts), "more_body": False}
            break
    first: list[Message] = [message]

    async def receive_whole() -> Message:
        return first.pop() if first else await receive()

    return receive_whole


def _refused(status: HTTPStatus, words: str) -> Response:
    return PlainTextResponse(words, status_code=status, headers={"Connection": "close"})
