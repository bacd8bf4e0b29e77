"""Redis away, frozen, restarted or asked nonsense: what callers of the queue are told, and how soon."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest
import redis
import uvloop
from pydantic import SecretStr
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from api.together import Together
from shared import scripts
from shared.broker import WakeUps, make_app
from shared.call import Call
from shared.connection import LOOP_CONNECTIONS, connect, connect_async, run, run_async
from shared.errors import QueueUnavailable
from shared.keys import DEFAULT, queue_of
from shared.settings import Settings
from tests.conftest import settings_for
from tests.servers import RedisServer

T = TypeVar("T")

SOON_S = 10.0
"""Far above the time-outs, far below what redis-py and kombu do by themselves: wait for ever."""


def run_sync(settings: Settings, call: Call[T]) -> T:
    with connect(settings) as client:
        return run(client, call)


def run_in_loop(settings: Settings, call: Call[T]) -> T:
    async def main() -> T:
        client = connect_async(settings)
        try:
            return await run_async(client, call)
        finally:
            await client.aclose()

    return asyncio.run(main())


def run_together(settings: Settings, call: Call[T]) -> T:
    async def main() -> T:
        client = connect_async(settings)
        try:
            return await Together(client).run(call)
        finally:
            await client.aclose()

    return asyncio.run(main())


Runner = Callable[[Settings, Call[scripts.Fleet]], scripts.Fleet]
every_way = pytest.mark.parametrize("runner", [run_sync, run_in_loop, run_together])


@every_way
def test_a_call_runs_on_a_redis_that_has_never_seen_its_library(redis_settings: Settings, runner: Runner) -> None:
    with connect(redis_settings) as client:
        client.function_flush()
    assert runner(redis_settings, scripts.fleet()) == scripts.Fleet((), ())


@every_way
def test_a_redis_that_is_away_is_told_at_once(own_redis_server: RedisServer, runner: Runner) -> None:
    settings = settings_for(own_redis_server)
    own_redis_server.kill()
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        runner(settings, scripts.fleet())
    assert time.monotonic() - begun < SOON_S


@every_way
def test_a_redis_that_is_frozen_is_told_soon(own_redis_server: RedisServer, runner: Runner) -> None:
    settings = settings_for(own_redis_server)
    own_redis_server.signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        runner(settings, scripts.fleet())
    assert time.monotonic() - begun < SOON_S
    own_redis_server.signal(signal.SIGCONT)


def test_a_burst_of_calls_waits_for_its_turn(redis_settings: Settings) -> None:
    async def main() -> list[scripts.Fleet]:
        client = connect_async(redis_settings)
        try:
            return await asyncio.gather(*(run_async(client, scripts.fleet()) for _ in range(10 * LOOP_CONNECTIONS)))
        finally:
            await client.aclose()

    assert asyncio.run(main()) == [scripts.Fleet((), ())] * (10 * LOOP_CONNECTIONS)


def test_connections_of_before_a_restart_are_replaced(own_redis_server: RedisServer) -> None:
    with connect(settings_for(own_redis_server)) as client:
        run(client, scripts.fleet())
        own_redis_server.kill()
        own_redis_server.start()
        run(client, scripts.fleet())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_was_reset_while_nobody_used_it_is_known_for_lost(
    own_redis_server: RedisServer, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def ask_on(connection: AbstractConnection) -> None:
        while True:
            await asyncio.sleep(0.1)
            await connection.send_command("PING")

    async def main() -> None:
        client = connect_async(settings_for(own_redis_server))
        connection = await client.connection_pool.get_connection()
        own_redis_server.signal(signal.SIGSTOP)
        await connection.send_command("PING")
        own_redis_server.kill()  # with a question unread, so that the system resets the connection
        try:
            with pytest.raises(redis.ConnectionError):
                await asyncio.wait_for(ask_on(connection), SOON_S)
            own_redis_server.start()
            await connection.connect()
            await connection.send_command("PING")
        finally:
            await client.connection_pool.release(connection)
            await client.aclose()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("url", ["rediss://redis.example:6380/0", "redis://redis.example:6379/0"])
def test_every_kind_of_connection_tells_of_its_loss(url: str) -> None:
    pool = connect_async(Settings(redis_url=SecretStr(url))).connection_pool
    kinds = {kind.__name__ for kind in pool.connection_class.__mro__}
    assert {"_TellsOfItsLoss", "SSLConnection" if url.startswith("rediss") else "Connection"} <= kinds


def test_a_wrong_call_is_not_taken_for_an_outage(queue: redis.Redis) -> None:
    queue.set(DEFAULT.prefix + "workers", "not a sorted set")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        run(queue, scripts.fleet())


def test_a_wake_up_waits_in_the_queue_of_its_model(queue: redis.Redis, redis_settings: Settings) -> None:
    wake_ups = WakeUps(redis_settings)
    wake_ups.send("segmind/SSD-1B")
    wake_ups.close()
    assert queue_of("segmind/SSD-1B") == "gpu.segmind-ssd-1b"
    assert queue.llen("gpu.segmind-ssd-1b") == 1


def test_wake_ups_over_tls_check_the_certificate() -> None:
    app = cast("Any", make_app(Settings(redis_url=SecretStr("rediss://redis.example:6380/0"))))
    assert app.connection().ssl == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


def test_a_wake_up_that_can_not_be_sent_is_told_soon(own_redis_server: RedisServer) -> None:
    wake_ups = WakeUps(settings_for(own_redis_server))
    wake_ups.send("a/model")
    own_redis_server.signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        wake_ups.send("a/model")
    assert time.monotonic() - begun < SOON_S
    own_redis_server.signal(signal.SIGCONT)
    own_redis_server.kill()
    with pytest.raises(QueueUnavailable):
        wake_ups.send("a/model")
    own_redis_server.start()
    wake_ups.send("a/model")
    wake_ups.close()
