"""What the gateway does on its own: sweep, wake, reroute, call couriers, feed batches, take submits back, delete, tell.

And it says that it lives.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.libraries import drop_unused
from api.metrics import push
from api.retention import Retention
from api.storage import LOOK_S, Storage
from shared.batches import BatchId
from shared.broker import COURIER_QUEUE
from shared.call import Call
from shared.connection import run_async
from shared.errors import BatchNotFound, JobNotFound, LayoutsApart, QueueUnavailable, StoreUnavailable
from shared.jobs import JobId, Tenant
from shared.keys import queue_of
from shared.meters import Meters
from shared.parts import PERIOD_S, Part
from shared.scripts import due, join, reap, withdraw, withdraw_batch
from shared.settings import Settings

log = logging.getLogger(__name__)

SWEEPS_PER_LEASE: Final = 5
LIBRARIES_S: Final = 3600.0
"""Between two looks for libraries that nobody uses any more."""
TELL_S: Final = 5.0
"""Between two times that what was counted is added to the fleet's."""
OUTBOX_S: Final = 1.0
"""How long an event may wait for its courier to be called."""
WAKERS: Final = 4
HEAD_START_S: Final = 0.02
ARRIVES_WITHIN_S: Final = 120.0
"""Once Redis answers again, for so long a submit may still lie in a connection that was given up."""


@final
class Waker:
    """Sends wake-ups from threads of its own; one that fails is made good by the next sweep."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._threads = ThreadPoolExecutor(WAKERS, thread_name_prefix="wake")

    async def wake(self, pool: str) -> None:
        """Tell the workers of a pool that there is work; never fails.

        Returns when it is sent, or after `HEAD_START_S`: whoever goes on at once takes the interpreter from the thread
        that sends, and the worker waits.
        """
        sending = asyncio.wrap_future(self._threads.submit(self._wake, pool))
        await asyncio.wait((sending,), timeout=HEAD_START_S)

    def _wake(self, pool: str) -> None:
        try:
            self._send(pool)
        except QueueUnavailable as error:
            log.warning("no wake-up was sent for %s; the next sweep sends one: %s", pool, error)
        except Exception:
            log.exception("no wake-up was sent for %s", pool)

    def close(self) -> None:
        """End what is being sent; what waits is the sweeps' of others."""
        self._threads.shutdown(cancel_futures=True)


@final
class Unanswered:
    """Submits whose reply never came: their callers were told that nothing was accepted, so they are taken back.

    One may reach Redis even after its connection was given up, so each is looked for over a while. It is kept in
    memory: a gateway that ends in that while leaves such a job to be drawn. One whose idempotency key has come again
    meanwhile stays: its caller was told of it then, unless that answer was lost, too.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._left: dict[str, tuple[Call[bool], float]] = {}

    def add(self, job_id: JobId, tenant: Tenant) -> None:
        """Remember a submit that Redis has not answered."""
        self._left[f"job {job_id}"] = (withdraw(job_id, tenant), math.inf)

    def add_batch(self, batch: BatchId, tenant: Tenant) -> None:
        """Remember a batch of whose acceptance Redis has not answered."""
        self._left[f"batch {batch}"] = (withdraw_batch(batch, tenant), math.inf)

    async def take_back(self) -> None:
        """Erase those that have arrived. Raises QueueUnavailable."""
        for what, (call, until) in list(self._left.items()):
            try:
                if await run_async(self._redis, call):
                    log.warning("%s was accepted after its caller was told that it was not: taken back", what)
            except (JobNotFound, BatchNotFound):
                pass
            now = time.monotonic()
            if now < until:  # it, or a second copy of it, may still come
                self._left[what] = (call, min(until, now + ARRIVES_WITHIN_S))
            else:
                del self._left[what]


@final
class Upkeep:
    """Loops that run while the gateway does, each for itself: a store that hangs must not keep the sweeps."""

    def __init__(
        self,
        settings: Settings,
        redis: Redis,
        storage: Storage,
        waker: Waker,
        unanswered: Unanswered,
        *,
        meters: Meters,
        part: Part,
        call_courier: Callable[[], None],
        feed: Callable[[], Awaitable[float]],
        reroute: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._meters = meters
        self._part = part
        self._call_courier = call_courier
        self._feed = feed
        self._reroute = reroute
        self._redis = redis
        self._unanswered = unanswered
        self._storage = storage
        self._waker = waker
        self._retention = Retention(redis, storage, period_s=settings.lease_s)
        self._trouble: dict[str, str] = {}

    async def run(self) -> None:
        """Go on until canceled."""
        async with asyncio.TaskGroup() as loops:
            works = (
                self._join,
                self._sweep,
                self._take_back,
                self._feed,
                self._look_at_outbox,
                self._look_at_store,
                self._retire,
                self._drop_libraries,
                self._tell,
            )
            for work in works:
                loops.create_task(self._repeat(work))

    async def _repeat(self, work: Callable[[], Awaitable[float]]) -> None:
        """Do `work` again and again; it tells in how many seconds."""
        while True:
            try:
                pause_s = await work()
            except QueueUnavailable as error:
                if work == self._sweep:  # one tells for all
                    self._note("queue", str(error))
                pause_s = self._settings.lease_s / SWEEPS_PER_LEASE
            except Exception:
                log.exception("upkeep failed; it goes on")
                pause_s = self._settings.lease_s
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # one may get lost on its way through redis-py
                return
            await asyncio.sleep(pause_s)

    async def _join(self) -> float:
        try:
            await run_async(self._redis, join(self._part))
        except LayoutsApart as error:  # Redis was away when we started, or has lost what it knew of us
            self._note("layout", str(error))
        else:
            self._note("layout", None)
        return PERIOD_S

    async def _sweep(self) -> float:
        call = reap(lease_s=self._settings.lease_s, max_attempts=self._settings.max_attempts)
        swept = await run_async(self._redis, call)
        self._note("queue", None)
        for job_id in swept.requeued:
            log.warning("its worker was lost, it waits again", extra={"job": job_id})
        for job_id in swept.failed:
            log.error("its workers were lost too often, it failed", extra={"job": job_id})
        for job_id in swept.overdue:
            log.info("it had not ended by its deadline", extra={"job": job_id})
        for pool in swept.waiting_pools:
            if await self._nobody_is_called(queue_of(pool)):
                await self._waker.wake(pool)
        await self._reroute(swept.waiting_pools)
        return self._settings.lease_s / SWEEPS_PER_LEASE

    async def _nobody_is_called(self, queue: str) -> bool:
        """True if no word waits there: only a lost one is made good, else they would pile up while nobody takes any."""
        try:
            return await self._redis.llen(queue) == 0
        except RedisError:
            return False

    async def _look_at_outbox(self) -> float:
        """Call a courier for what webhooks are to be told."""
        if await run_async(self._redis, due()) and await self._nobody_is_called(COURIER_QUEUE):
            await asyncio.to_thread(self._call_courier)
        return OUTBOX_S

    async def _take_back(self) -> float:
        await self._unanswered.take_back()
        return self._settings.lease_s / SWEEPS_PER_LEASE

    async def _look_at_store(self) -> float:
        """Ask for it before a submit needs it: asking makes it where it is missing."""
        try:
            await self._storage.look()
        except StoreUnavailable as error:
            self._note("object store", str(error))
        else:
            self._note("object store", None)
        return LOOK_S

    async def _retire(self) -> float:
        return await self._retention.round()

    async def _tell(self) -> float:
        await push(self._redis, self._meters)
        return TELL_S

    async def _drop_libraries(self) -> float:
        await drop_unused(self._redis)
        return LIBRARIES_S

    def _note(self, what: str, trouble: str | None) -> None:
        """Log a change for the worse or better once, not with every round."""
        if trouble is not None and what not in self._trouble:
            log.error("%s: %s", what, trouble)
            self._trouble[what] = trouble
        elif trouble is None and self._trouble.pop(what, None) is not None:
            log.info("%s: answers again", what)
