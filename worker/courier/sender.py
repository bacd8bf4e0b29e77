"""Sends one message to one receiver, and says what came of it. Knows nothing of the queue."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Self, final
from urllib.parse import urlsplit

import httpcore2
from pydantic import SecretStr

from shared.network import Reach
from shared.receiver import trouble_with
from shared.version import VERSION
from worker.courier.guard import GuardedNetwork, NameUnknown, NotPermitted
from worker.courier.signature import headers_of

_logger = logging.getLogger(__name__)

MOST_ANSWER_BYTES: Final = 64 * 1024
"""What is read of an answer, so that its connection can be used again; its words are of no use to us."""
MOST_ANSWER_S: Final = 1.0
"""For how long."""
MOST_CONNECTIONS: Final = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try."""

    status: int | None
    """The receiver's; None if it gave none."""
    error: str
    """Why the message was not taken; empty if it was."""
    took_ms: int


@final
class Sender:
    """Connections to receivers, for one event loop."""

    def __init__(self, reach: Reach, *, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._reach = reach
        self._timeout_s = timeout_s
        # Plain http stays in the operator's networks, whatever a name leads to.
        self._networks = {"https": GuardedNetwork(reach.permits), "http": GuardedNetwork(reach.is_chosen)}
        self._pools = {
            scheme: httpcore2.AsyncConnectionPool(
                ssl_context=tls or httpcore2.default_ssl_context(),
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=64,
                keepalive_expiry=30.0,
                network_backend=network,
            )
            for scheme, network in self._networks.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        for network in self._networks.values():
            network.close()

    async def send(self, url: str, message_id: str, body: bytes, secrets: Sequence[SecretStr]) -> Answer:
        """Send a message, signed; a redirect is not followed. Never raises for what a receiver does."""
        begun = time.monotonic()
        status, error = await self._sent(url, message_id, body, secrets)
        return Answer(status, error, round((time.monotonic() - begun) * 1000))

    async def _sent(
        self, url: str, message_id: str, body: bytes, secrets: Sequence[SecretStr]
    ) -> tuple[int | None, str]:
        if trouble := trouble_with(url, self._reach):  # the operator may have closed what was open
            return None, f"The URL is not permitted: it {trouble[0].lower()}{trouble[1:]}"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Darkroom/{VERSION}",
            **headers_of(message_id, int(time.time()), body, secrets),
        }
        try:
            status = await self._post(url, headers, body)
        except Exception as error:  # noqa: BLE001 a receiver can do anything, and one message must not keep the others
            return None, self._why_unsent(message_id, error, is_plain=urlsplit(url).scheme == "http")
        return status, _why_not_taken(status)

    def _why_unsent(self, message_id: str, error: Exception, *, is_plain: bool) -> str:
        match error:
            case TimeoutError():
                return f"No answer within {self._timeout_s:g} s."
            case NotPermitted():
                outside = "outside of the networks where plain http may be spoken"
                return f"Its host has an address {outside if is_plain else 'that is not public'}."
            case NameUnknown():
                return "Its host's name has no address."
            case httpcore2.ConnectError():
                return _why_unconnected(error)
            case httpcore2.NetworkError() | httpcore2.ProtocolError() | httpcore2.TimeoutException():
                return "The connection broke, or what came was no HTTP."
            case _:
                _logger.error("a message was not sent", extra={"message_id": message_id}, exc_info=error)
                return "It could not be sent."

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        pool = self._pools[urlsplit(url).scheme]
        async with AsyncExitStack() as answered:
            asking = pool.stream("POST", url, headers=list(headers.items()), content=body)
            async with asyncio.timeout(self._timeout_s):
                response = await answered.enter_async_context(asking)
            await _read_away(response)
            return response.status


async def _read_away(response: httpcore2.Response) -> None:
    """Read the words of an answer. The receiver has spoken by its status, whatever becomes of them."""
    size = 0
    with suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        async with asyncio.timeout(MOST_ANSWER_S):
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > MOST_ANSWER_BYTES:
                    return


def _why_not_taken(status: int) -> str:
    """Say why an answer takes no message; empty if it does."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    if status < HTTPStatus.BAD_REQUEST:
        return f"It answered {status}: redirects are not followed. Change the webhook's URL."
    if status == HTTPStatus.GONE:
        return "It answered 410: it wants no more, so the webhook is switched off."
    return f"It answered {status}."


def _why_unconnected(error: httpcore2.ConnectError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Its certificate is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "TLS failed."
        cause = cause.__cause__ or cause.__context__
    return "No connection: refused, or nobody is there."
