"""The queue's verbs: one typed call a Lua script. Does no I/O: `shared.connection` runs the calls.

    job = run(redis, submit(new_job, max_waiting=10_000, keep_s=2_592_000))
    job = await run_async(redis, read(job.id, job.tenant))

Every call may be sent twice: the second changes nothing more. Any call may raise QueueUnavailable
when it is run; a docstring names what else its reply can mean.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.call import Argument, Call, Reply, call_of, items, number, text
from shared.contract import WorkerState
from shared.errors import FieldError, InvalidRequest, JobNotFound, LeaseLost, QueueFull, WorkerLost
from shared.generation import ModelCard
from shared.jobs import Image, Job, JobError, JobId, JobWarning, LeaseToken, NewJob, Tenant, WorkerId
from shared.keys import DEFAULT, Keys
from shared.record import job_of

FULL_RETRY_AFTER_S: Final = 10
"""When a client that met a full queue should come back: a few jobs of a usual worker later."""

PREVIEW_LIFE_S: Final = 60
CARD_LIFE_S: Final = 7 * 24 * 3600
CLAIM_LIFE_S: Final = 60
"""Longer than any client re-sends a claim."""


@dataclass(frozen=True, slots=True)
class JobsPage:
    """Some of a tenant's jobs, newest first."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
    """Where the next page begins; None on the last one."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What can be served: the models known, most recently served first, and the living workers."""

    cards: tuple[ModelCard, ...]
    workers: tuple[WorkerState, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to one attempt at one job; every write of the worker shows it."""

    job_id: JobId
    token: LeaseToken


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job and the lease under which it may be worked on."""

    job: Job
    lease: Lease


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did, and which models have jobs waiting: wake a worker for each of those."""

    requeued: tuple[JobId, ...]
    failed: tuple[JobId, ...]
    waiting_models: tuple[str, ...]


# ---- the gateway's verbs


def submit(job: NewJob, *, max_waiting: int, keep_s: int, keys: Keys = DEFAULT) -> Call[Job]:
    """Accept a job into its model's queue; the same id again gives the job that is there.

    `keep_s` is `Settings.keep_finished_s`: how long the record is kept after the job's end.

    Raises QueueFull if `max_waiting` jobs of all models wait already, and JobNotFound if the id is
    another tenant's.
    """
    params = job.params
    args = (
        job.id,
        job.tenant,
        job.model,
        params.model_dump_json(),
        json.dumps(job.metadata, ensure_ascii=False),
        params.num_images,
        params.num_inference_steps * params.num_images,
        max_waiting,
        keep_s,
    )

    def parse(code: str, rest: list[Reply]) -> Job:
        if code == "FULL":
            raise QueueFull(number(rest[0]), FULL_RETRY_AFTER_S)
        return _own_job(job.id, code, rest)

    return call_of("submit", keys, args, parse)


def read(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Job]:
    """Read a job. Raises JobNotFound, also for another tenant's job."""
    return call_of("read", keys, (job_id, tenant), lambda code, rest: _own_job(job_id, code, rest))


def page(tenant: Tenant, *, cursor: str | None, limit: int, keys: Keys = DEFAULT) -> Call[JobsPage]:
    """List a tenant's jobs, newest first. Raises InvalidRequest, before any I/O, for a cursor that none was."""
    before = "(" + _sequence_of(cursor) if cursor is not None else "+inf"

    def parse(_code: str, rest: list[Reply]) -> JobsPage:
        jobs, last = rest
        sequence = text(last)
        return JobsPage(tuple(job_of(job) for job in items(jobs)), _cursor_of(sequence) if sequence else None)

    return call_of("page", keys, (tenant, before, limit), parse)


def cancel(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Job]:
    """End a queued or running job at once; an ended job stays as it is. Raises JobNotFound."""
    return call_of("cancel", keys, (job_id, tenant), lambda code, rest: _own_job(job_id, code, rest))


def preview(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[bytes | None]:
    """Fetch the latest preview, a JPEG; None if there is none (yet, or any more). Raises JobNotFound."""

    def parse(code: str, rest: list[Reply]) -> bytes | None:
        if code != "OK":
            raise JobNotFound(job_id)
        jpeg = rest[0]
        return jpeg if isinstance(jpeg, bytes) and jpeg else None

    return call_of("preview", keys, (job_id, tenant), parse)


def fleet(*, keys: Keys = DEFAULT) -> Call[Fleet]:
    """Tell which models are known and which workers live."""

    def parse(_code: str, rest: list[Reply]) -> Fleet:
        cards, workers = rest
        return Fleet(
            tuple(ModelCard.model_validate_json(text(card)) for card in items(cards)),
            tuple(WorkerState.model_validate_json(text(state)) for state in items(workers)),
        )

    return call_of("fleet", keys, (), parse)


# ---- the worker's verbs


def claim(
    model: str, worker: WorkerId, token: LeaseToken, *, lease_s: float, keys: Keys = DEFAULT
) -> Call[Claimed | None]:
    """Take the job of `model` that goes next; None if none waits.

    `token` is drawn by the worker for this claim alone: the same claim sent again gets the same job.
    """

    def parse(code: str, rest: list[Reply]) -> Claimed | None:
        if code != "OK":
            return None
        job = job_of(rest[0])
        return Claimed(job, Lease(job.id, token))

    return call_of("claim", keys, (model, worker, token, _ms(lease_s), CLAIM_LIFE_S), parse)


def renew(leases: Iterable[Lease], *, lease_s: float, keys: Keys = DEFAULT) -> Call[frozenset[Lease]]:
    """Hold on to these leases for another `lease_s`; gives those that are lost."""
    held = tuple(leases)
    words = tuple(word for lease in held for word in (lease.job_id, lease.token))

    def parse(_code: str, rest: list[Reply]) -> frozenset[Lease]:
        return frozenset(lease for lease, code in zip(held, items(rest[0]), strict=True) if text(code) != "OK")

    return call_of("renew", keys, (_ms(lease_s), *words), parse)


def progress(
    lease: Lease, step: int, *, warnings: Iterable[JobWarning] = (), jpeg: bytes = b"", keys: Keys = DEFAULT
) -> Call[None]:
    """Tell how far a job is, and show a preview if there is a new one (`jpeg`). Raises LeaseLost."""
    return _fenced("progress", lease, (step, PREVIEW_LIFE_S, jpeg, *_noted(warnings)), keys)


def add_image(lease: Lease, image: Image, *, keys: Keys = DEFAULT) -> Call[None]:
    """Record a picture that is in the object store. Raises LeaseLost."""
    return _fenced("add_image", lease, (image.index, image.model_dump_json()), keys)


def finish(lease: Lease, *, warnings: Iterable[JobWarning] = (), keys: Keys = DEFAULT) -> Call[None]:
    """End a job whose pictures are all recorded as succeeded. Raises LeaseLost, RuntimeError if one is missing.

    `warnings` are kept even if no `progress` that carried them was heard.
    """
    return _fenced("finish", lease, _noted(warnings), keys)


def fail(lease: Lease, error: JobError, *, keys: Keys = DEFAULT) -> Call[None]:
    """End a job as failed. Raises LeaseLost."""
    return _fenced("fail", lease, (error.model_dump_json(),), keys)


def release(lease: Lease, *, keys: Keys = DEFAULT) -> Call[None]:
    """Hand a job back to the front of its queue and don't charge the attempt. Raises LeaseLost."""
    return _fenced("release", lease, (), keys)


def reap(*, lease_s: float, max_attempts: int, keys: Keys = DEFAULT) -> Call[Sweep]:
    """Take expired leases away: back to the front of the queue, or failed as `worker_lost` after `max_attempts`.

    The first sweep after a pause longer than a lease (Redis was away, or everybody) takes none and
    grants each of them one term more: their holders could not renew.
    """
    error = JobError(
        code=WorkerLost.code,
        message=f"Its worker was lost {max_attempts} times, so it is not tried again. Other settings may get through.",
    )

    def parse(_code: str, rest: list[Reply]) -> Sweep:
        requeued, failed, models = ([text(word) for word in items(part)] for part in rest)
        return Sweep(tuple(map(JobId, requeued)), tuple(map(JobId, failed)), tuple(models))

    return call_of("reap", keys, (_ms(lease_s), max_attempts, error.model_dump_json()), parse)


def announce(card: ModelCard, *, keys: Keys = DEFAULT) -> Call[None]:
    """Publish the card of the model that this worker is about to serve."""
    return call_of("announce", keys, (card.id, card.model_dump_json(), CARD_LIFE_S), _nothing)


def heartbeat(state: WorkerState, *, life_s: float, keys: Keys = DEFAULT) -> Call[bool]:
    """Say that this worker lives; unless said again it counts as gone after `life_s`.

    False if Redis has lost the model's card: announce it again.
    """
    args = (state.id, state.model, state.model_dump_json(), _ms(life_s), CARD_LIFE_S)
    return call_of("heartbeat", keys, args, lambda code, _rest: code == "OK")


def leave(worker: WorkerId, *, keys: Keys = DEFAULT) -> Call[None]:
    """Take this worker off the fleet."""
    return call_of("leave", keys, (worker,), _nothing)


def _noted(warnings: Iterable[JobWarning]) -> tuple[str, ...]:
    return tuple(word for warning in warnings for word in (warning.code, warning.model_dump_json()))


def _fenced(name: str, lease: Lease, args: tuple[Argument, ...], keys: Keys) -> Call[None]:
    def parse(code: str, _rest: list[Reply]) -> None:
        if code == "INCOMPLETE":
            raise RuntimeError(f"Job {lease.job_id} can't be finished: a picture is missing.")
        if code != "OK":
            raise LeaseLost(f"Job {lease.job_id} is no longer this worker's ({code.lower()}).")

    return call_of(name, keys, (lease.job_id, lease.token, *args), parse)


def _own_job(job_id: JobId, code: str, rest: list[Reply]) -> Job:
    if code in {"MISSING", "NOT_YOURS"}:
        raise JobNotFound(job_id)
    return job_of(rest[0])


def _nothing(_code: str, _rest: list[Reply]) -> None:
    return None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _cursor_of(sequence: str) -> str:
    return base64.urlsafe_b64encode(f"s{sequence}".encode()).decode().rstrip("=")


def _sequence_of(cursor: str) -> str:
    try:
        word = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        word = ""
    if not re.fullmatch(r"s[0-9]{1,16}", word):
        problem = FieldError("cursor", "This is no cursor of ours. Take `next_cursor` of the last page, or none.")
        raise InvalidRequest((problem,))
    return word[1:]
