"""A job's record as the Lua scripts hand it over, read into a `Job`. Knows the fields' names, no keys."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import BaseModel

from shared.call import Reply, items, number, text
from shared.generation import GenerationParams
from shared.jobs import Hold, Image, Job, JobError, JobId, JobStatus, JobWarning, Reading, Tenant, WorkerId
from shared.lanes import Lane

Part = TypeVar("Part", bound=BaseModel)

NO_POSITION = -1


def job_of(reply: Reply) -> Job:
    """Read `{id, position or -1, jobs ahead, their ms, hold or '', {field, value, ...}}`: `describe` in record.lua."""
    job_id, position, ahead_jobs, ahead_ms, hold, flat = items(reply)
    words = [text(word) for word in items(flat)]
    fields = dict(zip(words[::2], words[1::2], strict=True))
    error, reading = fields.get("error"), fields.get("reading")
    params = GenerationParams.model_validate_json(fields["params"])
    images = _parts(Image, fields, "image:")
    return Job(
        id=JobId(text(job_id)),
        tenant=Tenant(fields["tenant"]),
        model=fields["model"],
        params=params,
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
        images=tuple(sorted(images, key=lambda image: image.index)),
        warnings=_parts(JobWarning, fields, "warning:"),
        error=None if error is None else JobError.model_validate_json(error),
        lane=Lane(fields["lane"]),
        work_ms=int(fields["work_ms"]),
        deadline_ms=_optional_int(fields.get("deadline_ms")),
        retry_of=JobId(fields["retry_of"]) if "retry_of" in fields else None,
        is_reused="pictures_of" in fields,
        may_reuse="result" in fields,
        reading=None if reading is None else Reading.model_validate_json(reading),
        lost_workers=tuple(WorkerId(fields[name]) for name in sorted(fields) if name.startswith("lost:")),
        position=None if number(position) == NO_POSITION else number(position),
        ahead_jobs=number(ahead_jobs),
        ahead_ms=number(ahead_ms),
        hold=Hold(text(hold)) if text(hold) else None,
    )


def _parts(part: type[Part], fields: dict[str, str], prefix: str) -> tuple[Part, ...]:
    return tuple(part.model_validate_json(fields[name]) for name in sorted(fields) if name.startswith(prefix))


def _optional_int(value: str | None) -> int | None:
    return None if value is None else int(value)


def _string_dict(value: str) -> dict[str, str]:
    read: dict[str, str] = json.loads(value)
    return read
