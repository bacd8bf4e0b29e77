"""What the threads of a worker share: leases held, signs of life, orders, the word to stop, spans, and measures."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import final

from shared.meters import Meters
from shared.scripts import Lease, Mode
from worker.attempts import Attempts
from worker.news import Inbox
from worker.pace import Pace
from worker.stages import Stages
from worker.timesheet import Timesheet


@final
class Leases:
    """The leases that this worker holds; for many threads."""

    def __init__(self) -> None:
        self._held: set[Lease] = set()
        self._lock = threading.Lock()

    def hold(self, lease: Lease) -> None:
        """Renew this one from now on."""
        with self._lock:
            self._held.add(lease)

    def let_go(self, lease: Lease) -> None:
        """Renew it no more; nothing happens if it isn't held."""
        with self._lock:
            self._held.discard(lease)

    def held(self) -> tuple[Lease, ...]:
        """Those to renew."""
        with self._lock:
            return tuple(self._held)

    def __contains__(self, lease: Lease) -> bool:
        with self._lock:
            return lease in self._held


@final
class Pulse:
    """When the shift last made progress, by the monotonic clock."""

    def __init__(self) -> None:
        self._at: float | None = None

    def beat(self) -> None:
        """Progress was made."""
        self._at = time.monotonic()

    def rest(self) -> None:
        """The shift is over: no progress is expected."""
        self._at = None

    @property
    def age_s(self) -> float:
        """Seconds without progress; 0 between shifts."""
        at = self._at
        return 0.0 if at is None else time.monotonic() - at


@final
class Stop:
    """The word to stop, given once or, in a hurry, twice.

    Set from signal handlers, so it takes no lock: one attribute, written whole.
    """

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._hurried = False

    def ask(self) -> None:
        """Stop soon; a second time: at once."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        else:
            self._hurried = True

    @property
    def is_asked(self) -> bool:
        """True once the worker shall stop."""
        return self._asked_at is not None

    def time_left_s(self, drain_s: float) -> float:
        """How much longer work may go on; negative once it may not."""
        if self._asked_at is None:
            return float("inf")
        return -1.0 if self._hurried else self._asked_at + drain_s - time.monotonic()


@final
class Wish:
    """What the operators want of this worker, as its heartbeats hear it; for many threads."""

    def __init__(self) -> None:
        self._heard = (Mode.WORK, time.monotonic())

    def hear(self, mode: Mode) -> bool:
        """Note what is wanted; True if that is news."""
        if mode is self.mode:
            return False
        self._heard = (mode, time.monotonic())
        return True

    @property
    def mode(self) -> Mode:
        """The last that was heard."""
        return self._heard[0]

    def time_left_s(self, drain_s: float) -> float:
        """How much longer work may go on; negative once it may not."""
        mode, since = self._heard
        return since + drain_s - time.monotonic() if mode is Mode.DRAINED else float("inf")


@dataclass(frozen=True, slots=True)
class Duty:
    """All of it, made once a worker."""

    leases: Leases = field(default_factory=Leases)
    pulse: Pulse = field(default_factory=Pulse)
    stop: Stop = field(default_factory=Stop)
    wish: Wish = field(default_factory=Wish)
    pace: Pace = field(default_factory=Pace)
    inbox: Inbox = field(default_factory=Inbox)
    stages: Stages = field(default_factory=Stages)
    attempts: Attempts = field(default_factory=Attempts)
    timesheet: Timesheet = field(default_factory=Timesheet)
    meters: Meters = field(default_factory=Meters)
