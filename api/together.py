"""What is asked of Redis at once travels at once: calls in one pipeline, reads of jobs in one call.

redis-py takes longer over a call than Redis does: a connection from the pool, a time-out, a wait for its socket. So
what is asked while others are on their way waits for the next ones to go.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar, cast, final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.call import Call, Reply
from shared.connection import is_unknown, run_async, translated
from shared.errors import QueueUnavailable
from shared.jobs import Job, JobId, Tenant
from shared.meters import REDIS_CALL_SECONDS, REDIS_ERRORS, Meters
from shared.scripts import read_each

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

PART: Final = "gateway"
"""Of the service, as its meters have it."""
MOST_CALLS: Final = 16
"""Of a pipeline: Redis answers them one after the other, and the first waits for the last."""
MOST_READS: Final = 16
"""Of a call: Redis serves nobody else meanwhile."""
MOST_TRIPS: Final = 2
"""On their way at once: while one waits for a disk, others are answered."""
CONFIRM_MS: Final = 1000
"""How long replicas may take to have what was written."""


@final
class Together:
    """Asks Redis, for one event loop.

    With `replicas`, nobody is told of what was written before so many of them have it: a failover can't take it back.
    """

    def __init__(self, redis: Redis, meters: Meters | None = None, *, replicas: int = 0) -> None:
        self._redis = redis
        self._meters = meters or Meters()
        self._replicas = replicas
        self._calls = _Trips[Call[Any], Any](self._call, most=MOST_CALLS)
        self._reads = _Trips[tuple[JobId, Tenant], Job](self._read, most=MOST_READS)

    async def run(self, call: Call[T]) -> T:
        """Run a call. Raises QueueUnavailable, and what `call.parse` raises."""
        return await self._calls.ask(call)

    async def read(self, job_id: JobId, tenant: Tenant) -> Job:
        """Read a job, for a third of what `run(read(...))` takes. Raises JobNotFound, QueueUnavailable."""
        return await self._reads.ask((job_id, tenant))

    async def _read(self, asked: Sequence[tuple[JobId, Tenant]]) -> Sequence[Job | Exception]:
        with self._measured():
            return await run_async(self._redis, read_each(asked))

    async def _call(self, calls: Sequence[Call[Any]]) -> Sequence[object]:
        confirms = self._replicas > 0 and any(call.writes for call in calls)
        with self._measured():
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for call in calls:
                        pipeline.execute_command(*call.words)  # pyright: ignore[reportUnknownMemberType]: **options
                    if confirms:  # of all that this connection wrote before
                        pipeline.execute_command("WAIT", self._replicas, CONFIRM_MS)  # pyright: ignore[reportUnknownMemberType]
                    replies = cast("list[Reply | Exception]", await pipeline.execute(raise_on_error=False))
            except RedisError as error:
                raise translated(error) from error
        have = replies.pop() if confirms else None
        is_safe = not confirms or (isinstance(have, int) and have >= self._replicas)
        return [await self._answer(call, reply, is_safe) for call, reply in zip(calls, replies, strict=True)]

    @contextmanager
    def _measured(self) -> Generator[None]:
        begun = time.perf_counter()
        try:
            yield
        except QueueUnavailable:
            self._meters.count(REDIS_ERRORS, PART)
            raise
        self._meters.note(REDIS_CALL_SECONDS, time.perf_counter() - begun, PART)

    async def _answer(self, call: Call[T], reply: Reply | Exception, is_safe: bool) -> T | Exception:
        try:
            if isinstance(reply, RedisError):
                if not is_unknown(reply):
                    return translated(reply)
                answer, is_safe = await run_async(self._redis, call), not self._replicas  # on another connection
            else:
                answer = call.parse(cast("Reply", reply))
        except Exception as error:  # noqa: BLE001 it is theirs who asked
            return error
        if call.writes and not is_safe:
            return QueueUnavailable(
                "The queue's replicas do not answer, so what was asked may get lost. Try again shortly."
            )
        return answer


@final
class _Trips(Generic[Q, A]):
    """Takes questions to whoever answers, as many on each trip as have come meanwhile."""

    def __init__(self, answer: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]], *, most: int) -> None:
        self._answer = answer
        """Answers in their order; an error among them is for who asked, one that is raised for all."""
        self._most = most
        self._asked: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, question: Q) -> A:
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._asked.append((question, answer))
        # One that has just ended may still be listed, and takes nobody along any more.
        if sum(not trips.done() for trips in self._under_way) < MOST_TRIPS:
            trips = asyncio.create_task(self._go())
            self._under_way.add(trips)
            trips.add_done_callback(self._under_way.discard)
        return await answer

    async def _go(self) -> None:
        while self._asked:
            some = [self._asked.popleft() for _ in range(min(self._most, len(self._asked)))]
            try:
                answers = await self._answer([question for question, _ in some])
                for (_, waiting), answer in zip(some, answers, strict=True):
                    _tell(waiting, answer)
            except BaseException as error:
                if isinstance(error, QueueUnavailable) or not isinstance(error, Exception):
                    # Who asked meanwhile has waited as long: of a frozen Redis all are told now, not trip by trip.
                    some += self._asked
                    self._asked.clear()
                for _, waiting in some:
                    _tell(waiting, error if isinstance(error, Exception) else QueueUnavailable())
                if not isinstance(error, Exception):
                    raise


def _tell(waiting: asyncio.Future[A], answer: A | Exception) -> None:
    if waiting.done():  # who asked has left
        return
    if isinstance(answer, Exception):
        waiting.set_exception(answer)
    else:
        waiting.set_result(answer)
