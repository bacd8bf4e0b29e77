"""The object store as the gateway uses it: in threads, and asked for its health before a job is taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Self, TypeVar, final

from anyio import CapacityLimiter, Lock
from anyio.to_thread import run_sync

from api.together import PART
from shared.errors import StoreUnavailable
from shared.meters import STORE_CALL_SECONDS, STORE_ERRORS, Meters
from shared.object_store import POOL_SIZE, ObjectStore, OpenObject, is_refusal

T = TypeVar("T")

LOOK_S: Final = 1.0
"""How often the upkeep looks, so that no submit has to."""
FRESH_S: Final = 1.5
"""How long an answer about the store's health holds, if the upkeep is held up."""
DELETERS: Final = 4


@dataclass(frozen=True, slots=True)
class Deletion:
    """What came of deleting objects."""

    gone: tuple[str, ...]
    refused: tuple[str, ...]
    """What waiting does not help: the store said no."""
    trouble: StoreUnavailable | None
    """Why some are not, or may not be; None if all are gone."""


@dataclass(frozen=True, slots=True)
class Download:
    """An object that is being read, with its first bytes: all of most pictures, without another turn in a thread."""

    found: OpenObject
    first: bytes

    @classmethod
    def of(cls, found: OpenObject) -> Self:
        """Read the beginning. Raises StoreUnavailable, with the object closed."""
        try:
            return cls(found, found.read())
        except BaseException:
            found.close()
            raise

    @property
    def num_bytes(self) -> int | None:
        """What the store announced; None if it said nothing."""
        return self.found.num_bytes


@final
class Storage:
    """One object store, for one event loop."""

    def __init__(self, store: ObjectStore, meters: Meters | None = None) -> None:
        self._store = store
        self._meters = meters or Meters()
        self._threads = CapacityLimiter(POOL_SIZE)
        # Its own thread: a health check must not wait behind pictures that wait for the store.
        self._probe_thread = CapacityLimiter(1)
        # Their own too: what is deleted has time, and pictures are waited for.
        self._delete_threads = CapacityLimiter(DELETERS)
        self._probing = Lock()
        self._probed_at = float("-inf")
        self._trouble: str | None = None

    async def require(self) -> None:
        """Raise StoreUnavailable if the bucket can't be reached, as of at most `FRESH_S` ago."""
        await self._look(FRESH_S)

    @property
    def is_up(self) -> bool:
        """True if it answered when it was asked last."""
        return self._trouble is None and self._probed_at > float("-inf")

    async def look(self) -> None:
        """Ask the store now. Raises StoreUnavailable."""
        await self._look(0)

    async def _look(self, fresh_s: float) -> None:
        if time.monotonic() - self._probed_at > fresh_s:
            asked_at = time.monotonic()
            async with self._probing:
                if self._probed_at < asked_at:  # else somebody else has, meanwhile
                    self._trouble = await self._probe()
                    self._probed_at = time.monotonic()
        if self._trouble is not None:
            raise StoreUnavailable(self._trouble)

    async def _probe(self) -> str | None:
        try:
            # A store that was set up anew has no bucket: make it.
            with self._measured("look"):
                await run_sync(self._store.ensure_bucket, limiter=self._probe_thread)
        except StoreUnavailable as error:
            return str(error)
        return None

    async def open(self, key: str) -> Download:
        """Start to read an object; `stream` reads the rest and closes it."""
        with self._measured("open"):
            return await self._in_thread(lambda: Download.of(self._store.open(key)))

    async def stream(self, download: Download) -> AsyncIterator[bytes]:
        """Read an open object in chunks, and close it, also when its reader goes away."""
        try:
            chunk, left = download.first, download.num_bytes
            while chunk:
                yield chunk
                left = None if left is None else left - len(chunk)
                chunk = b"" if left == 0 else await self._in_thread(download.found.read)
        finally:
            download.found.close()

    async def steps(self, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Take an iterator that reads from the store, step by step in threads, no faster than its reader does."""
        while (part := await self._in_thread(partial(next, parts, None))) is not None:
            yield part

    async def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete objects, several at a time; a missing one is fine. Gives up on the first that is not answered."""
        gone: list[str] = []
        refused: list[str] = []

        async def delete_all(some: Sequence[str]) -> StoreUnavailable | None:
            trouble = None
            for key in some:
                try:
                    # A reader in a hurry, or the gateway's end, need not wait for a store that hangs.
                    call = partial(self._store.delete, (key,))
                    with self._measured("delete"):
                        await run_sync(call, limiter=self._delete_threads, abandon_on_cancel=True)
                except StoreUnavailable as error:
                    trouble = error
                    if not is_refusal(error):
                        break
                    refused.append(key)
                else:
                    gone.append(key)
            return trouble

        troubles = await asyncio.gather(*(delete_all(keys[first::DELETERS]) for first in range(DELETERS)))
        return Deletion(tuple(gone), tuple(refused), next(filter(None, troubles), None))

    async def examine(self, look: Callable[[ObjectStore], T]) -> T:
        """Let somebody look at the store for a while, in a thread of the deletions': pictures are waited for."""
        return await run_sync(lambda: look(self._store), limiter=self._delete_threads, abandon_on_cancel=True)

    def presigned_url(self, key: str, *, media_type: str, disposition: str, expires_s: int) -> str:
        """Sign a GET; computed here, so it needs no thread."""
        return self._store.presigned_url(key, media_type=media_type, disposition=disposition, expires_s=expires_s)

    @contextmanager
    def _measured(self, operation: str) -> Generator[None]:
        begun = time.perf_counter()
        try:
            yield
        except StoreUnavailable:
            self._meters.count(STORE_ERRORS, PART, operation)
            raise
        self._meters.note(STORE_CALL_SECONDS, time.perf_counter() - begun, PART, operation)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await run_sync(call, limiter=self._threads)
