"""Many callers at once: few pipelines, and each gets its own answer, or its own error."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import pytest
import redis
from redis.asyncio import Redis

from api.together import MOST_CALLS, MOST_READS, MOST_TRIPS, Together
from shared import scripts
from shared.connection import ANSWER_TIMEOUT_S, connect_async
from shared.errors import JobNotFound, QueueUnavailable
from shared.jobs import Job, JobId
from shared.keys import DEFAULT
from shared.settings import Settings
from tests.conftest import settings_for
from tests.desk import OTHER, TENANT, Desk
from tests.servers import RedisServer

T = TypeVar("T")
Ask = Callable[..., Awaitable[object]]


def in_loop(settings: Settings, work: Callable[[Redis, Together], Awaitable[T]]) -> T:
    async def main() -> T:
        client = connect_async(settings)
        try:
            return await work(client, Together(client))
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_a_crowd_is_answered_in_few_pipelines_each_with_its_own(
    redis_settings: Settings, queue: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(queue)
    jobs = [desk.submit() for _ in range(3 * MOST_CALLS)]
    pipelines = 0

    async def work(client: Redis, together: Together) -> list[JobId]:
        make = client.pipeline

        def counted(*, transaction: bool) -> object:
            nonlocal pipelines
            pipelines += 1
            return make(transaction=transaction)

        monkeypatch.setattr(client, "pipeline", counted)
        found = await asyncio.gather(*(together.run(scripts.read(job.id, TENANT)) for job in jobs))
        return [job.id for job in found]

    assert in_loop(redis_settings, work) == [job.id for job in jobs]
    assert pipelines <= 3 + MOST_TRIPS


def test_one_that_fails_fails_alone(redis_settings: Settings, queue: redis.Redis) -> None:
    job = Desk(queue).submit()

    async def work(_client: Redis, together: Together) -> list[object]:
        calls = (scripts.read(job_id, TENANT) for job_id in (job.id, JobId("nobody"), job.id))
        return await asyncio.gather(*map(together.run, calls), return_exceptions=True)

    first, second, third = in_loop(redis_settings, work)
    assert first == third == job
    assert isinstance(second, JobNotFound)


def test_one_who_leaves_takes_nobody_along(redis_settings: Settings, queue: redis.Redis) -> None:
    job = Desk(queue).submit()

    async def work(_client: Redis, together: Together) -> object:
        leaves = asyncio.create_task(together.run(scripts.read(job.id, TENANT)))
        stays = asyncio.create_task(together.run(scripts.read(job.id, TENANT)))
        await asyncio.sleep(0)
        leaves.cancel()
        return await stays

    assert in_loop(redis_settings, work) == job


def test_who_asks_just_as_the_last_trips_end_is_taken_along(
    redis_settings: Settings, queue: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Desk(queue).submit()

    async def work(client: Redis, together: Together) -> list[Job]:
        ask, may_end, answered = (
            cast("Ask", client.execute_command),  # pyright: ignore[reportUnknownMemberType]: **options
            asyncio.Event(),
            asyncio.Queue[None](),
        )

        async def held(*words: str) -> object:
            reply = await ask(*words)
            answered.put_nowait(None)
            await may_end.wait()
            return reply

        monkeypatch.setattr(client, "execute_command", held)

        async def again() -> Job:
            await together.read(job.id, TENANT)
            return await together.read(job.id, TENANT)

        asked = list[asyncio.Task[Job]]()
        for number in range(MOST_TRIPS):
            asked.append(asyncio.create_task(together.read(job.id, TENANT) if number else again()))
            await answered.get()
        may_end.set()
        async with asyncio.timeout(5):
            return await asyncio.gather(*asked)

    Desk(queue).read(job)  # Redis knows the library
    assert in_loop(redis_settings, work) == [job] * MOST_TRIPS


def test_a_record_that_can_not_be_read_is_the_error_of_who_asked_for_it(
    redis_settings: Settings, queue: redis.Redis
) -> None:
    desk = Desk(queue)
    theirs, mine = desk.submit(tenant=OTHER), desk.submit()
    queue.hset(f"{DEFAULT.prefix}job:{theirs.id}", "status", "of a later version")

    async def work(_client: Redis, together: Together) -> list[object]:
        asked = (together.read(theirs.id, OTHER), together.read(mine.id, TENANT))
        return [*await asyncio.gather(*asked, return_exceptions=True)]

    unread, read = in_loop(redis_settings, work)
    assert isinstance(unread, ValueError)
    assert read == mine


def test_when_redis_goes_away_all_are_told_and_later_ones_are_answered(own_redis_server: RedisServer) -> None:
    settings = settings_for(own_redis_server)

    async def work(_client: Redis, together: Together) -> tuple[list[object], object]:
        await together.run(scripts.fleet())
        own_redis_server.kill()
        asked = (together.run(scripts.fleet()) for _ in range(5))
        told: list[object] = [*await asyncio.gather(*asked, return_exceptions=True)]
        own_redis_server.start()
        return told, await together.run(scripts.fleet())

    told, later = in_loop(settings, work)
    assert [type(error) for error in told] == [QueueUnavailable] * 5
    assert later == scripts.Fleet((), ())


def test_of_a_frozen_redis_all_are_told_at_once(own_redis_server: RedisServer) -> None:
    settings = settings_for(own_redis_server)

    async def work(_client: Redis, together: Together) -> tuple[set[type], float]:
        await together.run(scripts.fleet())
        own_redis_server.signal(signal.SIGSTOP)
        crowd = range(10 * MOST_TRIPS * MOST_READS)
        asked = [asyncio.create_task(together.read(JobId("nobody"), TENANT)) for _ in crowd]
        done, _ = await asyncio.wait(asked, timeout=2.5 * ANSWER_TIMEOUT_S)
        own_redis_server.signal(signal.SIGCONT)
        told = {type(error) for error in await asyncio.gather(*asked, return_exceptions=True)}
        return told, len(done) / len(asked)

    assert in_loop(settings, work) == ({QueueUnavailable}, 1.0)
