"""What is done for jobs whose pool has lost its workers: another pool of their model draws them."""

from __future__ import annotations

from shared.call import Call, Reply, call_of, items
from shared.jobs import Job, JobId
from shared.keys import DEFAULT, Keys
from shared.pools import class_in
from shared.record import job_of


def stranded(pool: str, *, limit: int, keys: Keys = DEFAULT) -> Call[tuple[Job, ...]]:
    """List jobs that wait for a pool and may be drawn by another of its model, those that go first in front."""

    def parse(_code: str, rest: list[Reply]) -> tuple[Job, ...]:
        return tuple(job_of(job) for job in items(rest[0]))

    return call_of("stranded", keys, (pool, limit, int(class_in(pool) is not None)), parse)


def reroute(job_id: JobId, *, source: str, to: str, work_ms: int, keys: Keys = DEFAULT) -> Call[bool]:
    """Let a job that waits for the pool `source` wait for the pool `to`; False if it is not there, or not any more."""
    return call_of("reroute", keys, (job_id, source, to, work_ms), lambda code, _rest: code == "OK")
