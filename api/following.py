"""The jobs that are being followed here: each is looked at once for all who follow it, and all of them now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar, final

from redis.asyncio import Redis

from api.changes import Changes, Word, about_job
from api.outlook import Outlooks
from api.telling import View
from shared.connection import run_async
from shared.errors import QueueUnavailable
from shared.jobs import JobId, JobStatus, Tenant
from shared.scripts import Stand, glance, preview, read

T = TypeVar("T")

ROUND_S: Final = 2.0
"""Places change with every claim, and nobody is told of that: so often all followed jobs are looked at."""
GLANCED_AT_ONCE: Final = 20
"""Neither Redis nor this loop serves anybody else meanwhile, and each place that changed is an event to send."""

log = logging.getLogger(__name__)


@final
class _Answer(Generic[T]):
    """What one question was answered since it was last made old; whoever asks meanwhile waits for the same answer."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked: asyncio.Task[None] | None = None
        self._value: list[T] = []
        self._wanted = 1
        self._known = 0

    @property
    def fresh(self) -> T | None:
        """The answer, unless it is old or has not come yet."""
        return self._value[0] if self._known == self._wanted else None

    def make_old(self) -> None:
        """Whoever asks from now on wants to know more than what is known, or was asked, before."""
        self._wanted += 1

    def put(self, value: T) -> None:
        """Know it from elsewhere, as well as it was known."""
        self._value = [value]

    async def get(self) -> T:
        wanted = self._wanted
        while self._known < wanted:
            if self._asked is None:
                self._asked = asyncio.create_task(self._asking(self._wanted))
                # Nobody may be there any more to hear of a failure.
                self._asked.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.shield(self._asked)
        return self._value[0]

    async def _asking(self, wanted: int) -> None:
        try:
            self._value = [await self._ask()]
            self._known = wanted
        finally:
            self._asked = None


@final
class Followed:
    """A job, for all who follow it here."""

    def __init__(self, job_id: JobId, tenant: Tenant, redis: Redis, outlooks: Outlooks) -> None:
        async def look() -> View:
            at_s = time.monotonic()
            job = await run_async(redis, read(job_id, tenant))
            return View(job, await outlooks.prospect(job), at_s)

        self.job_id = job_id
        self._outlooks = outlooks
        self._look = _Answer(look)
        self._preview = _Answer(lambda: run_async(redis, preview(job_id, tenant)))
        self.woken = set[asyncio.Event]()
        """Of those who follow it."""
        self.stop_listening: Callable[[], None] = lambda: None

    async def view(self) -> View:
        """How it stands, as of the last word of it. Raises JobNotFound, QueueUnavailable."""
        return await self._look.get()

    async def preview(self) -> bytes | None:
        """The latest one, as of the last word of it. Raises JobNotFound, QueueUnavailable."""
        return await self._preview.get()

    @property
    def known(self) -> View | None:
        """The last view, unless there was word since."""
        return self._look.fresh

    def hear(self, _word: Word | None) -> None:
        """Word came, or may have been missed: wake those who follow it."""
        self._look.make_old()
        self._preview.make_old()
        self._wake()

    async def glimpse(self, stand: Stand | None, at_s: float) -> None:
        """Take in how it stood at that time."""
        view = self.known
        if view is None or view.at_s >= at_s:
            return
        if stand is None or stand.version != view.job.version:
            self.hear(None)
        elif view.job.status is JobStatus.QUEUED:
            job = stand.of(view.job)
            self._look.put(View(job, await self._outlooks.prospect(job), at_s))
            self._wake()
        elif stand.step != view.job.step:
            self.hear(None)

    def _wake(self) -> None:
        for woken in self.woken:
            woken.set()


@final
class Following:
    """All followed jobs of one event loop."""

    def __init__(self, redis: Redis, changes: Changes, outlooks: Outlooks) -> None:
        self._redis = redis
        self._changes = changes
        self._outlooks = outlooks
        self._followed: dict[tuple[JobId, Tenant], Followed] = {}

    def __len__(self) -> int:
        return len(self._followed)

    @contextmanager
    def follow(self, job_id: JobId, tenant: Tenant) -> Generator[tuple[Followed, asyncio.Event]]:
        """A job, and an event that is set when it may stand otherwise: clear it before each look.

        The job need not exist, nor be the tenant's: then each look raises JobNotFound.
        """
        key = (job_id, tenant)
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = Followed(job_id, tenant, self._redis, self._outlooks)
            followed.stop_listening = self._changes.listen(about_job(job_id), followed.hear)
        woken = asyncio.Event()
        followed.woken.add(woken)
        try:
            yield followed, woken
        finally:
            followed.woken.discard(woken)
            if not followed.woken:
                followed.stop_listening()
                del self._followed[key]

    async def run(self) -> None:
        """Look at all that is followed, again and again, until canceled."""
        while True:
            try:
                await self._round()
            except QueueUnavailable:
                for followed in tuple(self._followed.values()):
                    if followed.known:  # let them find out, and say so; others are asking
                        followed.hear(None)
                await asyncio.sleep(ROUND_S)
            except Exception:
                log.exception("a look at the followed jobs failed; it goes on")
                await asyncio.sleep(ROUND_S)

    async def _round(self) -> None:
        """Learn of places, and of moves whose word was lost: a few at once, evenly over the time."""
        followed = tuple(one for one in self._followed.values() if one.known)
        pages = [followed[at : at + GLANCED_AT_ONCE] for at in range(0, len(followed), GLANCED_AT_ONCE)]
        for page in pages:
            await self._glance(page)
            await asyncio.sleep(ROUND_S / len(pages))
        if not pages:
            await asyncio.sleep(ROUND_S)

    async def _glance(self, followed: Sequence[Followed]) -> None:
        at_s = time.monotonic()
        stands = await run_async(self._redis, glance([one.job_id for one in followed]))
        for one, stand in zip(followed, stands, strict=True):
            await one.glimpse(stand, at_s)
