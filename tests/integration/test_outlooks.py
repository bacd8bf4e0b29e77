"""Why a job waits and how long, as the gateway tells it, on a real queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import redis
from redis.asyncio import Redis

from api.outlook import Outlooks
from shared import scripts
from shared.connection import connect, connect_async, run
from shared.contract import JobBody, WorkerState
from shared.settings import Settings
from tests.conftest import settings_for
from tests.desk import CARD, Desk, state
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer


def submit(gateway: Serving, **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", "reuse": False, **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def read(gateway: Serving, job: JobBody) -> JobBody:
    return JobBody.model_validate_json(gateway.http.get(job.urls.get).content)


def code(job: JobBody) -> str | None:
    return None if job.reason is None else job.reason.code


class TestThroughTheGateway:
    def test_a_waiting_job_is_told_its_place_and_time(self, gateway: Serving, hand: Hand) -> None:
        del hand
        first, second = submit(gateway), submit(gateway)

        assert [job.reason and job.reason.message for job in (first, second)] == [
            "It goes next.",
            "1 job goes before it.",
        ]
        assert first.time_left is not None
        assert second.time_left is not None
        assert 0 < first.time_left.seconds < second.time_left.seconds

    def test_a_list_tells_the_same_as_each_job(self, gateway: Serving, hand: Hand) -> None:
        del hand
        jobs = [submit(gateway) for _ in range(3)]

        listed = gateway.http.get("/v1/jobs").json()["data"]

        assert [JobBody.model_validate(one).reason for one in listed[::-1]] == [job.reason for job in jobs]
        assert all(one["time_left"] for one in listed)

    def test_a_running_job_has_time_left_and_an_ended_one_has_none(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)
        taken = hand.take()

        running = read(gateway, job)
        assert (running.reason, running.time_left is None) == (None, False)

        hand.draw(taken, 0, b"one")
        hand.finish(taken)
        ended = read(gateway, job)
        assert (ended.reason, ended.time_left) == (None, None)

    def test_a_pause_is_told_at_once_by_the_gateway_that_was_asked_for_it(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)

        assert gateway.http.post("/v1/queue/pause").status_code == 200
        paused = read(gateway, job)
        assert gateway.http.post("/v1/queue/resume").status_code == 200

        assert (code(paused), paused.time_left) == ("paused", None)
        assert code(read(gateway, job)) == "behind"

    def test_what_was_measured_is_what_is_expected(
        self, gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.outlook.FRESH_S", 0.0)
        monkeypatch.setattr("api.outlook.MOST_S", 0.0)
        measured = {"width": 64, "height": 64, "guided": True, "step_ms": 20_000, "picture_ms": 20_000}
        one = WorkerState.model_validate(
            {**state(hand.worker).model_dump(), "model": hand.card.id, "speeds": [measured], "pace": 2.0}
        )
        run(hand.redis, scripts.heartbeat(one, life_s=600))

        job = submit(gateway, num_inference_steps=4, num_images=2)

        # The gateway may know the worker as it was half a second ago: its speed from the submit, its pace from a look.
        assert job.time_left is not None
        assert round(job.time_left.seconds) in {2 * (4 * 20 + 20), 2 * 2 * (4 * 20 + 20)}


@asynccontextmanager
async def looking(settings: Settings) -> AsyncGenerator[tuple[Outlooks, Redis]]:
    client = connect_async(settings)
    try:
        yield Outlooks(client), client
    finally:
        await client.aclose()


async def scripts_run(client: Redis) -> int:
    told = await client.info("commandstats")  # pyright: ignore[reportUnknownMemberType]: **kwargs
    return told.get("cmdstat_fcall", {}).get("calls", 0)


class TestLooks:
    def test_a_thousand_polls_share_a_few_looks(self, own_redis_server: RedisServer) -> None:
        settings = settings_for(own_redis_server)  # nobody else runs scripts there
        with connect(settings) as client:
            desk = Desk(client)
            desk(scripts.announce(CARD))
            desk(scripts.heartbeat(state(), life_s=600))
            job = desk.submit()

        async def poll() -> tuple[list[JobBody], int]:
            async with looking(settings) as (outlooks, client):
                before = await scripts_run(client)
                bodies = await asyncio.gather(*(outlooks.body(job) for _ in range(1000)))
                return bodies, await scripts_run(client) - before

        bodies, looks = asyncio.run(poll())

        assert {code(body) for body in bodies} == {"behind"}
        assert all(body.time_left for body in bodies)
        assert looks < 50  # two, unless the machine is so busy that they grow old meanwhile

    def test_a_poll_that_goes_away_spoils_no_other_one_s_look(
        self, redis_settings: Settings, queue: redis.Redis
    ) -> None:
        job = Desk(queue).submit()

        async def poll() -> JobBody:
            async with looking(redis_settings) as (outlooks, _):
                gone = asyncio.create_task(outlooks.body(job))
                stays = asyncio.create_task(outlooks.body(job))
                await asyncio.sleep(0)
                gone.cancel()
                return await stays

        assert code(asyncio.run(poll())) == "no_worker"

    def test_without_the_queue_a_job_is_said_without_its_outlook(self, own_redis_server: RedisServer) -> None:
        settings = settings_for(own_redis_server)
        client = connect(settings)
        job = Desk(client).submit()
        client.close()

        async def poll() -> tuple[list[JobBody], JobBody]:
            async with looking(settings) as (outlooks, _):
                own_redis_server.kill()
                away = await asyncio.gather(*(outlooks.body(job) for _ in range(100)))
                own_redis_server.start()
                outlooks.forget()
                return away, await outlooks.body(job)

        away, back = asyncio.run(poll())

        assert all((body.id, body.reason, body.time_left) == (job.id, None, None) for body in away)
        assert code(back) == "no_worker"

    def test_who_comes_while_the_next_look_is_taken_is_told_the_last(
        self, redis_settings: Settings, queue: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = Desk(queue).submit()

        async def poll() -> tuple[JobBody, JobBody]:
            async with looking(redis_settings) as (outlooks, client):
                await outlooks.body(job)
                monkeypatch.setattr("api.outlook.FRESH_S", 0.0)
                monkeypatch.setattr("api.outlook.MOST_S", 60.0)
                run(queue, scripts.announce(CARD))
                run(queue, scripts.heartbeat(state(), life_s=600))
                said = await outlooks.body(job)
                while (later := await outlooks.body(job)).reason == said.reason:
                    await client.ping()  # pyright: ignore[reportUnknownMemberType]: its argument
                return said, later

        said, later = asyncio.run(poll())

        assert (code(said), code(later)) == ("no_worker", "behind")
