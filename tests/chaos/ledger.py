"""What was promised, and what was seen of it since. Knows nothing of how a job is submitted or read.

A job's version rises by one with each move, so what a sighting shows can be checked alone (`wrong`) and
against the sighting before it (`wrong_after`): submit 1, each claim and each return to the queue 1, the end 1.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

from shared.jobs import JobStatus


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer asks for."""

    number: int
    """Written into the job's metadata, so that a job whose acceptance was never heard of is known again."""
    tenant: str
    steps: int
    num_images: int
    seed: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture as its job describes it."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A job as one read found it."""

    job_id: str
    tenant: str
    order: int
    status: JobStatus
    version: int
    attempt: int
    num_images: int
    pictures: tuple[Stored, ...]
    error: str | None

    @property
    def claims(self) -> int:
        """How often it was claimed, by its version: from the queue it goes and comes back, then ends."""
        return self.version // 2 if self.status is JobStatus.RUNNING else (self.version - 1) // 2


def wrong(now: Sighting) -> str | None:
    """Say what can't be in a sighting; None if all is well."""
    came_from_queue = now.version % 2 == 0
    match now.status:
        case JobStatus.QUEUED if came_from_queue:
            return f"waits at version {now.version}: a move too many or too few"
        case JobStatus.RUNNING if not came_from_queue:
            return f"runs at version {now.version}: a move too many or too few"
        case JobStatus.SUCCEEDED | JobStatus.FAILED if came_from_queue:
            return f"{now.status} at version {now.version}: it did not end from running"
        case JobStatus.SUCCEEDED if now.attempt < 1 or len(now.pictures) != now.num_images:
            return f"succeeded with {len(now.pictures)} of {now.num_images} pictures in {now.attempt} attempts"
        case _ if now.attempt > now.claims:
            return f"{now.attempt} attempts with {now.claims} claims"
        case _:
            return None


def wrong_after(before: Sighting, now: Sighting) -> str | None:
    """Say what can't follow on `before`, short of a second end; None if all is well."""
    if now.version < before.version:
        return f"went back from version {before.version} to {now.version}"
    if now.version == before.version and now.status is not before.status:
        return f"was {before.status} and {now.status} at version {now.version}"
    return None


def ended_again(before: Sighting, now: Sighting) -> bool:
    """Whether an end was not the end."""
    return before.status.is_terminal and (now.version, now.status) != (before.version, before.status)


@dataclass
class Promise:
    """A job that was accepted, and how it was last seen."""

    last: Sighting
    is_heard: bool
    """False if its submit got another answer, or none: nobody was promised it, and yet it must end."""
    seen_ended_twice: bool = False
    is_lost: bool = False
    answers: list[Sighting] = field(default_factory=list[Sighting])
    """What customers were told of it, such as that it is canceled."""
    troubles: set[str] = field(default_factory=set[str])

    @property
    def ended_twice(self) -> bool:
        """Whether it was seen to change after an end, or somebody was told of another end."""
        return self.seen_ended_twice or any(ended_again(told, self.last) for told in self.answers)

    def see(self, now: Sighting) -> None:
        """Hold a newer sighting against the last one."""
        self.seen_ended_twice |= ended_again(self.last, now)
        self.troubles |= {trouble for trouble in (wrong(now), wrong_after(self.last, now)) if trouble}
        if now.version >= self.last.version:
            self.last = now


@final
class Ledger:
    """All promises and refusals; for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promises: dict[str, Promise] = {}
        self._refused: dict[int, str] = {}

    def accept(self, seen: Sighting) -> None:
        """Note a 202: a promise."""
        with self._lock:
            promise = self._promises.setdefault(seen.job_id, Promise(seen, is_heard=True))
            promise.is_heard = True

    def refuse(self, order: Order, code: str) -> None:
        """Note any other answer, or none, by its code."""
        with self._lock:
            self._refused[order.number] = code

    def answer(self, told: Sighting) -> None:
        """Note what a customer was told. If that was an end, it must be the end."""
        with self._lock:
            self._promises[told.job_id].answers.append(told)

    def see(self, seen: Sighting) -> None:
        """Note how a job stands. The sightings of one job must come in the order of their reads: from one thread."""
        with self._lock:
            if seen.job_id not in self._promises:
                self._promises[seen.job_id] = Promise(seen, is_heard=False)
            self._promises[seen.job_id].see(seen)

    def lose(self, job_id: str) -> None:
        """Note that a promised job is not there any more."""
        with self._lock:
            self._promises[job_id].is_lost = True

    def promises(self) -> tuple[Promise, ...]:
        """Every job that is known, whether its customer heard of it or not."""
        with self._lock:
            return tuple(self._promises.values())

    def accepted(self) -> Iterator[Promise]:
        """The jobs that were promised."""
        return (promise for promise in self.promises() if promise.is_heard)

    def unheard(self) -> Iterator[tuple[Promise, str]]:
        """Jobs that are there though their submit was not told so, with what it was told instead."""
        for promise in self.promises():
            if not promise.is_heard:
                yield promise, self._refused.get(promise.last.order, "no answer noted")

    def open(self) -> list[Promise]:
        """What has not ended."""
        return [one for one in self.promises() if not one.last.status.is_terminal and not one.is_lost]

    def refusals(self) -> Counter[str]:
        """How many submits were refused, by code."""
        with self._lock:
            return Counter(self._refused.values())
