"""Connections to where we may send alone: a name is looked up once, and connected to is what was looked at.

So a name that answers otherwise a second time (DNS rebinding) gains nothing. TLS still asks for the name's certificate.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, final

from httpcore2 import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError

from shared.network import Address, address_of

LOOKERS: Final = 256
"""Names that are looked up at once: those whose servers hang must not hold up the others. Rounds are
fewer, each with one name, but a look-up may outlive its round."""


class NotPermitted(Exception):
    """The receiver's host has an address to which this may not be sent."""


class NameUnknown(Exception):
    """The receiver's host has no address."""


@final
class GuardedNetwork(AsyncNetworkBackend):
    """Connects to addresses that `permits` says yes to."""

    def __init__(self, permits: Callable[[Address], bool]) -> None:
        self._permits = permits
        self._network = AnyIOBackend()
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look-up")
        self._asked: dict[tuple[str, int], asyncio.Task[list[str]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 the base class has it
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the first of the host's addresses that answers.

        Raises NotPermitted if any of them is not to be connected to, NameUnknown, and httpcore's ConnectError and
        ConnectTimeout.
        """
        addresses = await self._addresses(host, port)
        for one in addresses:
            address = address_of(one)
            if address is None or not self._permits(address):
                raise NotPermitted
        for one in addresses[:-1]:
            try:
                return await self._network.connect_tcp(one, port, timeout, local_address, socket_options)
            except ConnectError:
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Pause between tries to connect, of which there are none."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Look nothing up any more."""
        self._lookers.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Look a host up, once for all who ask meanwhile. Raises NameUnknown."""
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = asyncio.create_task(self._look_up(host, port))
            asked.add_done_callback(lambda task: (self._asked.pop((host, port)), task.cancelled() or task.exception()))
        return await asyncio.shield(asked)

    async def _look_up(self, host: str, port: int) -> list[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # The scope of a link-local address stands behind a %.
            return list(dict.fromkeys(str(address[0]).split("%", 1)[0] for *_, address in found))

        try:
            found = await asyncio.get_running_loop().run_in_executor(self._lookers, look_up)
        except (OSError, UnicodeError) as error:
            raise NameUnknown from error
        if not found:
            raise NameUnknown
        return found
