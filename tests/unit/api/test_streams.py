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
from api.streams import OPENED, Stream, Streams
from api.telling import Event, Sign
from shared import scripts
from shared.connection import connect_async
from shared.errors import JobNotFound
from shared.settings import Settings
from tests.desk import OTHER, TENANT, Desk


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
