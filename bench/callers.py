"""Connections to Redis that cost little beside what they press: each sends a call, reads the reply, takes the next.

What is to be asked comes as talks: generators that yield calls and are sent their replies. A talk that is due takes the
next free connection, call by call, as a gateway and its workers do between them. One thread serves all.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast
from urllib.parse import urlsplit

import hiredis

from shared.call import Call, Reply

Talk: TypeAlias = Generator[Call[Any], Reply, None]

READ_AT_ONCE: Final = 65536
LISTENED_AT_ONCE: Final = 1 << 20
LONGEST_WAIT_S: Final = 30.0

_pack = cast("Callable[[tuple[object, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]: half typed


_NOT_YET: Final = False
"""What hiredis says while a part of a reply is missing."""


@dataclass(slots=True)
class _Connection:
    """One socket, and whose reply it waits for."""

    socket: socket.socket
    reader: Any
    talk: Talk | None = None


def _connected(url: str) -> tuple[socket.socket, Any]:
    """Open a connection, say the password; the socket, and what reads its replies."""
    at = urlsplit(url)
    made = socket.create_connection((at.hostname or "", at.port or 0), timeout=LONGEST_WAIT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = cast("Any", hiredis.Reader())
    made.sendall(_pack(("AUTH", at.password or "")))
    reader.feed(made.recv(READ_AT_ONCE))
    if reader.gets() != b"OK":
        made.close()
        raise RuntimeError("the server does not take the password")
    return made, reader


@contextmanager
def listening(url: str, channel: str, count: int) -> Generator[None]:
    """Have so many connections hear each word of a channel, as gateways do."""
    done = threading.Event()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(count):
            made, _ = _connected(url)
            stack.enter_context(made)
            made.sendall(_pack(("SUBSCRIBE", channel)))
            selector.register(made, selectors.EVENT_READ, made)

        def listen() -> None:
            while not done.is_set():
                for key, _ in selector.select(0.1):
                    cast("socket.socket", key.data).recv(LISTENED_AT_ONCE)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class Callers:
    """So many connections to the server at `url`."""

    def __init__(self, url: str, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._free: list[_Connection] = []
        for _ in range(connections):
            one = _Connection(*_connected(url))
            self._selector.register(one.socket, selectors.EVENT_READ, one)
            self._free.append(one)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def ask_all(self, calls: Iterable[Call[Any]]) -> list[Any]:
        """Send calls, as many at once as there are connections; what they come to, in their order."""
        calls = list(calls)
        replies: list[Reply] = [None] * len(calls)

        def talk(at: int) -> Talk:
            replies[at] = yield calls[at]

        self.hold([talk(at) for at in range(len(calls))])
        return [call.parse(reply) for call, reply in zip(calls, replies, strict=True)]

    def hold(self, talks: Sequence[Talk], due_s: Sequence[float] | None = None) -> list[float]:
        """Hold talks to their ends; how late the reply to each one's first call came, in seconds, in their order.

        Late by when it was due, of the monotonic clock: a talk that no connection was free for is late, too. Without
        `due_s` all are due now. Raises RuntimeError if the server refuses a call, TimeoutError if it says nothing.
        """
        begun = time.monotonic()
        dues = [begun] * len(talks) if due_s is None else list(due_s)
        coming = deque(sorted(zip(dues, range(len(talks)), strict=True)))
        late = [0.0] * len(talks)
        unheard = {id(talk): at for at, talk in enumerate(talks)}
        """Those whose first call has not been answered."""
        ready: deque[tuple[Talk, Call[Any]]] = deque()
        left = len(talks)
        while left:
            now = time.monotonic()
            while coming and coming[0][0] <= now:
                talk = talks[coming.popleft()[1]]
                ready.append((talk, next(talk)))
            while ready and self._free:
                self._send(*ready.popleft())
            for talk, reply in self._heard(max(0.0, coming[0][0] - now) if coming and self._free else LONGEST_WAIT_S):
                if (at := unheard.pop(id(talk), None)) is not None:
                    late[at] = time.monotonic() - dues[at]
                try:
                    ready.append((talk, talk.send(reply)))
                except StopIteration:
                    left -= 1
        return late

    def _send(self, talk: Talk, call: Call[Any]) -> None:
        one = self._free.pop()
        one.talk = talk
        one.socket.sendall(_pack(call.words))

    def _heard(self, within_s: float) -> Iterator[tuple[Talk, Reply]]:
        """Read what comes within a time, whole replies only."""
        answered = self._selector.select(within_s)
        if not answered and within_s >= LONGEST_WAIT_S:
            raise TimeoutError(f"the server has said nothing for {LONGEST_WAIT_S:g} s")
        for key, _ in answered:
            one = cast("_Connection", key.data)
            one.reader.feed(one.socket.recv(READ_AT_ONCE))
            reply = one.reader.gets()
            if reply is _NOT_YET:
                continue
            talk, one.talk = one.talk, None
            self._free.append(one)
            if talk is None or isinstance(reply, Exception):
                raise RuntimeError(f"the server refused a call, or said something unasked: {reply}")
            yield talk, cast("Reply", reply)


def due_evenly(count: int, per_second: float) -> list[float]:
    """Say when so many talks are due, of the monotonic clock: one after another, from now on."""
    begun = time.monotonic()
    return [begun + at / per_second for at in range(count)]
