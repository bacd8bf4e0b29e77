"""What a job's body says of the time ahead: why it waits and how long, from looks at the queue that polls share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Generic, TypeVar, final

from redis.asyncio import Redis

from api.estimate import time_left
from api.reasons import reason
from shared.connection import run_async
from shared.contract import JobBody, job_body
from shared.errors import QueueUnavailable
from shared.jobs import Job
from shared.scripts import Fleet, Outlook, fleet, outlook

T = TypeVar("T")

FRESH_S: Final = 0.5
"""How long a look holds: at most two a second of each kind, however many jobs are asked for."""

_logger = logging.getLogger(__name__)


@final
class _Look(Generic[T]):
    """One question's last answer, or failure; whoever comes while it is being asked waits for that one."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._begun_at = float("-inf")
        self._asked: asyncio.Task[T] | None = None

    @property
    def age_ms(self) -> float:
        return (time.monotonic() - self._begun_at) * 1000

    async def answer(self) -> T:
        if self._asked is None or (self._asked.done() and self.age_ms > FRESH_S * 1000):
            self._begun_at = time.monotonic()
            self._asked = asyncio.create_task(self._asking())
            # Nobody may be there any more to hear of a failure.
            self._asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._asked)

    async def _asking(self) -> T:
        return await self._ask()


@final
class Outlooks:
    """Looks at the fleet and at what lies ahead, for one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._fleet: _Look[Fleet] | None = None
        self._outlooks: dict[str, _Look[Outlook]] = {}

    async def fleet(self) -> Fleet:
        """Who works, as of at most `FRESH_S` ago. Raises QueueUnavailable."""
        if self._fleet is None:
            self._fleet = _Look(lambda: run_async(self._redis, fleet()))
        return await self._fleet.answer()

    async def outlook(self, model: str) -> Outlook:
        """What lies ahead of a model's queue, as of at most `FRESH_S` ago. Raises QueueUnavailable."""
        return await self._look_ahead(model).answer()

    def forget(self) -> None:
        """Look anew: something was changed from here."""
        self._fleet = None
        self._outlooks.clear()

    async def body(self, job: Job) -> JobBody:
        """Say a job with why it waits and how long it will take; without these while the queue doesn't answer."""
        now_ms = time.time_ns() // 1_000_000
        if job.status.is_terminal:
            return job_body(job, now_ms=now_ms)
        try:
            look = self._look_ahead(job.model)
            served, ahead = await asyncio.gather(self.fleet(), look.answer())
        except QueueUnavailable as error:
            _logger.warning("a job is said without its outlook: %s", error)
            return job_body(job, now_ms=now_ms)
        left = time_left(job, ahead, served, age_ms=look.age_ms)
        return job_body(job, now_ms=now_ms, reason=reason(job, served), time_left=left)

    async def bodies(self, jobs: Iterable[Job]) -> tuple[JobBody, ...]:
        """Say jobs, in their order."""
        return tuple([await self.body(job) for job in jobs])

    def _look_ahead(self, model: str) -> _Look[Outlook]:
        if model not in self._outlooks:
            self._outlooks[model] = _Look(lambda: run_async(self._redis, outlook(model)))
        return self._outlooks[model]
