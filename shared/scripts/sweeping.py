"""What is done for those that are gone: dead workers' jobs, passed deadlines, jobs and pictures kept long enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.call import Call, Reply, call_of, items, text
from shared.errors import WorkerLost
from shared.jobs import DEADLINE_PASSED, Job, JobError, JobId
from shared.keys import DEFAULT, Keys
from shared.record import job_of


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did, and which pools have jobs waiting: wake a worker of each of those."""

    requeued: tuple[JobId, ...]
    failed: tuple[JobId, ...]
    overdue: tuple[JobId, ...]
    waiting_pools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retired:
    """Jobs forgotten just now, and keys of objects to delete, then to `discard`."""

    jobs: tuple[JobId, ...]
    objects: tuple[str, ...]


def reap(*, lease_s: float, max_attempts: int, keys: Keys = DEFAULT) -> Call[Sweep]:
    """Take expired leases away: back to their old places, or failed as `worker_lost` after `max_attempts`.

    Sweeps come five times a lease. One that comes later than twice that finds that Redis, or everybody, was away, and
    adds that time to the leases, whose holders could not renew: once, until they do.
    """
    error = JobError(
        code=WorkerLost.code,
        message=f"Its worker was lost {max_attempts} times, so it is not tried again. Other settings may get through.",
    )

    def parse(_code: str, rest: list[Reply]) -> Sweep:
        requeued, failed, overdue, pools = (tuple(text(word) for word in items(part)) for part in rest)
        return Sweep(tuple(map(JobId, requeued)), tuple(map(JobId, failed)), tuple(map(JobId, overdue)), tuple(pools))

    args = (round(lease_s * 1000), max_attempts, error.model_dump_json(), DEADLINE_PASSED.model_dump_json())
    return call_of("reap", keys, args, parse)


def retire(*, limit: int, keys: Keys = DEFAULT) -> Call[Retired]:
    """Forget jobs that were kept long enough, and tell which objects are to be deleted: at most `limit` of each."""

    def parse(_code: str, rest: list[Reply]) -> Retired:
        ids, objects = (tuple(text(word) for word in items(part)) for part in rest)
        return Retired(tuple(map(JobId, ids)), objects)

    return call_of("retire", keys, (limit,), parse)


def discard(objects: Iterable[str], *, keys: Keys = DEFAULT) -> Call[None]:
    """Note that the store no longer has these objects."""
    return call_of("discard", keys, tuple(objects), lambda _code, _rest: None)


def postpone(objects: Iterable[str], *, pause_s: float, keys: Keys = DEFAULT) -> Call[None]:
    """Leave objects for later that the store refuses to delete: `retire` tells others meanwhile."""
    return call_of("postpone", keys, (round(pause_s * 1000), *objects), lambda _code, _rest: None)


def orphans(jobs: Iterable[JobId], *, keys: Keys = DEFAULT) -> Call[frozenset[JobId]]:
    """Tell which of these jobs are no more, nor any that shows their pictures. Redis serves nobody else meanwhile."""

    def parse(_code: str, rest: list[Reply]) -> frozenset[JobId]:
        return frozenset(JobId(text(one)) for one in items(rest[0]))

    return call_of("orphans", keys, tuple(jobs), parse)


def set_aside(*, limit: int, keys: Keys = DEFAULT) -> Call[tuple[Job, ...]]:
    """List jobs of all tenants that were given up as `worker_lost`, latest first: for the operator."""

    def parse(_code: str, rest: list[Reply]) -> tuple[Job, ...]:
        return tuple(job_of(job) for job in items(rest[0]))

    return call_of("set_aside", keys, (limit,), parse)
