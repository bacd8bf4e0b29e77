"""What other versions loaded into Redis is dropped once nobody uses it, and loaded again if somebody does."""

from __future__ import annotations

import asyncio
import time

from api.libraries import drop_unused
from shared import scripts
from shared.call import library
from shared.connection import connect, connect_async, run
from shared.keys import DEFAULT, channel_of_library
from shared.settings import Settings
from tests.conftest import settings_for
from tests.servers import RedisServer

YOUNG, OLD, THEIRS = "darkroom_" + "1" * 16, "darkroom_" + "2" * 16, "somebody_elses"
A_DAY_S = 24 * 3600


def library_of(name: str) -> str:
    return f"#!lua name={name}\nredis.register_function('{name}_fleet', function() return 1 end)"


def drop(settings: Settings) -> None:
    async def main() -> None:
        client = connect_async(settings)
        try:
            await drop_unused(client)
        finally:
            await client.aclose()

    asyncio.run(main())


def test_libraries_that_nobody_has_used_for_a_week_are_dropped(own_redis_server: RedisServer) -> None:
    settings = settings_for(own_redis_server)
    with connect(settings) as client:
        for name in (YOUNG, OLD, THEIRS):
            client.function_load(library_of(name))
        now_ms = time.time() * 1000
        noted = {YOUNG: now_ms - 6 * A_DAY_S * 1000, OLD: now_ms - 8 * A_DAY_S * 1000}
        client.zadd(f"{DEFAULT.prefix}libraries", noted)

        drop(settings)

        loaded = {one[1].decode() for one in client.function_list()}
        assert loaded == {YOUNG, THEIRS, library().name}
        client.function_delete(library().name)
        run(client, scripts.fleet())


def test_a_library_that_another_darkroom_on_the_server_uses_is_kept(own_redis_server: RedisServer) -> None:
    """It is in another database, so what it notes is not seen here; that it listens is."""
    settings = settings_for(own_redis_server)
    with connect(settings) as client, client.pubsub() as theirs:  # pyright: ignore[reportUnknownMemberType]: **kwargs
        for name in (YOUNG, OLD):
            client.function_load(library_of(name))
        client.zadd(f"{DEFAULT.prefix}libraries", {OLD: 1})  # we used it once; the other one never
        theirs.subscribe(channel_of_library(OLD))
        theirs.get_message(timeout=5)  # pyright: ignore[reportUnknownMemberType]: **kwargs

        drop(settings)

        assert {one[1].decode() for one in client.function_list()} == {YOUNG, OLD, library().name}
