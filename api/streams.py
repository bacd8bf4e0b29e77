"""Streams of events: a job's, from what was seen of it to its end, and all of a tenant's jobs'. Knows no HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeAlias, final

from redis.asyncio import Redis

from api.changes import LOOK_ANYWAY_S, Changes, about_tenant, set_within
from api.following import Following
from api.outlook import Outlooks
from api.readers import JobReader, Reader, TenantReader
from api.stays import Stay
from api.telling import NOTHING, Event, Seen, Sign
from shared.connection import run_async
from shared.errors import QueueUnavailable
from shared.jobs import JobId, Tenant
from shared.scripts import changed

HEARTBEAT_S: Final = 15.0
"""After so long without an event a sign of life is given: proxies commonly cut what is silent for longer."""
AGAIN_S: Final = 2.0
"""Between two looks while Redis does not answer them."""

Stream: TypeAlias = AsyncGenerator[Event | Sign]

OPENED: Final = Sign("the stream is open")
ALIVE: Final = Sign("nothing new")
AWAY: Final = Sign("the queue does not answer; the stream goes on when it does")


@final
class Streams:
    """All streams of one event loop. Each is an async generator: close it, or run it to its end."""

    def __init__(self, redis: Redis, changes: Changes, outlooks: Outlooks) -> None:
        self._redis = redis
        self._changes = changes
        self._outlooks = outlooks
        self._following = Following(redis, changes, outlooks)

    @property
    def followed(self) -> int:
        """How many jobs are followed, by however many."""
        return len(self._following)

    async def run(self) -> None:
        """Keep the streams informed until canceled."""
        await self._following.run()

    async def of_job(
        self,
        job_id: JobId,
        tenant: Tenant,
        *,
        stay: Stay | None = None,
        seen: Seen = NOTHING,
        previews: bool = False,
        outage_s: float = math.inf,
    ) -> Stream:
        """Tell of a job what was not seen: the first is a sign, at once, the last its end, or that it is gone.

        Nothing at all if its end was seen. With `previews` its progress has sketches. Outages of Redis are waited out,
        each for `outage_s`; the end of the stay, and the gateway's stop, end it early.

        Raises JobNotFound before the first, and QueueUnavailable before it and after an outage that lasts.
        """
        with self._following.follow(job_id, tenant) as (followed, woken):
            if seen.has_end_of((await followed.view()).job):
                return
            yield OPENED
            reader = JobReader(followed, woken, seen, previews=previews)
            async with aclosing(self._told(reader, stay, outage_s)) as told:
                async for one in told:
                    yield one

    async def of_tenant(self, tenant: Tenant, *, stay: Stay | None = None, since: int | None = None) -> Stream:
        """Tell of all of a tenant's jobs, those of later too: what changed after this change, or from now on.

        The first is a sign, at once, with the number from which to go on. Then each job that has changed since is told
        as it stands now, and all that happens from now on. An id is a change's number: a stream that goes on from it
        may tell again what came after it, but misses nothing. Progress is told while it happens and has none. It ends
        with the stay, and when the gateway stops.

        Raises QueueUnavailable before the first.
        """
        if since is None:
            since = (await run_async(self._redis, changed(tenant, since=None))).number
        reader = TenantReader(tenant, since, self._redis, self._following, self._outlooks)
        with self._changes.listening(about_tenant(tenant), reader.hear):
            yield replace(OPENED, id=str(since))
            async with aclosing(self._told(reader, stay)) as told:
                async for one in told:
                    yield one

    async def _told(self, reader: Reader, stay: Stay | None, outage_s: float = math.inf) -> Stream:
        """Tell a reader's news as they come, and give signs of life between.

        Raises QueueUnavailable once Redis has not answered for `outage_s`.
        """
        stay = stay or Stay()
        stay.when_over(reader.woken.set)
        told_at_s, was_away, until_s = time.monotonic(), False, math.inf
        while not (reader.is_over or stay.is_over or self._changes.is_closed):
            reader.woken.clear()
            is_away = False
            try:
                async with aclosing(reader.news()) as news:
                    async for event in news:
                        told_at_s = time.monotonic()
                        yield event
                        if stay.is_over:
                            return
            except QueueUnavailable:
                is_away = True
                until_s = until_s if was_away else time.monotonic() + outage_s
                if time.monotonic() >= until_s:
                    raise
            silence_s = time.monotonic() - told_at_s
            if silence_s >= HEARTBEAT_S or (is_away and not was_away):
                told_at_s, silence_s = time.monotonic(), 0.0
                yield AWAY if is_away else ALIVE
            was_away = is_away
            if not reader.is_over:
                pause_s = AGAIN_S if is_away and not self._changes.is_deaf else LOOK_ANYWAY_S
                left_s = until_s - time.monotonic() if is_away else math.inf
                await set_within(reader.woken, min(HEARTBEAT_S - silence_s, pause_s, left_s))
