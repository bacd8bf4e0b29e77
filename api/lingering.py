"""How a connection ends whose caller is still sending.

Closed at once, it would be reset by the kernel, and the last answer lost on its way. So it is half-closed first, and
what still comes is read and dropped for a while. After nginx' `lingering_close`; RFC 9112, 9.6. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LINGER_BYTES: Final = 32 * 1024 * 1024
"""Dropped at most: twice the largest body that is accepted."""
LINGER_S: Final = 30.0
SILENCE_S: Final = 5.0
"""So long without a byte ends it sooner."""


class Lingering(asyncio.Transport):
    """A connection's transport that lingers when it is closed while its caller sends."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, sends: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._sends = sends
        """Tells whether more is to come of what the caller has begun."""
        self._left = 0
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lingers(self) -> bool:
        """True once all has been said, while what still comes is dropped."""
        return self._until is not None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """True once nothing more can be said."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """Close, but linger while the caller sends."""
        if self._sends() and not self.is_closing():
            self.linger()
        else:
            self.end()

    def linger(self) -> None:
        """Say that nothing more comes, and drop what the caller goes on to send."""
        if self.is_closing():
            return
        self._left, self._until = LINGER_BYTES, self._loop.time() + LINGER_S
        self._transport.resume_reading()
        self._transport.write_eof()
        self._wait()

    def drop(self, data: bytes) -> None:
        """Take what came while it lingers."""
        self._left -= len(data)
        if self._left < 0:
            self.end()
        else:
            self._wait()

    def end(self) -> None:
        """Close now."""
        self.forget()
        self._transport.close()

    def forget(self) -> None:
        """Wait no longer: it is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self.forget()
        if self._until is not None:
            self._timer = self._loop.call_at(min(self._until, self._loop.time() + SILENCE_S), self.end)
