"""Redis or the store away: 503 with Retry-After, nothing half-accepted, and well again by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.batches import BatchId
from shared.call import Call
from shared.contract import JobBody, Problem, Readiness
from shared.jobs import NewJob, Once, Submitted, Tenant, Terms
from shared.keys import DEFAULT
from shared.scripts import Sealed, seal_batch, submit
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until


@pytest.fixture
def redis(own_redis_server: RedisServer) -> RedisServer:
    return own_redis_server


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def gateway(redis: RedisServer, s3: S3Server) -> Iterator[Serving]:
    with serving(settings_for(redis, s3)) as served:
        yield served


@pytest.fixture
def hand(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings) as worker:
        yield worker


def problem_of(gateway: Serving, method: str, path: str) -> Problem:
    """Ask; check that the answer is a 503 that says when to come back."""
    body = {"prompt": "x"} if (method, path) == ("POST", "/v1/jobs") else None
    response = gateway.http.request(method, path, json=body)
    assert response.status_code == 503, response.text
    assert int(response.headers["Retry-After"]) > 0
    return Problem.model_validate_json(response.content)


def readiness(gateway: Serving) -> Readiness:
    response = gateway.http.get("/readyz")
    state = Readiness.model_validate_json(response.content)
    assert response.status_code == (200 if state.ready else 503)
    return state


def failing(gateway: Serving) -> set[str]:
    return {check.name for check in readiness(gateway).checks if not check.ok}


def test_redis_stopped_and_started_again(gateway: Serving, hand: Hand, redis: RedisServer) -> None:
    job = JobBody.model_validate_json(gateway.http.post("/v1/jobs", json={"prompt": "x"}).content)
    redis.kill()

    for method, path in (
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs"),
        ("GET", job.urls.get),
        ("POST", job.urls.cancel),
        ("GET", job.urls.preview),
        ("GET", f"{job.urls.get}/images/0"),
        ("GET", "/v1/models"),
    ):
        assert problem_of(gateway, method, path).code == "queue_unavailable"
    assert failing(gateway) == {"redis", "worker"}
    assert gateway.http.get("/healthz").status_code == 200
    assert gateway.http.post("/v1/jobs", json={"prompt": 5}).status_code in {422, 503}

    redis.start()
    wait_until(lambda: failing(gateway) == set(), limit_s=10, what="the gateway found Redis again")
    listed = gateway.http.get("/v1/jobs").json()["data"]
    assert [one["id"] for one in listed] == [job.id]
    del hand


def test_a_frozen_redis_is_answered_for_in_time(gateway: Serving, hand: Hand, redis: RedisServer) -> None:
    del hand
    redis.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert problem_of(gateway, "POST", "/v1/jobs").code == "queue_unavailable"
        assert time.monotonic() - began < 6
    finally:
        redis.signal(signal.SIGCONT)
    wait_until(lambda: failing(gateway) == set(), limit_s=10, what="the gateway found Redis again")
    assert gateway.http.get("/v1/jobs").json()["data"] == []


def test_a_submit_that_redis_accepts_too_late_is_taken_back(
    gateway: Serving,
    hand: Hand,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del hand

    # Redis knows the script by now: one that it does not know would have to be sent again.
    gateway.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status()

    def freeze_and_submit(job: NewJob, terms: Terms, *, once: Once | None, result: str | None) -> Call[Submitted]:
        redis.signal(signal.SIGSTOP)
        return submit(job, terms, once=once, result=result)

    monkeypatch.setattr("api.acceptance.submit", freeze_and_submit)
    try:
        assert problem_of(gateway, "POST", "/v1/jobs").code == "queue_unavailable"
    finally:
        redis.signal(signal.SIGCONT)

    wait_until(lambda: failing(gateway) == set(), limit_s=10, what="the gateway found Redis again")
    wait_until(
        lambda: len(gateway.http.get("/v1/jobs").json()["data"]) == 1,
        limit_s=30,
        what="the job that nobody waits for is gone",
    )
    assert "taken back" in caplog.text


def test_a_submit_that_is_repeated_after_an_outage_makes_one_job(
    gateway: Serving, hand: Hand, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status()
    headers = {"Idempotency-Key": "one"}

    def freeze_and_submit(job: NewJob, terms: Terms, *, once: Once | None, result: str | None) -> Call[Submitted]:
        redis.signal(signal.SIGSTOP)
        return submit(job, terms, once=once, result=result)

    with monkeypatch.context() as patch:
        patch.setattr("api.acceptance.submit", freeze_and_submit)
        try:
            lost = gateway.http.post("/v1/jobs", json={"prompt": "y"}, headers=headers)
        finally:
            redis.signal(signal.SIGCONT)
    assert lost.status_code == 503

    def again() -> str:
        response = gateway.http.post("/v1/jobs", json={"prompt": "y"}, headers=headers)
        return str(response.json()["id"]) if response.status_code == 202 else ""

    wait_until(lambda: again() != "", limit_s=10, what="the repetition was accepted")
    told = again()
    swept: set[object] = set()

    def has_swept() -> bool:
        swept.add(hand.redis.get(f"{DEFAULT.prefix}swept"))
        return len(swept) > 5

    # By then the gateway has looked for the submit that was never answered.
    wait_until(has_swept, limit_s=60, what="the gateway has swept five times")
    prompts = {job["id"]: job["params"]["prompt"] for job in gateway.http.get("/v1/jobs").json()["data"]}
    assert [job_id for job_id, prompt in prompts.items() if prompt == "y"] == [told]


def test_a_repetition_is_answered_while_the_store_is_away(gateway: Serving, hand: Hand, s3: S3Server) -> None:
    del hand
    headers = {"Idempotency-Key": "one"}
    first = gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers=headers).json()["id"]
    s3.kill()
    wait_until(lambda: failing(gateway) == {"object_store"}, limit_s=10, what="the gateway saw the store go")

    again = gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers=headers)

    assert (again.status_code, again.json()["id"]) == (202, first)
    assert problem_of(gateway, "POST", "/v1/jobs").code == "store_unavailable"


def test_a_store_that_hangs_keeps_no_dead_workers_job(
    redis: RedisServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.object_store.PROBE_TIMEOUT_S", 600.0)  # for as long as the test may take
    settings = settings_for(redis, s3).model_copy(update={"lease_s": 0.5})
    with serving(settings) as gateway, Hand(settings) as hand:
        wait_until(lambda: failing(gateway) == set(), limit_s=10, what="the gateway is ready")
        job = JobBody.model_validate_json(gateway.http.post("/v1/jobs", json={"prompt": "x"}).content)
        s3.signal(signal.SIGSTOP)
        try:
            for attempt in range(1, 4):
                hand.take(lease_s=0.5)
                wait_until(
                    lambda: gateway.http.get(job.urls.get).json()["status"] != "running",
                    limit_s=30,
                    what=f"attempt {attempt} was taken away",
                )
        finally:
            s3.signal(signal.SIGCONT)
        assert gateway.http.get(job.urls.get).json()["error"]["code"] == "worker_lost"


def test_the_store_stopped_and_started_again(gateway: Serving, hand: Hand, s3: S3Server) -> None:
    job = JobBody.model_validate_json(gateway.http.post("/v1/jobs", json={"prompt": "x"}).content)
    taken = hand.take()
    hand.draw(taken, 0, b"data")
    hand.finish(taken)
    s3.kill()
    wait_until(lambda: failing(gateway) == {"object_store"}, limit_s=10, what="the gateway saw the store go")

    assert problem_of(gateway, "POST", "/v1/jobs").code == "store_unavailable"
    assert problem_of(gateway, "GET", f"{job.urls.get}/images/0").code == "store_unavailable"
    assert gateway.http.get(job.urls.get).status_code == 200
    assert len(gateway.http.get("/v1/jobs").json()["data"]) == 1

    s3.start()
    wait_until(lambda: failing(gateway) == set(), limit_s=10, what="the gateway found the store again")
    assert gateway.http.get(f"{job.urls.get}/images/0").content == b"data"
    assert gateway.http.post("/v1/jobs", json={"prompt": "x"}).status_code == 202


def test_a_store_that_goes_away_in_the_middle_of_a_picture_breaks_the_answer_off(
    gateway: Serving, hand: Hand, s3: S3Server
) -> None:
    gateway.http.post("/v1/jobs", json={"prompt": "x"})
    taken = hand.take()
    hand.draw(taken, 0, bytes(32_000_000))

    with gateway.http.stream("GET", f"/v1/jobs/{taken.job.id}/images/0") as response:
        read = response.iter_raw(1 << 16)
        next(read)
        s3.kill()
        with pytest.raises(Exception, match="peer closed connection"):
            for _ in read:
                pass
    assert gateway.http.get("/healthz").status_code == 200


def test_a_gateway_that_starts_before_the_others_serves_when_they_come(
    redis: RedisServer, s3: S3Server, tmp_path: Path
) -> None:
    settings = settings_for(redis, s3)
    redis.stop()
    s3.stop()
    del tmp_path
    with serving(settings) as gateway:
        assert failing(gateway) == {"redis", "object_store", "worker"}
        messages = {check.name: check.message for check in readiness(gateway).checks}
        assert all(len(message) > 10 for message in messages.values())

        redis.start()
        s3.start()
        wait_until(lambda: failing(gateway) == {"worker"}, limit_s=10, what="Redis and store are seen")
        with Hand(settings) as hand:
            hand.arrive(ready=False)
            assert "loading" in readiness(gateway).checks[2].message
            hand.arrive()
            assert readiness(gateway).ready
            assert gateway.http.post("/v1/jobs", json={"prompt": "x"}).status_code == 202


def test_a_wrong_key_is_told_apart_from_an_outage(redis: RedisServer, s3: S3Server) -> None:
    settings = settings_for(redis, s3)
    with serving(settings.model_copy(update={"s3_secret_key": type(settings.redis_url)("wrong")})) as gateway:
        store = next(check for check in readiness(gateway).checks if check.name == "object_store")

        assert "DARKROOM_S3_SECRET_KEY" in store.message


def test_a_batch_whose_acceptance_is_never_answered_is_taken_back(
    gateway: Serving,
    hand: Hand,
    redis: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    del hand
    # The script is known from then on: what Redis must be sent again, it does not run when it thaws.
    gateway.http.post("/v1/batches", json=[{"prompt": "before"}]).raise_for_status()

    def freeze_and_seal(
        batch: BatchId, tenant: Tenant, *, name: str, total: int, keep_s: int, once: Once | None
    ) -> Call[Sealed]:
        redis.signal(signal.SIGSTOP)
        return seal_batch(batch, tenant, name=name, total=total, keep_s=keep_s, once=once)

    monkeypatch.setattr("api.acceptance.seal_batch", freeze_and_seal)
    try:
        answer = gateway.http.post("/v1/batches", json=[{"prompt": "x"}, {"prompt": "y"}])
    finally:
        redis.signal(signal.SIGCONT)
    assert Problem.model_validate_json(answer.content).code == "queue_unavailable"
    wait_until(lambda: "taken back" in caplog.text, limit_s=30, what="the batch that nobody waits for is gone")
    assert [batch["counts"]["total"] for batch in gateway.http.get("/v1/batches").json()["data"]] == [1]
    assert [job["params"]["prompt"] for job in gateway.http.get("/v1/jobs").json()["data"]] == ["before"]
