"""The records of jobs and batches as the Lua scripts hand them over, read. Knows the fields' names, no keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TypeVar, cast

from pydantic import BaseModel

from shared.batches import Batch, BatchId, BatchStatus
from shared.call import Reply, items, number, text
from shared.compatibility import FIRST
from shared.generation import GenerationParams
from shared.jobs import (
    Hold,
    Image,
    Job,
    JobError,
    JobId,
    JobStatus,
    JobWarning,
    NewJob,
    Reading,
    Tenant,
    TraceParent,
    WorkerId,
)
from shared.lanes import Lane

Part = TypeVar("Part", bound=BaseModel)

NO_POSITION = -1
MOST_PARAMS = 1024
"""That are remembered as they were read: who polls a job has them read each time, and they never change."""


def job_of(reply: Reply) -> Job:
    """Read `{id, position or -1, jobs ahead, their ms, hold or '', {field, value, ...}}`: `describe` in record.lua."""
    job_id, position, ahead_jobs, ahead_ms, hold, flat = items(reply)
    words = [word.decode() for word in cast("list[bytes]", flat)]
    fields = dict(zip(words[::2], words[1::2], strict=True))
    error, reading = fields.get("error"), fields.get("reading")
    several = sorted(name for name in fields if ":" in name)
    return Job(
        id=JobId(text(job_id)),
        tenant=Tenant(fields["tenant"]),
        pool=fields["model"],
        params=_params(fields["params"]),
        metadata=_string_dict(fields["metadata"]),
        status=JobStatus(fields["status"]),
        version=int(fields["version"]),
        created_at_ms=int(fields["created_at_ms"]),
        started_at_ms=_optional_int(fields.get("started_at_ms")),
        completed_at_ms=_optional_int(fields.get("completed_at_ms")),
        attempt=int(fields["attempt"]),
        worker=WorkerId(fields["worker"]) if "worker" in fields else None,
        step=int(fields["step"]),
        steps=int(fields["steps"]),
        images=tuple(sorted(_parts(Image, fields, several, "image:"), key=lambda image: image.index)),
        warnings=tuple(_parts(JobWarning, fields, several, "warning:")),
        error=None if error is None else JobError.model_validate_json(error),
        lane=Lane(fields["lane"]),
        work_ms=int(fields["work_ms"]),
        deadline_ms=_optional_int(fields.get("deadline_ms")),
        retry_of=JobId(fields["retry_of"]) if "retry_of" in fields else None,
        retried_as=JobId(fields["retried_as"]) if "retried_as" in fields else None,
        is_reused="pictures_of" in fields,
        may_reuse="result" in fields,
        reading=None if reading is None else Reading.model_validate_json(reading),
        lost_workers=tuple(WorkerId(fields[name]) for name in several if name.startswith("lost:")),
        asked=fields.get("asked"),
        trace=_trace(fields.get("trace")),
        pictures_trace=_trace(fields.get("pictures_trace")),
        queued_at_ms=_optional_int(fields.get("queued_at_ms")),
        claimed_at_ms=_optional_int(fields.get("claimed_at_ms")),
        needs=int(fields.get("needs", FIRST)),
        roams="roams" in fields,
        position=position_of(position),
        ahead_jobs=number(ahead_jobs),
        ahead_ms=number(ahead_ms),
        hold=Hold(text(hold)) if hold else None,
    )


def accepted_job(new: NewJob, reply: list[Reply], *, may_reuse: bool) -> Job:
    """Read `{when, position, jobs ahead, their ms, hold or ''}` of a job that has just come into the queue.

    The rest of its record is as it was sent, so this is the job that `job_of` would read.
    """
    at, position, ahead_jobs, ahead_ms, hold = reply
    created_at_ms = number(at)
    return Job(
        id=new.id,
        tenant=new.tenant,
        pool=new.pool,
        params=new.params,
        metadata=new.metadata,
        status=JobStatus.QUEUED,
        version=1,
        created_at_ms=created_at_ms,
        started_at_ms=None,
        completed_at_ms=None,
        attempt=0,
        worker=None,
        step=0,
        steps=new.steps,
        images=(),
        warnings=(),
        error=None,
        lane=new.lane,
        work_ms=new.work_ms,
        deadline_ms=None if new.cancel_after_s is None else created_at_ms + 1000 * new.cancel_after_s,
        retry_of=new.retry_of,
        may_reuse=may_reuse,
        position=position_of(position),
        ahead_jobs=number(ahead_jobs),
        ahead_ms=number(ahead_ms),
        hold=Hold(text(hold)) if hold else None,
        asked=new.asked,
        trace=new.trace,
        needs=new.needed,
        roams=new.roams,
    )


def batch_of(reply: Reply) -> Batch:
    """Read `{id, entered, active, {field, value, ...}}`: `describe_batch` in record.lua."""
    batch, entered, active, flat = items(reply)
    words = [word.decode() for word in cast("list[bytes]", flat)]
    fields = dict(zip(words[::2], words[1::2], strict=True))
    completed = fields.get("completed_at_ms")
    return Batch(
        id=BatchId(text(batch)),
        name=fields["name"],
        status=BatchStatus(fields["status"]),
        created_at_ms=int(fields["created_at_ms"]),
        completed_at_ms=None if completed is None else int(completed),
        total=int(fields["total"]),
        entered=number(entered),
        active=number(active),
        succeeded=int(fields.get("succeeded", 0)),
        failed=int(fields.get("failed", 0)),
        canceled=int(fields.get("canceled", 0)),
        expired=int(fields.get("expired", 0)),
    )


def position_of(reply: Reply) -> int | None:
    """Read a place among the waiting."""
    place = number(reply)
    return None if place == NO_POSITION else place


@lru_cache(maxsize=MOST_PARAMS)
def _params(said: str) -> GenerationParams:
    return GenerationParams.model_validate_json(said)


def _parts(part: type[Part], fields: Mapping[str, str], names: Iterable[str], prefix: str) -> Iterator[Part]:
    return (part.model_validate_json(fields[name]) for name in names if name.startswith(prefix))


def _optional_int(value: str | None) -> int | None:
    return None if value is None else int(value)


def _trace(value: str | None) -> TraceParent | None:
    return None if value is None else TraceParent(value)


def _string_dict(value: str) -> dict[str, str]:
    read: dict[str, str] = json.loads(value) if value != "{}" else {}
    return read
