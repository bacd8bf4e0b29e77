"""What goes wrong: each fault does its harm and mends it; a new worker may still be starting then.

A fault that finds nothing to hurt (every worker but one is in trouble already) does nothing.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol, TypeVar, final

from shared.errors import DarkroomError, JobNotFound
from shared.jobs import JobStatus
from tests.chaos.doors import Door
from tests.chaos.ledger import Sighting
from tests.chaos.recovery import Recoveries
from tests.chaos.stack import Stack, WorkerPlace
from tests.chaos.timeline import Timeline

BUSY_LIMIT_S: Final = 10.0
"""How long to wait for a worker to take a job before it is hurt."""
SURVIVORS: Final = 1
"""Workers that are left in peace, so that the rest of a run on a slow machine is not spent starting them."""
INTO_A_JOB_S: Final = (0.0, 0.15)
"""So long after it took one: most take longer."""


class _Place(Protocol):
    @property
    def in_trouble(self) -> threading.Lock: ...


PlaceT = TypeVar("PlaceT", bound=_Place)


@final
class Scene:
    """What the faults act on."""

    def __init__(
        self, stack: Stack, doors: Mapping[str, Door], timeline: Timeline, recoveries: Recoveries, lease_s: float
    ) -> None:
        self.stack = stack
        self.timeline = timeline
        self.recoveries = recoveries
        self.lease_s = lease_s
        self._doors = doors

    @contextlib.contextmanager
    def busy_worker(self, random: Random) -> Generator[WorkerPlace | None]:
        """Choose a worker that has just taken a job, if one is well; nothing else hurts it in this block."""
        well = [place for place in self.stack.workers if place.is_well and not place.in_trouble.locked()]
        with _one_of(well[SURVIVORS:] and well, random) as place:
            if place is not None:
                before, deadline = place.run.holding(), time.monotonic() + BUSY_LIMIT_S
                while not place.run.holding() - before and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(random.uniform(*INTO_A_JOB_S))
            yield place

    def running(self, job_ids: set[str]) -> list[Sighting]:
        """Those of the jobs that run, as far as anybody answers."""
        found: list[Sighting] = []
        for job_id in job_ids:
            for door in self._doors.values():
                try:
                    seen = door.look(job_id)
                except JobNotFound:
                    continue  # another tenant's
                except DarkroomError:
                    break
                if seen.status is JobStatus.RUNNING:
                    found.append(seen)
                break
        return found

    def wait_taken(self, jobs: Sequence[Sighting], limit_s: float) -> None:
        """Wait until one of these running jobs was claimed again, up to the limit."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and not any(map(self._is_taken, jobs)):
            time.sleep(0.02)

    def _is_taken(self, job: Sighting) -> bool:
        try:
            return self._doors[job.tenant].look(job.job_id).version >= job.version + 2
        except DarkroomError:
            return False


def kill_worker(scene: Scene, random: Random) -> None:
    """kill -9 of a worker in the middle of a job, and a new one in its place."""
    with scene.busy_worker(random) as place:
        if place is None:
            return
        with scene.timeline.spell("worker kill -9") as kill:
            kill.begun = time.monotonic()
            place.run.process.kill()
        followers = [scene.recoveries.follow(job, kill) for job in scene.running(place.run.holding())]
        place.start()
        for follower in followers:
            follower.join()


def freeze_worker(scene: Scene, random: Random) -> None:
    """SIGSTOP of a worker until its lease is over, or another has just taken its job, then SIGCONT: both draw it."""
    with scene.busy_worker(random) as place:
        if place is None:
            return
        with scene.timeline.spell("worker frozen past its lease"):
            place.run.process.send(signal.SIGSTOP)
            held = scene.running(place.run.holding())
            if random.random() < 0.5:
                time.sleep(scene.lease_s + random.uniform(1.5, 4.0))
            else:
                scene.wait_taken(held, limit_s=scene.lease_s + 6.0)
            place.run.process.send(signal.SIGCONT)


def terminate_worker(scene: Scene, random: Random) -> None:
    """SIGTERM of a worker in the middle of a step, and a new one in its place."""
    with scene.busy_worker(random) as place:
        if place is None:
            return
        with scene.timeline.spell("worker SIGTERM"):
            place.run.process.terminate()
            scene.stack.wait_stopped(place.run.process)
        place.start()


def kill_redis(scene: Scene, random: Random) -> None:
    """kill -9 of Redis; it comes back with what it had acknowledged."""
    with scene.stack.redis_in_trouble, scene.timeline.spell("Redis kill -9"):
        scene.stack.redis.kill()
        time.sleep(random.uniform(0.0, 3.0))
        scene.stack.redis.start()


def freeze_redis(scene: Scene, random: Random) -> None:
    """SIGSTOP of Redis: connections stay open and nothing answers."""
    with scene.stack.redis_in_trouble, scene.timeline.spell("Redis frozen"):
        scene.stack.redis.signal(signal.SIGSTOP)
        time.sleep(random.uniform(1.0, 8.0))
        scene.stack.redis.signal(signal.SIGCONT)


def stop_store(scene: Scene, random: Random) -> None:
    """The object store goes away for a while."""
    with scene.stack.store_in_trouble, scene.timeline.spell("store away"):
        scene.stack.store.stop()
        time.sleep(random.uniform(1.0, 8.0))
        scene.stack.store.start()


def kill_gateway(scene: Scene, random: Random) -> None:
    """kill -9 of a gateway, and a new one on its port."""
    with _one_of(scene.stack.gateways, random) as place:
        if place is None:
            return
        with scene.timeline.spell("gateway kill -9"):
            place.process.kill()
            time.sleep(random.uniform(0.0, 2.0))
            place.start()


@dataclass(frozen=True, slots=True)
class Card:
    """A fault in the deck that the storm deals from."""

    strike: Callable[[Scene, Random], None]
    alone: bool = False
    """Whether nothing else goes wrong meanwhile: so recovery is measured cleanly."""


DECK: Final = (
    Card(kill_worker, alone=True),
    Card(kill_worker),
    Card(freeze_worker),
    Card(terminate_worker),
    Card(kill_redis),
    Card(freeze_redis),
    Card(stop_store),
    Card(kill_gateway),
)


@contextlib.contextmanager
def _one_of(places: Sequence[PlaceT], random: Random) -> Generator[PlaceT | None]:
    """Choose one that nothing hurts now; None if there is none."""
    for place in random.sample(places, len(places)):
        if place.in_trouble.acquire(blocking=False):
            try:
                yield place
            finally:
                place.in_trouble.release()
            return
    yield None
