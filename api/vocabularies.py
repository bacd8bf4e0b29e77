"""By what the models' texts are read: fetched from Redis once, parsed in a thread, the latest kept."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from api.together import Together
from shared.errors import NoVocabulary
from shared.pools import model_in
from shared.reading import PromptMeasure, TextReader
from shared.scripts import vocabulary
from shared.vocabulary import Vocabulary

T = TypeVar("T")

MOST_KEPT: Final = 2
"""Parsed, SDXL's takes some 40 MB; its fine-tunes share it."""
THREADS: Final = 1
"""Reading is Python's work for the most part: more threads read no faster, and leave the event loop the less."""

log = logging.getLogger(__name__)


@final
class Vocabularies:
    """Reads texts as the models do, for one event loop."""

    def __init__(self, together: Together) -> None:
        self._together = together
        self._digests: dict[str, str] = {}
        """By pool, as last heard."""
        self._readers: OrderedDict[str, TextReader] = OrderedDict()
        """By digest; the one that was asked for last is at the end."""
        self._parsing = asyncio.Lock()
        self._threads = CapacityLimiter(THREADS)

    async def measure(self, pool: str, texts: Sequence[str]) -> list[PromptMeasure]:
        """Measure texts as a pool's model would. Raises NoVocabulary, QueueUnavailable."""
        reader = await self._reader(pool)
        return await self._in_thread(lambda: [reader.read(text).measure for text in texts])

    async def _reader(self, pool: str) -> TextReader:
        """Ask each time by what the pool reads: a worker may have come with another checkpoint."""
        digest = self._digests.get(pool, "")
        reader = self._readers.get(digest)
        told = await self._together.run(vocabulary(pool, None if reader is None else digest))
        if told is not None:
            reader = await self._parsed(pool, told)
            digest = self._digests[pool] = told.digest
        elif reader is None:
            raise NoVocabulary(model_in(pool))
        self._keep(digest, reader)
        return reader

    async def _parsed(self, pool: str, told: Vocabulary) -> TextReader:
        async with self._parsing:
            reader = self._readers.get(told.digest)
            if reader is None:
                try:
                    reader = await self._in_thread(lambda: TextReader(told))
                except ValueError as error:
                    log.warning("texts for %s are not counted: %s", pool, error)
                    raise NoVocabulary(model_in(pool)) from error
                self._keep(told.digest, reader)
        return reader

    def _keep(self, digest: str, reader: TextReader) -> None:
        self._readers[digest] = reader
        self._readers.move_to_end(digest)
        while len(self._readers) > MOST_KEPT:
            self._readers.popitem(last=False)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await run_sync(call, limiter=self._threads)
