"""What a worker does with a job, under a lease that every write shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.call import Argument, Call, Reply, call_of, items, text
from shared.compatibility import CONTRACT
from shared.errors import LeaseLost
from shared.jobs import DEADLINE_PASSED, NO_NOTES, Image, Job, JobError, JobId, LeaseToken, Notes, WorkerId
from shared.keys import DEFAULT, Keys
from shared.lanes import Lane
from shared.record import job_of

PREVIEW_LIFE_S: Final = 60
CLAIM_LIFE_S: Final = 60
"""Longer than any client re-sends a claim."""
LEFT_TO_IDLE_S: Final = 0.25
"""Ten times what a wake-up takes. Past that the idle one has not come, and whoever has room may take the job."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to one attempt at one job. Each claim draws its own token, so no two attempts share one."""

    job_id: JobId
    token: LeaseToken


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job and the lease under which it may be worked on."""

    job: Job
    lease: Lease


def claim(
    pool: str,
    worker: WorkerId,
    token: LeaseToken,
    *,
    lease_s: float,
    lane: Lane | None = None,
    is_busy: bool = False,
    contract: int = CONTRACT,
    keys: Keys = DEFAULT,
) -> Call[Claimed | None]:
    """Take the job of a pool that goes next, in one lane or both; None if none waits, or this worker shall begin none.

    `token` is drawn by the worker for this claim alone: the same claim sent again gets the same job. A worker that
    is busy leaves a job that has just come to one that is not, and one that is too old for a job, by its `contract`,
    leaves it to others.
    """

    def parse(code: str, rest: list[Reply]) -> Claimed | None:
        if code != "OK":
            return None
        job = job_of(rest[0])
        return Claimed(job, Lease(job.id, token))

    answer_lives = (round(lease_s * 1000), CLAIM_LIFE_S, DEADLINE_PASSED.model_dump_json())
    left_for_ms = round(LEFT_TO_IDLE_S * 1000) if is_busy else 0
    return call_of("claim", keys, (pool, worker, token, *answer_lives, lane or "", left_for_ms, contract), parse)


def renew(leases: Iterable[Lease], *, lease_s: float, keys: Keys = DEFAULT) -> Call[frozenset[Lease]]:
    """Hold on to these leases for another `lease_s`; gives those that are lost."""
    held = tuple(leases)
    words = tuple(word for lease in held for word in (lease.job_id, lease.token))

    def parse(_code: str, rest: list[Reply]) -> frozenset[Lease]:
        return frozenset(lease for lease, code in zip(held, items(rest[0]), strict=True) if text(code) != "OK")

    return call_of("renew", keys, (round(lease_s * 1000), *words), parse)


def progress(
    lease: Lease, step: int, *, notes: Notes = NO_NOTES, jpeg: bytes = b"", keys: Keys = DEFAULT
) -> Call[None]:
    """Tell how far a job is, and show a preview if there is a new one (`jpeg`). Raises LeaseLost."""
    return _fenced("progress", lease, (step, PREVIEW_LIFE_S, jpeg, *_words(notes)), keys)


def add_image(lease: Lease, image: Image, *, keys: Keys = DEFAULT) -> Call[None]:
    """Record a picture that is in the object store. Raises LeaseLost."""
    return _fenced("add_image", lease, (image.index, image.model_dump_json()), keys)


def finish(lease: Lease, *, notes: Notes = NO_NOTES, keys: Keys = DEFAULT) -> Call[None]:
    """End a job whose pictures are all recorded as succeeded. Raises LeaseLost, RuntimeError if one is missing.

    `notes` are kept even if no `progress` that carried them was heard.
    """
    return _fenced("finish", lease, _words(notes), keys)


def fail(lease: Lease, error: JobError, *, keys: Keys = DEFAULT) -> Call[None]:
    """End a job as failed. Raises LeaseLost."""
    return _fenced("fail", lease, (error.model_dump_json(),), keys)


def release(lease: Lease, *, keys: Keys = DEFAULT) -> Call[None]:
    """Hand a job back to its old place and don't charge the attempt. Raises LeaseLost."""
    return _fenced("release", lease, (), keys)


def _words(notes: Notes) -> tuple[str, ...]:
    reading = "" if notes.reading is None else notes.reading.model_dump_json()
    return (reading, *(word for warning in notes.warnings for word in (warning.code, warning.model_dump_json())))


def _fenced(name: str, lease: Lease, args: tuple[Argument, ...], keys: Keys) -> Call[None]:
    def parse(code: str, _rest: list[Reply]) -> None:
        if code == "INCOMPLETE":
            raise RuntimeError(f"Job {lease.job_id} can't be finished: a picture is missing.")
        if code != "OK":
            raise LeaseLost(f"Job {lease.job_id} is no longer this worker's ({code.lower()}).")

    return call_of(name, keys, (lease.job_id, lease.token, *args), parse)
