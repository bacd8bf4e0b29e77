"""What a job's body says of the time ahead: why it waits and how long, from looks at the queue that polls share."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, final

from redis.asyncio import Redis

from api.estimate import Forecast
from api.reasons import Reasons
from shared.connection import run_async
from shared.contract import JobBody, Reason, TimeLeft, job_body
from shared.errors import QueueUnavailable
from shared.jobs import Job
from shared.scripts import Fleet, Outlook, fleet, outlook

T = TypeVar("T")

FRESH_S: Final = 0.5
"""How old a look is before the next is taken: at most two a second of each kind, however many jobs are asked for."""
MOST_S: Final = 2 * FRESH_S
"""How old one may be that is told while the next is taken, so that nobody waits for that."""

_logger = logging.getLogger(__name__)


@final
class _Look(Generic[T]):
    """One question's last answer; whoever comes when that is too old waits for the next, or hears of its failure."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._answered: tuple[float, T] | None = None
        self._asking: asyncio.Task[T] | None = None

    @property
    def age_ms(self) -> float:
        """Of the last answer."""
        return math.inf if self._answered is None else (time.monotonic() - self._answered[0]) * 1000

    @property
    def kept(self) -> T | None:
        """The last answer, if it holds still; None if the next must be waited for."""
        if self._answered is None:
            return None
        asked_at, answer = self._answered
        age_s = time.monotonic() - asked_at
        if age_s > FRESH_S:
            self._next()
        return answer if age_s <= MOST_S else None

    async def answer(self) -> T:
        """Give the last answer, or the next. Raises what the question does."""
        kept = self.kept
        return await asyncio.shield(self._next()) if kept is None else kept

    def _next(self) -> asyncio.Task[T]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._take())
            # Nobody may be there any more to hear of a failure.
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._asking

    async def _take(self) -> T:
        asked_at = time.monotonic()
        answer = await self._ask()
        self._answered = asked_at, answer
        return answer


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a job has before it."""

    reason: Reason | None = None
    """Why it waits; None unless it does, and while that can't be told."""
    time_left: TimeLeft | None = None
    """None once it has ended, and while that can't be told."""


NO_PROSPECT: Final = Prospect()


@dataclass(frozen=True, slots=True)
class _View:
    """What two looks say of a pool's jobs: worked out once for all who poll while they hold."""

    ahead: Outlook
    served: Fleet
    reasons: Reasons
    forecast: Forecast


@final
class Outlooks:
    """Looks at the fleet and at what lies ahead, for one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._fleet = self._look_at_fleet()
        self._outlooks: dict[str, _Look[Outlook]] = {}
        self._views: dict[str, _View] = {}

    async def fleet(self) -> Fleet:
        """Who works, as of at most `MOST_S` ago. Raises QueueUnavailable."""
        return await self._fleet.answer()

    async def outlook(self, pool: str) -> Outlook:
        """What lies ahead of a pool's queue, as of at most `MOST_S` ago. Raises QueueUnavailable."""
        return await self._look_ahead(pool).answer()

    def forget(self) -> None:
        """Look anew: something was changed from here."""
        self._fleet = self._look_at_fleet()
        self._outlooks.clear()

    async def forecast(self, pool: str) -> tuple[Forecast, Outlook, float]:
        """When a pool's jobs will have ended, what lies ahead of it, and how many ms ago that was looked up.

        Raises QueueUnavailable.
        """
        look = self._look_ahead(pool)
        served, ahead = await asyncio.gather(self._fleet.answer(), look.answer())
        return self._view(pool, ahead, served).forecast, ahead, look.age_ms

    async def prospect(self, job: Job) -> Prospect:
        """Say why a job waits and how long it will take; nothing while the queue doesn't answer."""
        if job.status.is_terminal:
            return NO_PROSPECT
        look = self._look_ahead(job.pool)
        served, ahead = self._fleet.kept, look.kept
        if served is None or ahead is None:
            try:
                served, ahead = await asyncio.gather(self._fleet.answer(), look.answer())
            except QueueUnavailable as error:
                _logger.warning("a job is said without its outlook: %s", error)
                return NO_PROSPECT
        view = self._view(job.pool, ahead, served)
        return Prospect(view.reasons.of(job), view.forecast.time_left(job, age_ms=look.age_ms))

    async def body(self, job: Job) -> JobBody:
        """Say a job with its prospect."""
        now_ms = time.time_ns() // 1_000_000
        prospect = await self.prospect(job)
        return job_body(job, now_ms=now_ms, reason=prospect.reason, time_left=prospect.time_left)

    async def bodies(self, jobs: Iterable[Job]) -> tuple[JobBody, ...]:
        """Say jobs, in their order."""
        return tuple([await self.body(job) for job in jobs])

    def _view(self, pool: str, ahead: Outlook, served: Fleet) -> _View:
        made = self._views.get(pool)
        if made is None or made.ahead is not ahead or made.served is not served:
            made = self._views[pool] = _View(ahead, served, Reasons(served, pool), Forecast(ahead, served, pool))
        return made

    def _look_at_fleet(self) -> _Look[Fleet]:
        return _Look(lambda: run_async(self._redis, fleet()))

    def _look_ahead(self, pool: str) -> _Look[Outlook]:
        if pool not in self._outlooks:
            self._outlooks[pool] = _Look(lambda: run_async(self._redis, outlook(pool)))
        return self._outlooks[pool]
