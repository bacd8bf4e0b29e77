"""What is deleted: the pictures of jobs that were kept long enough, or that somebody wants forgotten, batches too."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final, final

from redis.asyncio import Redis

from api.storage import Deletion, Storage
from shared.batches import BatchId
from shared.connection import run_async
from shared.scripts import discard, forget_batch, postpone, retire

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 100
SHORTEST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 300.0
DELETE_WITHIN_S: Final = 5.0
"""How long who asks for a deletion waits for the store; what is left is deleted later."""
REFUSED_PAUSE_S: Final = 3600.0
"""What the store refuses to delete is tried again so much later: others must not wait behind it."""


async def clear(redis: Redis, storage: Storage, objects: Sequence[str]) -> Deletion:
    """Delete objects and take those that are gone off the list. Raises QueueUnavailable: they stay on the list then."""
    deletion = await storage.delete(objects)
    if deletion.gone:
        await run_async(redis, discard(deletion.gone))
    if deletion.refused:
        await run_async(redis, postpone(deletion.refused, pause_s=REFUSED_PAUSE_S))
    return deletion


async def clear_batch(redis: Redis, storage: Storage, batch: BatchId) -> None:
    """Forget the first jobs of a batch that was erased, and delete their pictures; those of most batches are all.

    Raises QueueUnavailable. Whatever it leaves is taken up by the next round of whichever gateway.
    """
    forgotten = await run_async(redis, forget_batch(batch, limit=MOST_AT_ONCE))
    await clear(redis, storage, forgotten.objects)


@final
class Retention:
    """Forgets jobs whose time is over, a round at a time. Several gateways may: whatever is deleted twice is gone."""

    def __init__(self, redis: Redis, storage: Storage, *, period_s: float) -> None:
        self._redis = redis
        self._storage = storage
        self._period_s = period_s
        self._pause_s = 0.0
        self._store_back_at = float("-inf")

    async def round(self) -> float:
        """Forget some jobs and delete their pictures; tell in how many seconds to go on. Raises QueueUnavailable.

        While the store is away jobs are forgotten all the same, and their pictures stay on the list.
        """
        erased = await run_async(self._redis, forget_batch(None, limit=MOST_AT_ONCE))
        retired = await run_async(self._redis, retire(limit=MOST_AT_ONCE))
        if retired.jobs:
            log.info("%d jobs were kept long enough and are forgotten", len(retired.jobs))
        is_more = erased.is_more or len(retired.jobs) == MOST_AT_ONCE
        if time.monotonic() >= self._store_back_at:
            self._note(await clear(self._redis, self._storage, retired.objects))
            is_more |= len(retired.objects) == MOST_AT_ONCE and not self._pause_s
        return 0.0 if is_more else min(self._period_s, self._pause_s or self._period_s)

    def _note(self, deletion: Deletion) -> None:
        """Try ever more seldom while the store doesn't answer; log the first failure and the end of them."""
        if deletion.trouble is not None and not deletion.gone:
            if not self._pause_s:
                log.error("pictures are not deleted now, but later: %s", deletion.trouble)
            self._pause_s = min(max(SHORTEST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
            self._store_back_at = time.monotonic() + self._pause_s
            log.debug("pictures are tried again in %g s", self._pause_s)
        elif self._pause_s and deletion.gone:
            log.info("pictures are deleted again")
            self._pause_s = 0.0
