"""Presses a server: so many connections, each of which asks again as soon as it is answered.

    python -m bench.press  <  orders in JSON, one a line        prints counts in JSON, one a line

Speaks just enough HTTP/1.1 for servers of ours, whose answers have a Content-Length, so that it costs little beside
what it measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

import uvloop

HEAD_ENDS: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length: "


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, to whom, how hard and how long."""

    host: str
    port: int
    requests: tuple[str, ...]
    """As they go over the wire, in turn; `{n}` becomes a number that no other has."""
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Pressed:
    """What came of it."""

    answers: int
    seconds: float
    statuses: dict[str, int]

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class _Presser(asyncio.Protocol):
    """One connection."""

    def __init__(self, order: Order, tally: Counter[bytes], until: float) -> None:
        self._order = order
        self._tally = tally
        self._until = until
        self._left = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._left += data
        head, ends, rest = self._left.partition(HEAD_ENDS)
        if not ends:
            return
        at = head.lower().index(LENGTH) + len(LENGTH)
        length = int(head[at : at + 12].split(b"\r", 1)[0])
        if len(rest) < length:
            return
        self._left = rest[length:]
        self._tally[head[9:12]] += 1
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        number = next(_NUMBERS)
        request = self._order.requests[number % len(self._order.requests)]
        self._transport.write(request.replace("{n}", f"{number:016d}").encode())


_NUMBERS: Final = iter(range(time.time_ns() % 10**15, 10**16))


async def press(order: Order) -> Pressed:
    """Press for the order's time. Raises OSError if nobody is there."""
    loop = asyncio.get_running_loop()
    tally: Counter[bytes] = Counter()
    begun = time.perf_counter()
    made = await asyncio.gather(
        *(
            loop.create_connection(lambda: _Presser(order, tally, begun + order.seconds), order.host, order.port)
            for _ in range(order.connections)
        )
    )
    await asyncio.gather(*(protocol.done for _, protocol in made))
    took = time.perf_counter() - begun
    return Pressed(tally.total(), took, {status.decode(): count for status, count in tally.items()})


async def main() -> None:
    """Carry out one order after another."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        said: dict[str, Any] = json.loads(line)
        print(json.dumps(asdict(await press(Order(**said)))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
