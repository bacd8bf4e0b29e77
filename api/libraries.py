"""The libraries of functions that programs of ours loaded into Redis: which are in use, and the end of the others.

Libraries are the server's, not a database's: another Darkroom may use the same one, or one of another version.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.call import library
from shared.connection import run_async, translated
from shared.keys import channel_of_library
from shared.scripts import libraries

log = logging.getLogger(__name__)


async def drop_unused(redis: Redis) -> None:
    """Note that ours is in use, and drop those that we used and nobody has noted for long. Raises QueueUnavailable.

    What we never used is not ours to drop, nor is what a gateway listens for, whatever its database. If somebody uses
    one of those after all, its next call loads it again.
    """
    lapsed = await run_async(redis, libraries(library().name))
    try:
        for name in sorted(lapsed):
            if await _is_used(redis, name):
                continue
            with suppress(ResponseError):  # another gateway was first
                await redis.function_delete(name)
                log.info("dropped the queue's functions of another version: %s", name)
    except RedisError as error:
        raise translated(error) from error


async def _is_used(redis: Redis, name: str) -> bool:
    """True while a gateway of that library listens: channels, too, are the server's."""
    heard = await redis.pubsub_numsub(channel_of_library(name))  # pyright: ignore[reportUnknownMemberType]: **kwargs
    return any(count > 0 for _, count in cast("list[tuple[bytes, int]]", heard))
