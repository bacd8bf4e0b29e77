"""Redis or the store away while a dialect's caller asks or waits: told in the dialect's words, nothing left running."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Final

import httpx2
import pytest

import api.errand
from tests.conftest import settings_for
from tests.integration.artist import STUDIO_CARD
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

ASKED: Final = {
    "openai": ("/v1/images/generations", {"prompt": "a red cube"}),
    "openai-stream": ("/v1/images/generations", {"prompt": "a red cube", "stream": True}),
    "automatic1111": ("/sdapi/v1/txt2img", {"prompt": "a red cube"}),
    "generate-image": ("/generate-image", {"text": "a red cube"}),
}

every_dialect = pytest.mark.parametrize("dialect", ASKED)


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
    with Hand(gateway.settings, STUDIO_CARD) as worker:
        yield worker


def ask(gateway: Serving, dialect: str, *, timeout: float = 60) -> httpx2.Response:
    path, body = ASKED[dialect]
    with httpx2.Client(base_url=gateway.url, trust_env=False, timeout=timeout) as http:
        return http.post(path, json=body)


@contextmanager
def asking(gateway: Serving, dialect: str) -> Generator[Future[httpx2.Response]]:
    """Ask in a thread; the job waits by the time that the block begins."""
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, gateway, dialect)
        wait_until(lambda: bool(statuses(gateway)), limit_s=20, what="its job waits")
        yield asked


def statuses(gateway: Serving) -> list[str]:
    return [job["status"] for job in gateway.http.get("/v1/jobs").json()["data"]]


def is_well(gateway: Serving) -> bool:
    return gateway.http.get("/v1/jobs").is_success


def code_of(dialect: str, answer: httpx2.Response) -> str:
    """Read an error's code as the dialect's clients do."""
    match dialect:
        case "openai":
            return answer.json()["error"]["code"]
        case "openai-stream" if answer.is_success:
            return json.loads(answer.text.rpartition("data: ")[2])["error"]["code"]
        case "openai-stream":
            return answer.json()["error"]["code"]
        case "automatic1111":
            return answer.json()["error"]
        case _:
            return answer.json()["code"]


@every_dialect
def test_without_redis_nothing_is_accepted(gateway: Serving, hand: Hand, redis: RedisServer, dialect: str) -> None:
    del hand
    redis.kill()
    answer = ask(gateway, dialect)

    assert (answer.status_code, code_of(dialect, answer)) == (503, "queue_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    redis.start()
    wait_until(lambda: is_well(gateway), limit_s=20, what="the gateway found Redis again")
    assert statuses(gateway) == []


@every_dialect
def test_without_the_store_nothing_is_accepted(gateway: Serving, hand: Hand, s3: S3Server, dialect: str) -> None:
    del hand
    s3.kill()
    wait_until(lambda: gateway.http.get("/readyz").status_code == 503, limit_s=20, what="the gateway missed the store")
    answer = ask(gateway, dialect)

    assert (answer.status_code, code_of(dialect, answer)) == (503, "store_unavailable")
    assert statuses(gateway) == []


@every_dialect
def test_a_picture_that_can_not_be_fetched_is_an_outage(
    gateway: Serving, hand: Hand, s3: S3Server, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    put = hand.store.put

    def put_and_go(key: str, data: bytes, media_type: str) -> None:
        put(key, data, media_type)
        s3.kill()

    monkeypatch.setattr(hand.store, "put", put_and_go)
    with asking(gateway, dialect) as asked:
        taken = hand.take()
        hand.draw(taken, 0, b"picture")
        if dialect != "openai-stream":  # which fetches each as it is done
            hand.finish(taken)
        answer = asked.result(60)

    assert code_of(dialect, answer) == "store_unavailable"
    ended = ["canceled" if dialect == "openai-stream" else "succeeded"]
    wait_until(lambda: statuses(gateway) == ended, limit_s=20, what="the job ends, though its caller was told before")


@every_dialect
def test_an_outage_that_lasts_is_told_and_the_job_is_taken_back(
    gateway: Serving, hand: Hand, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    del hand
    monkeypatch.setattr(api.errand, "OUTAGE_S", 1.0)
    with asking(gateway, dialect) as asked:
        redis.kill()
        answer = asked.result(40)

    assert code_of(dialect, answer) == "queue_unavailable"
    redis.start()
    wait_until(lambda: is_well(gateway) and statuses(gateway) == [], limit_s=20, what="the job was taken back")


def test_a_stream_that_is_open_ends_with_an_outage_that_lasts(
    gateway: Serving, hand: Hand, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del hand
    monkeypatch.setattr(api.errand, "OUTAGE_S", 1.0)
    path, body = ASKED["openai-stream"]
    with (
        httpx2.Client(base_url=gateway.url, trust_env=False, timeout=60) as http,
        http.stream("POST", path, json=body) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines).startswith(":")  # it is open
        redis.kill()
        limit = time.monotonic() + 40
        said = [line for line in takewhile(lambda _: time.monotonic() < limit, lines) if line.startswith("data: ")]

    assert [json.loads(one.removeprefix("data: "))["error"]["code"] for one in said] == ["queue_unavailable"]
    redis.start()
    wait_until(lambda: is_well(gateway) and statuses(gateway) == [], limit_s=20, what="the job was taken back")


@every_dialect
def test_who_hangs_up_in_an_outage_leaves_no_job(
    gateway: Serving, hand: Hand, redis: RedisServer, dialect: str
) -> None:
    del hand
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask, gateway, dialect, timeout=2)
        wait_until(lambda: bool(statuses(gateway)), limit_s=20, what="its job waits")
        redis.kill()
        with pytest.raises(httpx2.ReadTimeout):
            asked.result(20)
    redis.start()
    wait_until(lambda: is_well(gateway) and "queued" not in statuses(gateway), limit_s=20, what="the job ended")


@every_dialect
def test_a_gateway_that_stops_in_an_outage_says_so(redis: RedisServer, s3: S3Server, dialect: str) -> None:
    settings = settings_for(redis, s3)
    with Hand(settings, STUDIO_CARD), ExitStack() as after:
        with serving(settings) as gateway:
            asked = after.enter_context(asking(gateway, dialect))
            redis.kill()
            wait_until(lambda: not is_well(gateway), limit_s=20, what="the gateway missed Redis")
        assert code_of(dialect, asked.result(20)) == "gateway_stopping"
