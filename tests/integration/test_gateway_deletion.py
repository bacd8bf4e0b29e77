"""Jobs and pictures go: when somebody says so, and when they were kept long enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.retention import Retention
from api.storage import Storage
from shared.connection import connect_async
from shared.contract import JobBody
from shared.errors import ImageNotFound, LeaseLost
from shared.jobs import Image, image_key, new_job_id
from shared.keys import DEFAULT
from shared.object_store import ObjectStore
from shared.scripts import Claimed
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until


def submit(gateway: Serving, **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def delete(gateway: Serving, job: JobBody) -> int:
    return gateway.http.delete(job.urls.get).status_code


def draw(hand: Hand) -> Image:
    taken = hand.take()
    image = hand.draw(taken, 0, b"data")
    hand.finish(taken)
    return image


def is_stored(hand: Hand, key: str) -> bool:
    try:
        hand.store.get(key)
    except ImageNotFound:
        return False
    return True


def has_nothing_to_delete(hand: Hand) -> bool:
    return hand.redis.zcard(f"{DEFAULT.prefix}trash") == 0


def statuses(gateway: Serving, job: JobBody) -> set[int]:
    paths = (job.urls.get, f"{job.urls.get}/images/0", job.urls.preview)
    return {gateway.http.get(path).status_code for path in paths}


class TestDelete:
    def test_a_job_is_gone_with_its_pictures(self, gateway: Serving, hand: Hand) -> None:
        job, other = submit(gateway), submit(gateway)
        images = [draw(hand) for _ in range(2)]

        response = gateway.http.delete(job.urls.get)

        assert (response.status_code, response.content) == (204, b"")
        assert statuses(gateway, job) == {404}
        assert [is_stored(hand, image.key) for image in images] == [False, True]
        assert [one["id"] for one in gateway.http.get("/v1/jobs").json()["data"]] == [other.id]
        assert has_nothing_to_delete(hand)

    def test_a_second_time_there_is_none(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)

        assert (delete(gateway, job), delete(gateway, job)) == (204, 404)
        assert gateway.http.delete(f"/v1/jobs/{new_job_id()}").status_code == 404
        assert gateway.http.delete("/v1/jobs/x").status_code == 404

    def test_a_waiting_job_is_not_drawn(self, gateway: Serving, hand: Hand) -> None:
        job, other = submit(gateway), submit(gateway)

        assert delete(gateway, job) == 204

        assert hand.take().job.id == other.id

    def test_a_running_job_is_dropped_and_what_it_uploads_late_is_deleted(
        self, gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shared.scripts.jobs.LATE_UPLOAD_S", 5.0)
        job = submit(gateway, num_images=2)
        taken = hand.take()
        first = hand.draw(taken, 0, b"data")
        hand.show(taken, 1, b"\xff\xd8")

        assert delete(gateway, job) == 204

        assert statuses(gateway, job) == {404}
        assert not is_stored(hand, first.key)
        late = upload_late(hand, taken)
        wait_until(lambda: not is_stored(hand, late), limit_s=60, what="the late picture is deleted")
        wait_until(lambda: has_nothing_to_delete(hand), limit_s=10, what="nothing is left to delete")

    def test_pictures_that_another_job_shows_stay_until_that_is_deleted_too(self, gateway: Serving, hand: Hand) -> None:
        first = submit(gateway, seed=7)
        image = draw(hand)
        second = submit(gateway, seed=7)

        assert delete(gateway, first) == 204
        assert gateway.http.get(f"{second.urls.get}/images/0").content == b"data"
        assert delete(gateway, second) == 204

        assert not is_stored(hand, image.key)
        assert submit(gateway, seed=7).status == "queued"

    def test_a_page_of_another_origin_may_not(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)

        response = gateway.http.delete(job.urls.get, headers={"Sec-Fetch-Site": "cross-site"})

        assert response.status_code == 403
        assert gateway.http.get(job.urls.get).status_code == 200


def upload_late(hand: Hand, taken: Claimed) -> str:
    """Upload the second picture as a worker does that has not heard yet."""
    with pytest.raises(LeaseLost):
        hand.draw(taken, 1, b"late")
    key = image_key(taken.job.tenant, taken.job.id, 1, taken.job.params.output_format)
    assert is_stored(hand, key)
    return key


class TestRetention:
    """Two gateways that keep jobs for a second; both delete."""

    @pytest.fixture
    def hasty(self, gateway: Serving, hand: Hand) -> Iterator[Serving]:
        del hand  # empties Redis first
        settings = gateway.settings.model_copy(update={"keep_finished_s": 1, "lease_s": 0.5})
        with serving(settings) as one, serving(settings):
            yield one

    def test_jobs_and_pictures_that_were_kept_long_enough_go(
        self, hasty: Serving, hand: Hand, caplog: pytest.LogCaptureFixture
    ) -> None:
        waiting, *ended = [submit(hasty) for _ in range(6)][::-1]
        keys = [draw(hand).key for _ in ended]

        wait_until(lambda: not any(is_stored(hand, key) for key in keys), limit_s=60, what="the pictures are deleted")

        assert [job["id"] for job in hasty.http.get("/v1/jobs").json()["data"]] == [waiting.id]
        assert hasty.http.get(ended[0].urls.get).status_code == 404
        wait_until(lambda: has_nothing_to_delete(hand), limit_s=10, what="nothing is left to delete")
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    def test_a_long_list_is_worked_off(self, hasty: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.retention.MOST_AT_ONCE", 2)
        for seed in range(7):
            submit(hasty, seed=seed)
        keys = [draw(hand).key for _ in range(7)]

        wait_until(lambda: has_nothing_to_delete(hand) and not any(is_stored(hand, key) for key in keys),
                   limit_s=60, what="the pictures are deleted")  # fmt: skip
        assert hasty.http.get("/v1/jobs").json()["data"] == []


class TestWithoutStore:
    """What is to be deleted while the store is away is deleted when it is back."""

    @pytest.fixture
    def s3(self, tmp_path: Path) -> Iterator[S3Server]:
        with S3Server(tmp_path / "s3") as server:
            yield server

    def test_a_deletion_is_answered_and_made_good(
        self, own_redis_server: RedisServer, s3: S3Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="api.retention")
        settings = settings_for(own_redis_server, s3).model_copy(update={"lease_s": 0.5})
        with serving(settings) as served, Hand(settings) as other:
            wait_until(lambda: served.http.get("/readyz").status_code == 200, limit_s=20, what="the gateway is ready")
            job = submit(served)
            image = draw(other)
            s3.kill()

            assert delete(served, job) == 204
            assert statuses(served, job) == {404}
            assert not has_nothing_to_delete(other)
            wait_until(lambda: told(caplog, logging.DEBUG) >= 2, limit_s=60, what="it was tried again")
            assert told(caplog, logging.ERROR) == 1

            s3.start()
            wait_until(lambda: has_nothing_to_delete(other), limit_s=60, what="nothing is left to delete")
            assert not is_stored(other, image.key)

    def test_what_the_store_refuses_makes_way_for_the_rest(
        self, own_redis_server: RedisServer, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("api.retention.MOST_AT_ONCE", 2)
        settings = settings_for(own_redis_server, s3_server)
        with Hand(settings) as hand:
            jobs, keys = drawn(settings, hand, 4)
            for job in jobs:
                grow_old(hand, job)

            clear_away(settings.model_copy(update={"s3_secret_key": SecretStr("wrong")}))
            clear_away(settings)

            assert sorted(is_stored(hand, key) for key in keys) == [False, False, True, True]
            assert not has_nothing_to_delete(hand)  # the other two are tried again, later

    def test_jobs_are_forgotten_all_the_same(self, own_redis_server: RedisServer, s3: S3Server) -> None:
        settings = settings_for(own_redis_server, s3)
        with Hand(settings) as hand:
            jobs, _ = drawn(settings, hand, 2)
            s3.kill()
            for job in jobs:
                grow_old(hand, job)
                clear_away(settings)
                assert not hand.redis.exists(f"{DEFAULT.prefix}job:{job.id}")
            assert not has_nothing_to_delete(hand)


def drawn(settings: Settings, hand: Hand, number: int) -> tuple[list[JobBody], list[str]]:
    """Jobs that have their pictures, and the keys of these; the gateway is gone, and with it its sweep."""
    with serving(settings) as served:
        wait_until(lambda: served.http.get("/readyz").status_code == 200, limit_s=20, what="the gateway is ready")
        jobs = [submit(served, seed=seed) for seed in range(number)]
        return jobs, [draw(hand).key for _ in jobs]


def grow_old(hand: Hand, job: JobBody) -> None:
    hand.redis.zadd(f"{DEFAULT.prefix}expiry", {job.id: 1}, xx=True)


def clear_away(settings: Settings) -> None:
    """One round, as a gateway would."""

    async def once() -> None:
        storage = Storage(ObjectStore.from_settings(settings))
        async with connect_async(settings) as redis:
            await Retention(redis, storage, period_s=1.0).round()

    asyncio.run(once())


def told(caplog: pytest.LogCaptureFixture, level: int) -> int:
    return sum(record.name == "api.retention" and record.levelno == level for record in caplog.records)
