"""Who waits for a job, or follows it, is told to look: one subscription a gateway, shared by all that listen there.

So is what remembers keys and limits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, NamedTuple, NewType, TypeAlias, TypedDict, TypeVar, cast, final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.batches import BatchId
from shared.call import library
from shared.jobs import JobId, Tenant
from shared.keys import DEFAULT, channel_of_library

T = TypeVar("T")

log = logging.getLogger(__name__)

SILENCE_S: Final = 5.0
"""After so long without a word Redis is asked for one; after as long again the connection is given up."""
AGAIN_S: Final = 0.5
"""Between two tries to subscribe."""
LOOK_ANYWAY_S: Final = 10.0
"""Word of a move can get lost with a connection, so whoever waits looks this often without it."""


class Word(NamedTuple):
    """Where to look, as `shared.keys` has it; it says nothing of what is there."""

    kind: str
    """`move`, `image`, `progress`, `gone` or `batch`; `revoked` or `limits`; others come from another version."""
    about: str
    """A job's id; of `batch` a batch's, of `revoked` a key's."""
    tenant: Tenant

    @property
    def job_id(self) -> JobId:
        """The job, of words about one."""
        return JobId(self.about)

    @property
    def is_move(self) -> bool:
        """True if the job's version is another, the job is no more, or its batch has ended or is no more."""
        return self.kind in {"move", "gone", "batch"}


Hear: TypeAlias = Callable[[Word | None], None]
"""Is told a word, or None when words may have been missed; returns at once."""

Topic = NewType("Topic", str)
"""What words are about."""


ABOUT_ACCESS: Final = Topic("access")
"""Keys that are revoked, and limits that change."""
_OF_ACCESS: Final = frozenset({"revoked", "limits"})


def about_job(job_id: JobId | BatchId) -> Topic:
    """One job's words, or one batch's: no two ids are the same."""
    return Topic(f"job {job_id}")


def about_tenant(tenant: Tenant) -> Topic:
    """The words of all of a tenant's jobs."""
    return Topic(f"tenant {tenant}")


class _Message(TypedDict):
    type: str
    data: object


@final
class Changes:
    """Word of what happens to jobs, for one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._hearers: dict[Topic, list[Hear]] = {}
        self.is_closed = False
        """True once the gateway stops: whoever listens lets go."""
        self.is_deaf = False
        """True while no word can come; when it can again, all are told that some may have been missed."""

    async def run(self) -> None:
        """Listen until canceled, whatever Redis does."""
        while not _is_canceled():
            try:
                await self._listen()
            except RedisError as error:
                self._note(str(error))
            except Exception:
                log.exception("listening failed; it goes on")
            await asyncio.sleep(AGAIN_S)

    @property
    def topics(self) -> set[Topic]:
        """What anybody listens to."""
        return set(self._hearers)

    def listen(self, topic: Topic, hear: Hear) -> Callable[[], None]:
        """Have `hear` called with each word about the topic, when words may have been missed, and when all is over.

        Word can get lost with a connection: look without it too, every `LOOK_ANYWAY_S`. Returns what ends it.
        """
        self._hearers.setdefault(topic, []).append(hear)

        def stop() -> None:
            hearers = self._hearers[topic]
            hearers.remove(hear)
            if not hearers:
                del self._hearers[topic]

        return stop

    @contextmanager
    def listening(self, topic: Topic, hear: Hear) -> Generator[None]:
        """Listen as long as the context lasts."""
        stop = self.listen(topic, hear)
        try:
            yield
        finally:
            stop()

    async def awaited(
        self,
        job_id: JobId | BatchId,
        look: Callable[[], Awaitable[T]],
        *,
        is_due: Callable[[T], bool],
        within_s: float,
        leaves: Awaitable[object],
    ) -> T:
        """Look at a job, or a batch, until it `is_due`, or `within_s` seconds have passed; returns the last look.

        Returns early when `leaves` is done, since nobody waits any more, and when the gateway stops. Raises what
        `look` does.
        """
        until = time.monotonic() + within_s
        moved = asyncio.Event()

        def hear(word: Word | None) -> None:
            if word is None or word.is_move:
                moved.set()

        with self.listening(about_job(job_id), hear):
            left = asyncio.ensure_future(leaves)
            left.add_done_callback(lambda task: (task.cancelled() or task.exception(), moved.set()))
            try:
                while True:
                    moved.clear()
                    seen = await look()
                    left_s = until - time.monotonic()
                    if is_due(seen) or left_s <= 0 or left.done() or self.is_closed:
                        return seen
                    await set_within(moved, min(left_s, LOOK_ANYWAY_S))
            finally:
                left.cancel()

    def close(self) -> None:
        """Let all go who wait, and whoever comes: the gateway stops."""
        self.is_closed = True
        self._tell_all()

    async def _listen(self) -> None:
        """Listen on one connection until it is dead, or redis-py gives it up. Raises RedisError."""
        async with self._redis.pubsub() as subscription:  # pyright: ignore[reportUnknownMemberType]: **kwargs
            await subscription.subscribe(DEFAULT.changes, channel_of_library(library().name))
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
                    self._tell(cast("bytes", message["data"]))
                elif message["type"] == "subscribe":  # also when redis-py has connected anew by itself
                    self._note(None)
                    self._tell_all()

    def _note(self, trouble: str | None) -> None:
        """Log a change for the worse or better once."""
        if trouble is not None and not self.is_deaf:
            log.warning("no word of jobs; who waits looks every %g s: %s", LOOK_ANYWAY_S, trouble)
        elif trouble is None and self.is_deaf:
            log.info("word of jobs comes again")
        self.is_deaf = trouble is not None

    def _tell(self, data: bytes) -> None:
        """Pass a word on. Most are about jobs that nobody watches here."""
        kind, _, rest = data.decode("utf-8", "replace").partition(":")
        about, _, tenant = rest.partition(":")
        word = Word(kind, about, Tenant(tenant))
        topics = (ABOUT_ACCESS,) if kind in _OF_ACCESS else (about_job(word.job_id), about_tenant(word.tenant))
        for topic in topics:
            for hear in self._hearers.get(topic, ()):
                hear(word)

    def _tell_all(self) -> None:
        for hearers in self._hearers.values():
            for hear in hearers:
                hear(None)


async def set_within(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _is_canceled() -> bool:
    """True once this task is to end: the word of it may get lost on its way through redis-py."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
