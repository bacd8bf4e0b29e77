"""The customers: each tenant orders and cancels through its door; the watcher looks at everything again and again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from random import Random
from typing import Final, final

from shared.errors import DarkroomError
from shared.jobs import JobStatus
from tests.chaos.doors import Door
from tests.chaos.ledger import Ledger, Order, Sighting

IMAGES: Final = (1, 1, 1, 2, 2, 3, 4)
STEPS: Final = (3, 12)
CANCELED_SHARE: Final = 0.1
REFUSED_PAUSE_S: Final = (0.2, 0.8)
LOOK_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What one tenant wants."""

    jobs: int
    """Accepted ones: who is refused orders anew."""
    over_s: float
    """Evenly over this time, and later as fast as it can what was refused meanwhile."""
    seed: str


@final
class Customer:
    """Places a tenant's orders, and cancels some jobs that wait and some that run, in a thread of its own."""

    def __init__(self, door: Door, ledger: Ledger, demand: Demand, numbers: range) -> None:
        self._door = door
        self._ledger = ledger
        self._demand = demand
        self._random = Random(demand.seed)
        self._numbers = iter(numbers)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"customer-{door.tenant}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self, limit_s: float) -> bool:
        """Wait until all is ordered; say whether it is."""
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        begun, accepted = time.monotonic(), 0
        while accepted < self._demand.jobs and not self._stop.is_set():
            due = self._demand.jobs * min(1.0, (time.monotonic() - begun) / self._demand.over_s)
            if accepted >= due:
                self._stop.wait(0.05)
                continue
            seen = self._order()
            if seen is None:
                self._stop.wait(self._random.uniform(*REFUSED_PAUSE_S))
                continue
            accepted += 1
            if self._random.random() < CANCELED_SHARE:
                self._cancel(seen.job_id if self._random.random() < 0.5 else self._running() or seen.job_id)

    def _order(self) -> Sighting | None:
        order = Order(
            next(self._numbers),
            self._door.tenant,
            self._random.randint(*STEPS),
            self._random.choice(IMAGES),
            self._random.getrandbits(31),
        )
        try:
            seen = self._door.submit(order)
        except DarkroomError as error:
            self._ledger.refuse(order, error.code)
            return None
        self._ledger.accept(seen)
        return seen

    def _running(self) -> str | None:
        mine = [
            promise.last.job_id
            for promise in self._ledger.accepted()
            if promise.last.tenant == self._door.tenant and promise.last.status is JobStatus.RUNNING
        ]
        return self._random.choice(mine) if mine else None

    def _cancel(self, job_id: str) -> None:
        try:
            self._ledger.answer(self._door.cancel(job_id))
        except DarkroomError:
            return  # whether it was canceled the watcher will see


@final
class Watcher:
    """Looks at every job of every tenant and writes into the ledger how it stands, in a thread of its own."""

    def __init__(self, doors: tuple[Door, ...], ledger: Ledger) -> None:
        self._doors = doors
        self._ledger = ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watcher", daemon=True)
        self.looks = 0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(LOOK_PAUSE_S):
            for door in self._doors:
                try:
                    for sighting in door.look_at_all():
                        self._ledger.see(sighting)
                        self.looks += 1
                except DarkroomError:
                    continue
