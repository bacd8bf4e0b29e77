"""What is asked of a tenant's batches: accept, read, list, cancel, erase, and feed their lines into the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.batches import Batch, BatchId, Helping, Line, Result
from shared.call import Call, Reply, call_of, items, number, text
from shared.errors import BatchNotFound, IdempotencyMismatch, QueueUnavailable
from shared.jobs import JobId, Once, Submission, Tenant
from shared.keys import DEFAULT, Keys
from shared.record import batch_of, job_of
from shared.scripts.jobs import LATE_UPLOAD_S, ONCE_LIFE_S, sequence_of

UNSEALED_LIFE_S: Final = 3600
"""How long lines are kept that were put down for a batch which is not accepted (yet)."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What became of a batch that was to be accepted."""

    batch: Batch
    how: Submission


@dataclass(frozen=True, slots=True)
class BatchesPage:
    """Some of a tenant's batches, newest first."""

    batches: tuple[Batch, ...]
    next_cursor: str | None
    """Where the next page begins; None on the last one."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was left of jobs that were erased with their batch."""

    objects: tuple[str, ...]
    """Keys of objects to delete, then to `discard`."""
    is_more: bool
    """True if jobs are left."""


def fill_batch(batch: BatchId, lines: Sequence[str], *, before: int, keys: Keys = DEFAULT) -> Call[None]:
    """Put some lines down, in JSON, of a batch that is about to be accepted; `before` says how many were before.

    Raises QueueUnavailable if those that were before are not there: Redis has lost them meanwhile.
    """
    return call_of("fill_batch", keys, (batch, before, UNSEALED_LIFE_S, *lines), _require_whole)


def seal_batch(
    batch: BatchId,
    tenant: Tenant,
    *,
    name: str,
    total: int,
    keep_s: int,
    once: Once | None = None,
    keys: Keys = DEFAULT,
) -> Call[Sealed]:
    """Accept a batch whose `total` lines were put down; the same id again gives the batch that is there.

    Raises IdempotencyMismatch if `once` came with another request, QueueUnavailable if lines are missing.
    """

    def parse(code: str, rest: list[Reply]) -> Sealed:
        if code == "MISMATCH":
            raise IdempotencyMismatch
        _require_whole(code, rest)
        return Sealed(batch_of(rest[0]), Submission(text(rest[1])))

    idempotency = ("", "", ONCE_LIFE_S) if once is None else (once.key, once.fingerprint, ONCE_LIFE_S)
    return call_of("seal_batch", keys, (batch, tenant, name, total, keep_s, *idempotency), parse)


def recall_batch(tenant: Tenant, once: Once, *, keys: Keys = DEFAULT) -> Call[Batch | None]:
    """Find the batch of an idempotency key; None if the key has not come (yet). Raises IdempotencyMismatch."""

    def parse(code: str, rest: list[Reply]) -> Batch | None:
        if code == "MISMATCH":
            raise IdempotencyMismatch
        return batch_of(rest[0]) if code == "OK" else None

    return call_of("recall_batch", keys, (tenant, once.key, once.fingerprint), parse)


def read_batch(batch: BatchId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Batch]:
    """Read a batch. Raises BatchNotFound, also for another tenant's."""
    return call_of("read_batch", keys, (batch, tenant), lambda code, rest: _own_batch(batch, code, rest))


def batches(tenant: Tenant, *, cursor: str | None, limit: int, keys: Keys = DEFAULT) -> Call[BatchesPage]:
    """List a tenant's batches, newest first. Raises InvalidRequest, before any I/O, for a cursor that none was."""
    before = "(" + sequence_of(cursor) if cursor is not None else "+inf"

    def parse(_code: str, rest: list[Reply]) -> BatchesPage:
        found, last = rest
        sequence = text(last)
        return BatchesPage(tuple(map(batch_of, items(found))), f"s{sequence}" if sequence else None)

    return call_of("batches", keys, (tenant, before, limit), parse)


def batch_results(
    batch: BatchId, tenant: Tenant, *, skip: int, limit: int, keys: Keys = DEFAULT
) -> Call[tuple[Batch, tuple[Result, ...]]]:
    """Tell what became of some lines, in their order, and how the batch stands. Raises BatchNotFound."""

    def parse(code: str, rest: list[Reply]) -> tuple[Batch, tuple[Result, ...]]:
        return _own_batch(batch, code, rest), tuple(_result(items(one)) for one in items(rest[1]))

    return call_of("batch_results", keys, (batch, tenant, skip, limit), parse)


def cancel_batch(batch: BatchId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[Batch]:
    """End a batch at once, with its unended jobs; one that has ended stays as it is. Raises BatchNotFound."""
    return call_of("cancel_batch", keys, (batch, tenant), lambda code, rest: _own_batch(batch, code, rest))


def erase_batch(batch: BatchId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[None]:
    """Forget a batch and its jobs, canceled first if it goes on: nobody sees any of it from now on.

    `forget_batch` does the rest. Raises BatchNotFound, so also the second time.
    """

    def parse(code: str, _rest: list[Reply]) -> None:
        if code != "OK":
            raise BatchNotFound(batch)

    return call_of("erase_batch", keys, (batch, tenant), parse)


def forget_batch(batch: BatchId | None, *, limit: int, keys: Keys = DEFAULT) -> Call[Forgotten]:
    """Forget the records of at most `limit` jobs of a batch that was erased; None: of the one that was erased first."""

    def parse(_code: str, rest: list[Reply]) -> Forgotten:
        objects, more = rest
        return Forgotten(tuple(text(one) for one in items(objects)), is_more=number(more) == 1)

    return call_of("forget_batch", keys, (batch or "", limit, round(LATE_UPLOAD_S * 1000)), parse)


def withdraw_batch(batch: BatchId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[bool]:
    """Erase a batch whose seal was never answered; False if its caller has asked again by then, and it stays.

    Raises BatchNotFound if the seal has not arrived (yet).
    """

    def parse(code: str, _rest: list[Reply]) -> bool:
        if code in {"MISSING", "NOT_YOURS"}:
            raise BatchNotFound(batch)
        return code == "OK"

    return call_of("withdraw_batch", keys, (batch, tenant), parse)


def feed(*, most: int, most_active: int, hold_s: float, again_s: float, keys: Keys = DEFAULT) -> Call[Helping | None]:
    """Take the next lines, at most `most`, of a batch with room for them; None if no batch is to be fed now.

    The batch is another's turn if it isn't put back within `hold_s`; one that has `most_active` jobs under way is
    looked at again after `again_s`.
    """

    def parse(code: str, rest: list[Reply]) -> Helping | None:
        if code != "OK":
            return None
        batch, tenant, before, lines = rest
        return Helping(
            BatchId(text(batch)), Tenant(text(tenant)), number(before), tuple(text(line) for line in items(lines))
        )

    return call_of("feed", keys, (most, most_active, round(hold_s * 1000), round(again_s * 1000)), parse)


def put_back(batch: BatchId, *, again_s: float, keys: Keys = DEFAULT) -> Call[None]:
    """Say that a batch is to be fed again after `again_s`, if it has more lines."""
    return call_of("put_back", keys, (batch, round(again_s * 1000)), lambda _code, _rest: None)


def _require_whole(code: str, _rest: list[Reply]) -> None:
    if code == "GAP":
        raise QueueUnavailable("The queue has lost a part of the batch meanwhile. Nothing was accepted; send it again.")


def _own_batch(batch: BatchId, code: str, rest: list[Reply]) -> Batch:
    if code in {"MISSING", "NOT_YOURS"}:
        raise BatchNotFound(batch)
    return batch_of(rest[0])


def _result(entry: list[Reply]) -> Result:
    line, job_id, job = entry
    return Result(
        line=Line.model_validate_json(text(line)),
        job_id=JobId(text(job_id)) if job_id != b"" else None,
        job=None if job == b"" else job_of(job),
    )
