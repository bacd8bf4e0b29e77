"""What streams cost, and what they leave behind: on a real Redis, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, cast

import pytest
import redis

from api.changes import Changes
from api.outlook import Outlooks
from api.streams import AWAY, OPENED, Stream, Streams
from api.telling import Event, Sign
from shared import scripts
from shared.connection import connect, connect_async
from shared.errors import JobNotFound, QueueUnavailable
from shared.settings import Settings
from tests.conftest import settings_for
from tests.desk import OTHER, TENANT, Desk
from tests.servers import RedisServer


@pytest.fixture
def desk(queue: redis.Redis) -> Desk:
    return Desk(queue)


@asynccontextmanager
async def streams_of(settings: Settings) -> AsyncGenerator[tuple[Streams, Changes]]:
    client = connect_async(settings)
    changes = Changes(client)
    streams = Streams(client, changes, Outlooks(client))
    tasks = [asyncio.create_task(part.run()) for part in (changes, streams)]
    try:
        yield streams, changes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()


async def next_of(stream: Stream, name: str) -> Event:
    """The next event of this class; those before it are read over."""
    async with asyncio.timeout(20):
        async for one in stream:
            if isinstance(one, Event) and type(one.body).__name__ == name:
                return one
    raise AssertionError(f"no {name}")


async def away(stream: Stream) -> None:
    """Read on until the stream says that the queue does not answer."""
    async with asyncio.timeout(20):
        async for one in stream:
            if one == AWAY:
                return
    raise AssertionError("the outage was not told")


def scripts_run(desk: Desk) -> int:
    stats = cast("Any", desk.client).info("commandstats")
    return stats["cmdstat_fcall"]["calls"]


def test_many_who_follow_a_job_share_each_look_at_it(
    redis_settings: Settings, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.following.ROUND_S", 3600.0)

    async def follow() -> None:
        job = desk.submit()
        async with streams_of(redis_settings) as (streams, _), AsyncExitStack() as stack:
            followers = [await stack.enter_async_context(aclosing(streams.of_job(job.id, TENANT))) for _ in range(50)]
            for follower in followers:
                await next_of(follower, "Queued")
            lease = (await asyncio.to_thread(desk.claim)).lease
            for follower in followers:
                await next_of(follower, "Progressed")
            before = scripts_run(desk)
            await asyncio.to_thread(desk, scripts.progress(lease, 3))
            await asyncio.gather(*(next_of(follower, "Progressed") for follower in followers))
            assert scripts_run(desk) - before <= 6  # the report, one look, and what lies ahead

    asyncio.run(follow())


def test_who_leaves_is_forgotten(redis_settings: Settings, desk: Desk) -> None:
    async def follow() -> None:
        job = desk.submit()
        async with streams_of(redis_settings) as (streams, changes):
            followers = [streams.of_job(job.id, TENANT), streams.of_job(job.id, TENANT), streams.of_tenant(TENANT)]
            for follower in followers:
                assert isinstance(await anext(follower), Sign)
            assert changes.topics == {f"job {job.id}", f"tenant {TENANT}"}
            for follower in followers:
                await follower.aclose()
            assert not changes.topics
            assert not streams.followed

    asyncio.run(follow())


def test_a_stream_of_no_job_of_the_tenants_begins_not_at_all(redis_settings: Settings, desk: Desk) -> None:
    async def follow() -> None:
        job = desk.submit()
        async with streams_of(redis_settings) as (streams, changes):
            async with aclosing(streams.of_job(job.id, TENANT)) as own:
                assert await anext(own) == OPENED
                with pytest.raises(JobNotFound):  # though others follow it here
                    await anext(streams.of_job(job.id, OTHER))
            assert not changes.topics

    asyncio.run(follow())


def test_an_outage_that_lasts_ends_who_has_no_patience_and_nobody_else(own_redis_server: RedisServer) -> None:
    settings = settings_for(own_redis_server)

    async def follow(desk: Desk) -> None:
        job = desk.submit()
        async with (
            streams_of(settings) as (streams, _),
            aclosing(streams.of_job(job.id, TENANT, outage_s=0.1)) as hasty,
            aclosing(streams.of_job(job.id, TENANT)) as patient,
        ):
            for stream in (hasty, patient):
                await next_of(stream, "Queued")
            await asyncio.to_thread(own_redis_server.kill)
            with pytest.raises(QueueUnavailable):
                await next_of(hasty, "Progressed")
            await away(patient)
            await asyncio.to_thread(own_redis_server.start)
            await asyncio.to_thread(desk.claim)
            await next_of(patient, "Progressed")

    with connect(settings) as client:
        asyncio.run(follow(Desk(client)))


def test_an_outage_right_after_another_is_told_too(own_redis_server: RedisServer) -> None:
    settings = settings_for(own_redis_server)

    async def follow(desk: Desk) -> None:
        job = desk.submit()
        async with streams_of(settings) as (streams, _), aclosing(streams.of_job(job.id, TENANT)) as stream:
            await next_of(stream, "Queued")
            await asyncio.to_thread(own_redis_server.kill)
            await away(stream)
            await asyncio.to_thread(own_redis_server.start)
            await asyncio.to_thread(desk.claim)
            await next_of(stream, "Progressed")
            await asyncio.to_thread(own_redis_server.kill)
            await away(stream)

    with connect(settings) as client:
        asyncio.run(follow(Desk(client)))
