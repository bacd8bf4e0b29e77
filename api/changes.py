"""Who waits for a job is told when it moves: one subscription a gateway, shared by all that wait there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypedDict, cast, final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.jobs import Job, JobId
from shared.keys import DEFAULT

log = logging.getLogger(__name__)

SILENCE_S: Final = 5.0
"""After so long without a word Redis is asked for one; after as long again the connection is given up."""
AGAIN_S: Final = 0.5
"""Between two tries to subscribe."""
LOOK_ANYWAY_S: Final = 10.0
"""Word of a move can get lost with a connection, so whoever waits looks this often without it."""


class _Message(TypedDict):
    type: str
    data: object


@final
class Changes:
    """Word of jobs that moved, for one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._watches: dict[JobId, set[asyncio.Event]] = {}
        self._is_closed = False
        self._is_deaf = False

    async def run(self) -> None:
        """Listen until canceled, whatever Redis does."""
        while not _is_canceled():
            try:
                await self._listen()
            except RedisError as error:
                self._note(str(error))
            except Exception:
                log.exception("listening for moves failed; it goes on")
            await asyncio.sleep(AGAIN_S)

    @contextmanager
    def _watch(self, job_id: JobId) -> Generator[asyncio.Event]:
        """An event that is set with each move of the job, and when it may have been missed.

        Clear it before each look at the job, and take no longer than `LOOK_ANYWAY_S` to the next.
        """
        moved = asyncio.Event()
        watches = self._watches.setdefault(job_id, set())
        watches.add(moved)
        try:
            yield moved
        finally:
            watches.discard(moved)
            if not watches:
                self._watches.pop(job_id, None)

    async def awaited(
        self,
        job_id: JobId,
        look: Callable[[], Awaitable[Job]],
        *,
        is_due: Callable[[Job], bool],
        within_s: float,
        leaves: Awaitable[object],
    ) -> Job:
        """Look at a job until it `is_due`, or `within_s` seconds have passed; returns the last look.

        Returns early when `leaves` is done, since nobody waits any more, and when the gateway stops. Raises what
        `look` does.
        """
        until = time.monotonic() + within_s
        with self._watch(job_id) as moved:
            left = asyncio.ensure_future(leaves)
            left.add_done_callback(lambda task: (task.cancelled() or task.exception(), moved.set()))
            try:
                while True:
                    moved.clear()
                    job = await look()
                    left_s = until - time.monotonic()
                    if is_due(job) or left_s <= 0 or left.done() or self._is_closed:
                        return job
                    await _set_within(moved, min(left_s, LOOK_ANYWAY_S))
            finally:
                left.cancel()

    def close(self) -> None:
        """Let all go who wait, and whoever comes: the gateway stops."""
        self._is_closed = True
        self._wake_all()

    async def _listen(self) -> None:
        """Listen on one connection until it is dead, or redis-py gives it up. Raises RedisError."""
        async with self._redis.pubsub() as subscription:  # pyright: ignore[reportUnknownMemberType]: **kwargs
            await subscription.subscribe(DEFAULT.changes)
            is_asked = False
            while not _is_canceled():
                message = cast("_Message | None", await subscription.get_message(timeout=SILENCE_S))
                if message is None and is_asked:
                    self._note("Redis says nothing.")
                    return
                is_asked = message is None
                if message is None:
                    await subscription.ping()  # pyright: ignore[reportUnknownMemberType]: its argument
                elif message["type"] == "message":
                    self._wake(JobId(cast("bytes", message["data"]).decode("ascii", "replace")))
                elif message["type"] == "subscribe":  # also when redis-py has connected anew by itself
                    self._note(None)
                    self._wake_all()

    def _note(self, trouble: str | None) -> None:
        """Log a change for the worse or better once."""
        if trouble is not None and not self._is_deaf:
            log.warning("no word of jobs that move; who waits looks every %g s: %s", LOOK_ANYWAY_S, trouble)
        elif trouble is None and self._is_deaf:
            log.info("word of jobs that move comes again")
        self._is_deaf = trouble is not None

    def _wake(self, job_id: JobId) -> None:
        for moved in self._watches.get(job_id, ()):
            moved.set()

    def _wake_all(self) -> None:
        for job_id in self._watches:
            self._wake(job_id)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _is_canceled() -> bool:
    """True once this task is to end: the word of it may get lost on its way through redis-py."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
