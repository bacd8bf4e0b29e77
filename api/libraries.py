"""The libraries of functions that programs of ours loaded into Redis: which are in use, and the end of the others."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from shared.call import LIBRARIES, library
from shared.connection import run_async, translated
from shared.scripts import libraries

log = logging.getLogger(__name__)


async def drop_unused(redis: Redis) -> None:
    """Note that ours is in use, and drop those that nobody has noted for long. Raises QueueUnavailable.

    If somebody uses one of those after all, its next call loads it again.
    """
    in_use = await run_async(redis, libraries(library().name))
    try:
        for _, name, *_ in cast("list[list[bytes]]", await redis.function_list(f"{LIBRARIES}*")):
            if name.decode() in in_use:
                continue
            with suppress(ResponseError):  # another gateway was first
                await redis.function_delete(name.decode())
                log.info("dropped the queue's functions of another version: %s", name.decode())
    except RedisError as error:
        raise translated(error) from error
