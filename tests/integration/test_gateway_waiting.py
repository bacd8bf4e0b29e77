"""An answer that is held until the job has ended, or moved. Were no word of it sent, the reader here would give up."""

from __future__ import annotations

import logging
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import pytest

from shared.contract import JobBody, Problem
from shared.jobs import JobStatus, new_job_id
from shared.keys import DEFAULT
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

LONGER_THAN_THE_READER = "60"


@pytest.fixture(autouse=True)
def without_looks_that_make_good_for_lost_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.changes.LOOK_ANYWAY_S", 3600.0)


def submit(gateway: Serving) -> JobBody:
    return JobBody.model_validate_json(gateway.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status().content)


def held(gateway: Serving, job: JobBody, **query: str) -> Future[httpx2.Response]:
    """Ask in a thread; the answer is most probably being held when this returns."""
    executor = ThreadPoolExecutor(1)
    asked = executor.submit(
        lambda: gateway.http.get(job.urls.get, params={"wait": LONGER_THAN_THE_READER, **query}),
    )
    executor.shutdown(wait=False)
    time.sleep(0.3)
    return asked


def body(asked: Future[httpx2.Response]) -> JobBody:
    return JobBody.model_validate_json(asked.result(40).raise_for_status().content)


class TestHeldAnswers:
    def test_comes_when_the_job_has_ended_and_not_before(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)
        asked = held(gateway, job)
        taken = hand.take()
        hand.show(taken, 1, b"jpeg")
        hand.draw(taken, 0, b"data")
        assert not asked.done()
        hand.finish(taken)
        ended = body(asked)
        assert (ended.status, len(ended.images)) == (JobStatus.SUCCEEDED, 1)

    def test_comes_with_the_next_move_for_who_names_a_version(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)
        asked = held(gateway, job, version=str(job.version))
        hand.take()
        moved = body(asked)
        assert (moved.status, moved.version) == (JobStatus.RUNNING, job.version + 1)

    def test_comes_at_once_if_the_version_is_an_old_one(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)
        assert body(held(gateway, job, version=str(job.version - 1))).status is JobStatus.QUEUED

    def test_comes_at_once_if_the_job_has_ended(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)
        gateway.http.post(f"{job.urls.get}/cancel").raise_for_status()
        assert body(held(gateway, job)).status is JobStatus.CANCELED

    def test_says_how_the_job_stands_when_the_time_is_over(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)
        assert body(held(gateway, job, wait="0.1")).status is JobStatus.QUEUED

    def test_of_a_job_that_is_deleted_meanwhile_is_that_there_is_none(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)
        asked = held(gateway, job)
        gateway.http.delete(job.urls.get).raise_for_status()
        assert asked.result(40).status_code == 404

    def test_of_an_unknown_job_is_not_held(self, gateway: Serving, hand: Hand) -> None:
        del hand
        asked = gateway.http.get(f"/v1/jobs/{new_job_id()}", params={"wait": LONGER_THAN_THE_READER})
        assert asked.status_code == 404

    def test_many_wait_and_each_hears_of_its_own_job(self, gateway: Serving, hand: Hand) -> None:
        asked = {job.id: [held(gateway, job), held(gateway, job)] for job in [submit(gateway) for _ in range(4)]}
        for _ in range(4):
            taken = hand.take()
            hand.draw(taken, 0, b"data")
            hand.finish(taken)
            assert [body(answer).id for answer in asked.pop(taken.job.id)] == [taken.job.id] * 2
            assert not any(answer.done() for answers in asked.values() for answer in answers)

    def test_of_strange_word_nobody_takes_harm(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)
        asked = held(gateway, job, version=str(job.version))
        hand.redis.publish(DEFAULT.changes, b"\xff\xfe")  # pyright: ignore[reportUnknownMemberType]: **kwargs
        hand.take()
        assert body(asked).status is JobStatus.RUNNING

    @pytest.mark.parametrize(
        ("query", "field"), [({"wait": "61"}, "wait"), ({"wait": "-1"}, "wait"), ({"version": "x"}, "version")]
    )
    def test_too_long_is_refused(self, gateway: Serving, hand: Hand, query: dict[str, str], field: str) -> None:
        del hand
        asked = gateway.http.get(f"/v1/jobs/{new_job_id()}", params=query)
        assert asked.status_code == 422
        assert [wrong.field for wrong in Problem.model_validate_json(asked.content).errors] == [field]

    def test_nobody_waits_any_more_for_who_has_left(
        self, gateway: Serving, hand: Hand, caplog: pytest.LogCaptureFixture
    ) -> None:
        del hand
        job = submit(gateway)
        caplog.set_level(logging.DEBUG, "api.edge")
        with pytest.raises(httpx2.ReadTimeout):
            gateway.http.get(job.urls.get, params={"wait": LONGER_THAN_THE_READER}, timeout=0.5)
        wait_until(lambda: f"GET {job.urls.get}" in caplog.text, limit_s=20, what="the gateway has ended the request")


def test_a_restart_of_redis_is_waited_out(own_redis_server: RedisServer, s3_server: S3Server) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with serving(settings) as gateway, Hand(settings) as hand:
        job = submit(gateway)
        asked = held(gateway, job)
        own_redis_server.kill()
        own_redis_server.start()
        taken = hand.take()
        hand.draw(taken, 0, b"data")
        hand.finish(taken)
        assert body(asked).status is JobStatus.SUCCEEDED


def test_a_frozen_redis_is_waited_out(
    own_redis_server: RedisServer, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.changes.SILENCE_S", 0.1)
    settings = settings_for(own_redis_server, s3_server)
    with serving(settings) as gateway, Hand(settings) as hand:
        job = submit(gateway)
        asked = held(gateway, job)
        own_redis_server.signal(signal.SIGSTOP)
        try:
            time.sleep(1)  # the subscription is given up, and a new one has no answer
        finally:
            own_redis_server.signal(signal.SIGCONT)
        taken = hand.take()
        hand.draw(taken, 0, b"data")
        hand.finish(taken)
        assert body(asked).status is JobStatus.SUCCEEDED
