"""Pictures that the object store has not taken yet: on disk where there is room, else in memory.

    delivery ── not taken ──► keep ──► spool, or memory
        ▲                                 │
        └── store it, or give it up ◄── next: the store is back and the pause over,
                                        or the patience over, or the lease lost

Keeps and hands out; the trying is delivery's.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass
from typing import Final, final

from shared.jobs import Image
from shared.logs import ABOUT, About
from shared.scripts import Lease
from worker.duty import Leases
from worker.spool import Spool, Spooled
from worker.storage import Storage

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
LOOK_PAUSE_S: Final = 0.1
"""Between two looks at the leases and the store while something waits."""


class PictureLost(Exception):
    """A picture that waited on the disk is no longer there as it was written."""


@final
@dataclass(eq=False, slots=True)
class Waiting:
    """A picture that waits, and when it is to be tried again, by the monotonic clock."""

    lease: Lease
    image: Image
    _kept: Spooled | bytes
    _give_up_at: float
    about: About | None
    """What the lines of its storing are about."""
    _pause_s: float = FIRST_PAUSE_S
    _try_at: float = 0.0

    def read(self) -> bytes:
        """Read the file. Raises PictureLost."""
        if isinstance(self._kept, bytes):
            return self._kept
        try:
            data = self._kept.read()
        except OSError as error:
            raise PictureLost(str(error)) from error
        if hashlib.sha256(data).hexdigest() != self.image.sha256:
            raise PictureLost(f"{self._kept.file} was changed")
        return data

    @property
    def spooled(self) -> Spooled | None:
        """Where it lies on the disk; None if it is in memory."""
        return self._kept if isinstance(self._kept, Spooled) else None

    @property
    def is_due(self) -> bool:
        """True once the pause is over."""
        return time.monotonic() >= self._try_at

    @property
    def is_over(self) -> bool:
        """True once patience is."""
        return time.monotonic() >= self._give_up_at

    def rest(self) -> None:
        """Wait again, on average twice as long as before; by chance, lest all workers come at once."""
        self._try_at = time.monotonic() + self._pause_s * random.uniform(0.5, 1.5)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


@final
class Backlog:
    """What waits, in the order of its coming; for many threads that keep and one that takes."""

    def __init__(self, spool: Spool, storage: Storage, leases: Leases, *, patience_s: float) -> None:
        self._spool = spool
        self._storage = storage
        self._leases = leases
        self._patience_s = patience_s
        self._waiting: list[Waiting] = []
        self._in_memory = 0
        self._changed = threading.Condition()
        self._closing = False

    @property
    def in_memory(self) -> int:
        """How many pictures the disk had no room for."""
        return self._in_memory

    def keep(self, lease: Lease, image: Image, data: bytes) -> None:
        """Have a picture wait; its bytes leave memory if the disk has room."""
        give_up_at = time.monotonic() + self._patience_s
        waiting = Waiting(lease, image, self._spool.put(data) or data, give_up_at, ABOUT.get())
        with self._changed:
            self._in_memory += waiting.spooled is None
        self.keep_on(waiting)

    def keep_on(self, waiting: Waiting) -> None:
        """Have a picture that `next` gave wait longer."""
        waiting.rest()
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify()

    def drop(self, waiting: Waiting) -> None:
        """Forget a picture that `next` gave; its file goes."""
        if waiting.spooled is not None:
            self._spool.drop(waiting.spooled)
        else:
            with self._changed:
                self._in_memory -= 1

    def next(self) -> Waiting | None:
        """Wait for a picture with which there is something to do; None when closing."""
        with self._changed:
            while not self._closing:
                is_away = self._storage.is_away
                for waiting in self._waiting:
                    is_lost = waiting.lease not in self._leases
                    if is_lost or waiting.is_over or (waiting.is_due and not is_away):
                        self._waiting.remove(waiting)
                        return waiting
                self._changed.wait(LOOK_PAUSE_S if self._waiting else None)
        return None

    def close(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
