"""Moves jobs whose pool has lost its workers to another pool of their model that has some.

Each gateway does. A move is one step in Redis, from the pool where the job was seen, so it makes no difference how many
offer the same one. Jobs that name a class stay: they say so, and whoever asked for them decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final, final

from redis.exceptions import RedisError

from api.catalog import others_of
from api.deps import Gateway
from api.estimate import able_workers
from api.reasons import is_without_workers
from shared.compatibility import CONTRACT
from shared.contract import WorkerState
from shared.keys import queue_of
from shared.scripts import Fleet, reroute, stranded

log = logging.getLogger(__name__)

SCALED_PATIENCE_S: Final = 600.0
"""How long a pool waits for its scaler's first worker, at least, before its jobs go elsewhere."""
AT_ONCE: Final = 100


def others_for(served: Fleet, pool: str) -> Mapping[str, tuple[WorkerState, ...]]:
    """The pools that would draw what waits for this one, once it has lost its workers; with those who would."""
    able = {other: able_workers(served, other) for other in others_of(served, pool)}
    return {other: workers for other, workers in able.items() if workers}


@final
class Rerouting:
    """Moves jobs, for one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._without_since: dict[str, float] = {}

    async def round(self, waited_for: Sequence[str]) -> None:
        """Look at the pools that jobs wait for, and move those that have waited in vain. Raises QueueUnavailable."""
        if not waited_for:
            self._without_since.clear()
            return
        served = await self._gateway.outlooks.fleet()
        now = time.monotonic()
        lost = [pool for pool in waited_for if is_without_workers(served, pool)]
        self._without_since = {pool: self._without_since.get(pool, now) for pool in lost}
        for pool, since in self._without_since.items():
            least_s = SCALED_PATIENCE_S if pool in served.scaled else 0.0
            if now - since >= max(self._gateway.settings.pool_patience_s, least_s):
                await self._empty(served, pool)

    async def _empty(self, served: Fleet, pool: str) -> None:
        others = others_for(served, pool)
        if not others:
            return
        contract = max(worker.contract for workers in others.values() for worker in workers)
        # What a newer gateway made, this one has read without what it doesn't know.
        call = stranded(pool, limit=AT_ONCE, contract=min(CONTRACT, contract))
        routes = self._gateway.routes
        moved: dict[str, int] = {}
        for job in await self._gateway.run(call):
            route = await routes.elsewhere(served, tuple(others), job.params, job.lane)
            if route is None:
                continue
            move = reroute(job.id, source=pool, to=route.pool, work_ms=route.work_ms)
            moved[route.pool] = moved.get(route.pool, 0) + await self._gateway.run(move)
        for other, jobs in moved.items():
            if jobs:
                log.warning("%s has no worker: %d of its jobs wait for %s now", pool, jobs, other)
                for _ in range(min(jobs, len(others[other])) - await self._called(other)):
                    await self._gateway.waker.wake(other)

    async def _called(self, pool: str) -> int:
        """How many words wait for its workers: they would pile up while those are busy."""
        try:
            return await self._gateway.redis.llen(queue_of(pool))
        except RedisError:
            return 0
