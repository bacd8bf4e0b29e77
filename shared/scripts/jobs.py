"""What is asked of a tenant's jobs: submit, read, list, cancel, erase."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import to_json

from shared.batches import Place
from shared.call import Argument, Call, Reply, call_of, items, number, text
from shared.errors import FieldError, IdempotencyMismatch, InvalidRequest, JobNotFound, QueueFull, TenantQueueFull
from shared.jobs import Job, JobId, NewJob, Once, Submission, Submitted, Tenant, Terms, image_keys
from shared.keys import DEFAULT, Keys, queue_of
from shared.record import accepted_job, job_of

FULL_RETRY_AFTER_S: Final = 10
"""When a client that met a full queue should come back, for who can't say better: a few jobs later."""

ONCE_LIFE_S: Final = 24 * 3600

WIDTH_OF_COST: Final = 32
"""Fair tags are whole numbers, finer than costs. Five thousand million large jobs fit below 2 ** 53."""

CURSOR_PATTERN: Final = r"^s[0-9]{1,16}$"
"""Of a page's place in a tenant's list: the number of the last job's submit."""

LATE_UPLOAD_S: Final = 120.0
"""How long after its lease's end a worker may still be uploading a picture: longer than the store client tries."""


@dataclass(frozen=True, slots=True)
class JobsPage:
    """Some of a tenant's jobs, newest first."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
    """Where the next page begins; None on the last one."""


def submit(
    job: NewJob, terms: Terms, *, once: Once | None = None, result: str | None = None, keys: Keys = DEFAULT
) -> Call[Submitted]:
    """Accept a job into its pool's queue; the same id again gives the job that is there.

    `result` is a digest of all that decides the pictures: a job of the tenant's with the same one, under way or
    ended well, lends its pictures. None: this job draws its own, and lends none.

    Raises QueueFull, TenantQueueFull, IdempotencyMismatch if `once` came with another body, and JobNotFound if the id
    is another tenant's.
    """
    args = (*_submit_args(job, terms, once, result), "", "")
    return call_of("submit", keys, args, lambda code, rest: _submitted(job, result, code, rest))


def submit_line(
    job: NewJob, terms: Terms, place: Place, *, result: str | None = None, keys: Keys = DEFAULT
) -> Call[Submitted | None]:
    """Accept the job of a batch's line, as `submit` does; None if the line is not the next one of a batch that goes on.

    So of several gateways that offer a line one is heard, and a line that was offered without an answer is safe to be
    offered again. Raises QueueFull, TenantQueueFull.
    """

    def parse(code: str, rest: list[Reply]) -> Submitted | None:
        return None if code == "PASSED" else _submitted(job, result, code, rest)

    return call_of("submit", keys, (*_submit_args(job, terms, None, result), place.batch, place.line), parse)


def _submit_args(job: NewJob, terms: Terms, once: Once | None, result: str | None) -> tuple[Argument, ...]:
    params = job.params
    return (
        job.id,
        job.tenant,
        job.pool,
        job.lane,
        params.model_dump_json(),
        to_json(job.metadata),
        params.num_images,
        job.steps,
        max(1, round(WIDTH_OF_COST * params.cost / terms.weight)),
        job.work_ms,
        image_keys(job.tenant, job.id, params.output_format),
        "" if job.cancel_after_s is None else job.cancel_after_s * 1000,
        job.retry_of or "",
        terms.keep_s,
        terms.bulk_percent,
        terms.max_waiting,
        terms.max_tenant_waiting,
        terms.max_tenant_running,
        "" if once is None else once.key,
        "" if once is None else once.fingerprint,
        ONCE_LIFE_S,
        result or "",
        queue_of(job.pool),
        job.asked or "",
        job.needed,
        job.trace or "",
        int(job.roams),
    )


def _submitted(job: NewJob, result: str | None, code: str, rest: list[Reply]) -> Submitted:
    match code:
        case "NEW":
            *said, called, workers = rest
            accepted = accepted_job(job, said, may_reuse=result is not None)
            return Submitted(accepted, Submission.NEW, all_called=number(called) >= max(1, number(workers)))
        case "FULL":
            raise QueueFull(number(rest[0]), FULL_RETRY_AFTER_S)
        case "TENANT_FULL":
            raise TenantQueueFull(number(rest[0]), FULL_RETRY_AFTER_S)
        case "MISMATCH":
            raise IdempotencyMismatch
        case _:
            return Submitted(_own_job(job.id, code, rest), Submission(text(rest[1])))


def recall(tenant: Tenant, once: Once, *, keys: Keys = DEFAULT) -> Call[Job | None]:
    """Find the job of an idempotency key; None if the key has not come (yet). Raises IdempotencyMismatch."""

    def parse(code: str, rest: list[Reply]) -> Job | None:
        if code == "MISMATCH":
            raise IdempotencyMismatch
        return job_of(rest[0]) if code == "OK" else None

    return call_of("recall", keys, (tenant, once.key, once.fingerprint), parse)


def read(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Job]:
    """Read a job. Raises JobNotFound, also for another tenant's job."""

    def parse(_code: str, rest: list[Reply]) -> Job:
        code, *job = items(items(rest[0])[0])
        return _own_job(job_id, text(code), job)

    return call_of("read", keys, (job_id, tenant), parse)


def read_each(asked: Sequence[tuple[JobId, Tenant]], *, keys: Keys = DEFAULT) -> Call[list[Job | Exception]]:
    """Read jobs of several tenants, in their order; JobNotFound for one that is not there, or is another tenant's.

    A record that can't be read is the error of that job alone. Redis serves nobody else meanwhile: ask for a few.
    """

    def found(job_id: JobId, reply: Reply) -> Job | Exception:
        code, *job = items(reply)
        try:
            return job_of(job[0]) if code == b"OK" else JobNotFound(job_id)
        except (ValueError, LookupError) as error:  # such as one of another version's
            return error

    def parse(_code: str, rest: list[Reply]) -> list[Job | Exception]:
        return [found(job_id, reply) for (job_id, _), reply in zip(asked, items(rest[0]), strict=True)]

    return call_of("read", keys, tuple(word for one in asked for word in one), parse)


def page(tenant: Tenant, *, cursor: str | None, limit: int, keys: Keys = DEFAULT) -> Call[JobsPage]:
    """List a tenant's jobs, newest first. Raises InvalidRequest, before any I/O, for a cursor that none was."""
    before = "(" + sequence_of(cursor) if cursor is not None else "+inf"

    def parse(_code: str, rest: list[Reply]) -> JobsPage:
        jobs, last = rest
        sequence = text(last)
        return JobsPage(tuple(job_of(job) for job in items(jobs)), f"s{sequence}" if sequence else None)

    return call_of("page", keys, (tenant, before, limit), parse)


def cancel(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Job]:
    """End a queued or running job at once; an ended job stays as it is. Raises JobNotFound."""
    return call_of("cancel", keys, (job_id, tenant), lambda code, rest: _own_job(job_id, code, rest))


def erase(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[tuple[str, ...]]:
    """Forget a job, canceled first if it has not ended; the keys of the objects to delete, then to `discard`.

    Raises JobNotFound, so also the second time.
    """

    def parse(code: str, rest: list[Reply]) -> tuple[str, ...]:
        if code != "OK":
            raise JobNotFound(job_id)
        return tuple(text(object_key) for object_key in items(rest[0]))

    return call_of("erase", keys, (job_id, tenant, round(LATE_UPLOAD_S * 1000)), parse)


def withdraw(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[bool]:
    """Erase a job whose submit was never answered; False if its caller has asked again by then, and it stays.

    Raises JobNotFound if the submit has not arrived (yet).
    """

    def parse(code: str, _rest: list[Reply]) -> bool:
        if code in {"MISSING", "NOT_YOURS"}:
            raise JobNotFound(job_id)
        return code == "OK"

    return call_of("withdraw", keys, (job_id, tenant, round(LATE_UPLOAD_S * 1000)), parse)


def preview(job_id: JobId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[bytes | None]:
    """Fetch the latest preview, a JPEG; None if there is none (yet, or any more). Raises JobNotFound."""

    def parse(code: str, rest: list[Reply]) -> bytes | None:
        if code != "OK":
            raise JobNotFound(job_id)
        jpeg = rest[0]
        return jpeg if isinstance(jpeg, bytes) and jpeg else None

    return call_of("preview", keys, (job_id, tenant), parse)


def _own_job(job_id: JobId, code: str, rest: list[Reply]) -> Job:
    if code in {"MISSING", "NOT_YOURS"}:
        raise JobNotFound(job_id)
    return job_of(rest[0])


def sequence_of(cursor: str) -> str:
    """Read the place in a tenant's list that a cursor stands for. Raises InvalidRequest."""
    if not re.fullmatch(CURSOR_PATTERN, cursor):
        problem = FieldError("cursor", "This is no cursor of ours. Take `next_cursor` of the last page, or none.")
        raise InvalidRequest((problem,))
    return cursor[1:]
