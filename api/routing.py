"""Which pool draws a job whose request names a model: the one in which it will have ended first.

As far as looks at the queue tell that are up to a second old: what this gateway has sent there since is added. What a
pool has no worker for costs the time until it has one, which nobody knows, so it is a fixed one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

from api.catalog import pools_of
from api.estimate import able_workers, expected_ms
from api.outlook import Outlooks
from shared.compatibility import needed_by
from shared.generation import GenerationParams
from shared.lanes import Lane
from shared.pools import class_in
from shared.scripts import Fleet, Mode, WaitingWork

LOADING_MS: Final = 60_000.0
"""What a worker is taken to need that loads its model now."""
STARTING_MS: Final = 300_000.0
"""What a scaler is taken to need until the first worker is ready."""
RESTING_MS: Final = 1e9
"""In place of what nobody can know: until operators resume its workers, or the store is back."""
NOBODY_MS: Final = 1e12
"""Until somebody starts a worker."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a job goes."""

    pool: str
    work_ms: int
    """How long a worker is expected to take there."""
    roams: bool
    """True if another of its model's pools may draw it too."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A job that was sent to a pool."""

    at_s: float
    """By this process' clock."""
    lane: Lane
    work_ms: int


@final
class Routes:
    """Finds jobs their pools, for one event loop."""

    def __init__(self, outlooks: Outlooks) -> None:
        self._outlooks = outlooks
        self._sent: dict[str, list[_Sent]] = {}
        """By pool: what its last look can't have seen."""

    async def find(self, served: Fleet, name: str, params: GenerationParams, lane: Lane) -> Route:
        """Tell where a job goes that names a model, or one of its pools. Raises QueueUnavailable.

        It asks Redis only where there is a choice.
        """
        pools = pools_of(served, name)
        best = pools[0] if len(pools) == 1 else await self._best(served, pools, params, lane)
        return Route(best, work_ms(served, best, params), best != name and class_in(name) is None)

    async def elsewhere(
        self, served: Fleet, pools: Sequence[str], params: GenerationParams, lane: Lane
    ) -> Route | None:
        """Tell where a job goes that has lost its pool's workers; None if none of these would begin it now."""
        able = [pool for pool in pools if _is_able(served, pool, params)]
        if not able:
            return None
        best = able[0] if len(able) == 1 else await self._best(served, able, params, lane)
        return Route(best, work_ms(served, best, params), roams=True)

    async def _best(self, served: Fleet, pools: Sequence[str], params: GenerationParams, lane: Lane) -> str:
        ends = await asyncio.gather(*(self._ends_ms(served, pool, params, lane) for pool in pools))
        best = pools[min(range(len(pools)), key=lambda at: ends[at])]
        self._sent[best].append(_Sent(time.monotonic(), lane, work_ms(served, best, params)))
        return best

    async def _ends_ms(self, served: Fleet, pool: str, params: GenerationParams, lane: Lane) -> float:
        """In how many ms a job would have ended there."""
        forecast, ahead, age_ms = await self._outlooks.forecast(pool)
        seen_at_s = time.monotonic() - age_ms / 1000
        sent = self._sent[pool] = [one for one in self._sent.get(pool, ()) if one.at_s > seen_at_s]
        work = work_ms(served, pool, params)
        if _is_able(served, pool, params):
            waiting, more = ahead.waiting[lane], [one.work_ms for one in sent if one.lane is lane]
            behind = WaitingWork(waiting.jobs + len(more), waiting.work_ms + sum(more))
            left_ms = forecast.ms_to_end(lane, work, behind=behind, age_ms=age_ms)
            if left_ms is not None:
                return left_ms
        living = sum(worker.pool == pool for worker in served.workers)
        all_ms = sum(waiting.work_ms for waiting in ahead.waiting.values()) + sum(one.work_ms for one in sent)
        return begins_ms(served, pool) + all_ms / max(1, living) + work


def work_ms(served: Fleet, pool: str, params: GenerationParams) -> int:
    """How long a pool's worker is expected to take, by what the pool has measured."""
    return expected_ms(
        params, [worker for worker in served.workers if worker.pool == pool], served.speeds.get(pool, ())
    )


def begins_ms(served: Fleet, pool: str) -> float:
    """In how many ms a pool that would begin nothing now is taken to begin something."""
    living = [worker for worker in served.workers if worker.pool == pool and worker.state != "draining"]
    if any(worker.state == "warming" and served.mode_of(worker.id) is Mode.WORK for worker in living):
        return LOADING_MS
    if living:
        return RESTING_MS
    return STARTING_MS if pool in served.scaled else NOBODY_MS


def _is_able(served: Fleet, pool: str, params: GenerationParams) -> bool:
    needed = needed_by(params)
    return any(worker.contract >= needed for worker in able_workers(served, pool))
