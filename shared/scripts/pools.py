"""What is done for jobs whose pool has lost its workers: another pool of their model draws them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from shared.call import Call, Reply, call_of, items
from shared.jobs import Job, JobId
from shared.keys import DEFAULT, Keys
from shared.pools import class_in
from shared.record import job_of


def stranded(pool: str, *, limit: int, contract: int, keys: Keys = DEFAULT) -> Call[tuple[Job, ...]]:
    """List jobs that wait for a pool and may be drawn by another of its model, those that go first in front.

    Only those that need no higher contract than `contract`. A record that can't be read is left out.
    """

    def found(reply: Reply) -> Iterator[Job]:
        with suppress(ValueError, LookupError):  # such as one of another version's, which knows what to do with it
            yield job_of(reply)

    def parse(_code: str, rest: list[Reply]) -> tuple[Job, ...]:
        return tuple(job for reply in items(rest[0]) for job in found(reply))

    return call_of("stranded", keys, (pool, limit, int(class_in(pool) is not None), contract), parse)


def reroute(job_id: JobId, *, source: str, to: str, work_ms: int, keys: Keys = DEFAULT) -> Call[bool]:
    """Let a job that waits for the pool `source` wait for the pool `to`; False if it is not there, or not any more."""
    return call_of("reroute", keys, (job_id, source, to, work_ms), lambda code, _rest: code == "OK")
