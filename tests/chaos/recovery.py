"""How soon a killed worker's jobs wait again, and run again, as the jobs' own versions show it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

from shared.errors import DarkroomError
from shared.jobs import JobStatus
from tests.chaos.doors import Door
from tests.chaos.ledger import Sighting
from tests.chaos.timeline import Spell, Timeline

POLL_S: Final = 0.03
LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """One job's way back after its worker's kill -9, in seconds from the kill."""

    job_id: str
    requeued_s: float
    running_s: float
    beside: tuple[str, ...]
    """Other faults between the kill and the second run."""


@final
class Recoveries:
    """Follows the jobs of killed workers, each in a thread of its own."""

    def __init__(self, doors: Mapping[str, Door], timeline: Timeline) -> None:
        self._doors = doors
        self._timeline = timeline
        self._done: list[Recovery] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def follow(self, sighting: Sighting, kill: Spell) -> threading.Thread:
        """Follow a job that ran, as `sighting` shows, when its worker was killed."""
        thread = threading.Thread(target=self._follow, args=(sighting, kill), name="recovery", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def all(self) -> tuple[Recovery, ...]:
        """Those that came to an end; a job that was canceled meanwhile is none."""
        for thread in tuple(self._threads):
            thread.join(LIMIT_S)
        with self._lock:
            return tuple(self._done)

    def _follow(self, before: Sighting, kill: Spell) -> None:
        def has_left(now: Sighting) -> bool:
            return now.version > before.version

        def runs_again(now: Sighting) -> bool:
            return now.version >= before.version + 2

        requeued = self._wait_for(before, has_left)
        if requeued is None:
            return
        requeued_at = time.monotonic()
        if requeued.status.is_terminal and not runs_again(requeued):
            return  # it was canceled, or that was its last attempt
        again = self._wait_for(before, runs_again)
        if again is None or (again.status is JobStatus.CANCELED and again.version == before.version + 2):
            return
        now = time.monotonic()
        beside = self._timeline.during(kill.begun, now, kill)
        with self._lock:
            self._done.append(Recovery(before.job_id, requeued_at - kill.begun, now - kill.begun, beside))

    def _wait_for(self, job: Sighting, holds: Callable[[Sighting], bool]) -> Sighting | None:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            try:
                now = self._doors[job.tenant].look(job.job_id)
            except DarkroomError:
                now = job
            if holds(now):
                return now
            time.sleep(POLL_S)
        return None
