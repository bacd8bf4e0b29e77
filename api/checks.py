"""The checks: how this gateway finds its deployment. Asks all who can tell, side by side, and waits for none for long.

What is judged stands in `redis_checks`, `store_checks`, `fleet_checks` and `door_checks`. Nothing of it needs another
right than the gateway has for its work, and none of the answers holds a secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from api import door_checks, fleet_checks, redis_checks, store_checks
from api.deps import Gateway
from shared.checks import Finding, wrong
from shared.errors import QueueUnavailable
from shared.object_store import ObjectStore
from shared.scripts import fleet, gauges, outlook, parts, roll

WITHIN_S: Final = 15.0
"""For the store: the command waits for longer, people don't."""

_REDIS_REMEDY: Final = "Does it run, and is DARKROOM_REDIS_URL right? This gateway's log says more."


async def look(gateway: Gateway, headers: Mapping[str, str]) -> tuple[Finding, ...]:
    """Tell all there is to tell; `headers` are those of the request that asks."""
    settings = gateway.settings
    redis, store, workers, redis_way, store_way = await asyncio.gather(
        _redis(gateway),
        _store(gateway),
        _fleet(gateway),
        door_checks.redis_way(settings),
        door_checks.store_way(settings),
    )
    doors = (door_checks.keys(settings, headers), door_checks.proxy(settings, headers))
    return (*redis, redis_way, *store, store_way, *workers, *doors)


async def _redis(gateway: Gateway) -> Sequence[Finding]:
    settings = gateway.settings
    try:
        said = await redis_checks.ask(gateway.redis)
    except QueueUnavailable as error:
        return (wrong("redis", str(error), _REDIS_REMEDY),)
    asks_sentinels = bool(settings.redis_address.sentinels)
    return tuple(redis_checks.judge(said, replicas=settings.redis_replicas, asks_sentinels=asks_sentinels))


async def _fleet(gateway: Gateway) -> Sequence[Finding]:
    ask = gateway.run
    try:
        known, queue, living, called = await asyncio.gather(ask(fleet()), ask(gauges()), ask(parts()), ask(roll()))
        pools = sorted({worker.pool for worker in known.workers})
        aheads = await asyncio.gather(*(ask(outlook(pool)) for pool in pools))
    except QueueUnavailable:
        return (fleet_checks.not_asked(),)
    outlooks = dict(zip(pools, aheads, strict=True))
    return tuple(fleet_checks.judge(fleet_checks.Known(known, queue, living, called, outlooks)))


async def _store(gateway: Gateway) -> Sequence[Finding]:
    def look(store: ObjectStore) -> Sequence[Finding]:
        return tuple(store_checks.examine(store, gateway.settings))

    try:
        async with asyncio.timeout(WITHIN_S):
            return await gateway.storage.examine(look)
    except TimeoutError:
        told = f"It has not answered within {WITHIN_S:.0f} s."
        return (wrong("store writes", told, "Does it hang, or is it out of reach? This gateway's log says more."),)
