"""The connection below the application: how much of a request's head is read, how long that may take, what is no HTTP.

uvicorn with httptools bounds none of this. From a whole head on a request is Edge's.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.context import choose_request_id
from api.edge import CAME_WHOLE, MAX_HEAD_BYTES, SECURITY_HEADERS
from api.errors import http_problem
from api.lingering import Lingering
from shared.logs import About, about
from shared.network import KEEP_ALIVE_S

HEAD_WITHIN_S: Final = 20.0
"""How long a connection may take to bring its first head, or the rest of what it has begun while nothing is answered.

Between requests, with nothing begun, it is kept for `KEEP_ALIVE_S`.
"""
GRACE_S: Final = 10
"""For answers under way when the gateway is told to stop."""


class Wire(HttpToolsProtocol):
    """A connection that ends when it brings no request in time, and answers with a Problem what is none."""

    _way: Lingering
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes: int | None = None
    """Read since the chunk in which the head began; None outside of a head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]: uvicorn's own
        """Begin, and wait for a head."""
        super().connection_made(transport)
        self.transport = self._way = Lingering(transport, self.loop, self._is_sent_to)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget_deadline()
        self._way.forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._way.lingers:
            self._way.drop(data)
            return
        was_in_head = self._head_bytes is not None
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes is not None and was_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
        if self._is_answered():
            self._expect_head()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; not one that follows a chunked body, for nobody reads those."""
        if self._head_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        self._head_bytes = None
        self._forget_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Tell the application if nothing more has to come, which is so before it hears of most requests."""
        super().on_message_complete()
        self.scope.setdefault("state", {})[CAME_WHOLE] = True

    def on_response_complete(self) -> None:
        """Go on; what had begun to come while this was answered must go on coming, too."""
        super().on_response_complete()
        if self._way.lingers:  # for as long as that lasts
            return
        if self._is_answered() and (self._head_bytes is not None or self.cycle.more_body):
            self._expect_head()

    def shutdown(self) -> None:
        """Stop: linger for nobody."""
        if self._way.lingers:
            self._way.end()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        """Answer what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]: at first

    def _is_sent_to(self) -> bool:
        return self.cycle is not None and self.cycle.more_body  # pyright: ignore[reportUnnecessaryComparison]: at first

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_WITHIN_S, self._give_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._head_bytes is None:  # nothing has come, or the rest of a body whose request has been answered
            self._way.end()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer for a request that reaches no application, and close the connection."""
        if not self._is_answered():
            if not self.cycle.more_body:  # that one was well: it is answered, and nothing after it
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True
            if self.cycle.response_started:
                self._way.end()
                return
        request_id = choose_request_id(None)
        with about(About(request_id)):
            answer = http_problem(status, headers={**SECURITY_HEADERS, "X-Request-ID": request_id, **_LAST})
        headers = b"".join(
            b"%b: %b\r\n" % header for header in [*self.server_state.default_headers, *answer.raw_headers]
        )
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], headers, bytes(answer.body)))
        self._forget_deadline()
        if status is HTTPStatus.REQUEST_TIMEOUT:  # who has had that long gets no longer
            self._way.end()
        else:
            self._way.linger()


_LAST: Final = {"Cache-Control": "no-store", "Connection": "close"}


def server_config(app: FastAPI, *, host: str = "127.0.0.1", port: int) -> uvicorn.Config:
    """Say how the gateway is served, wherever it is."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Wire,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
