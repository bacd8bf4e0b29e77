"""Whoever waits for pictures on an open connection: outages, the gateway's end, pictures that were there before."""

from __future__ import annotations

import base64
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import openai
import pytest
from openai import OpenAI

from tests.conftest import settings_for
from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until


@contextmanager
def asking(gateway: Serving, *, stream: bool) -> Generator[Future[bytes]]:
    """Ask for a picture in a thread; its job waits by the time that the block begins."""

    def ask() -> bytes:
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
            if stream:
                (event,) = client.images.generate(prompt="a red cube", stream=True)
                return base64.b64decode(event.b64_json)
            answer = client.images.generate(prompt="a red cube")
            return base64.b64decode((answer.data or [])[0].b64_json or "")

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask)
        wait_until(lambda: bool(statuses(gateway)), limit_s=20, what="its job waits")
        yield asked


def statuses(gateway: Serving) -> list[str]:
    return [job["status"] for job in gateway.http.get("/v1/jobs").json()["data"]]


@pytest.mark.parametrize("stream", [False, True])
def test_a_restart_of_redis_is_waited_out(own_redis_server: RedisServer, s3_server: S3Server, *, stream: bool) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with serving(settings) as gateway, Hand(settings, STUDIO_CARD) as hand, asking(gateway, stream=stream) as asked:
        own_redis_server.kill()
        time.sleep(0.5)
        own_redis_server.start()
        with Artist(hand):
            assert asked.result(60).startswith(b"\x89PNG")


@pytest.mark.parametrize("stream", [False, True])
def test_a_gateway_that_stops_cancels_what_it_holds_and_says_so(
    own_redis_server: RedisServer, s3_server: S3Server, *, stream: bool
) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with Hand(settings, STUDIO_CARD), ExitStack() as after:
        with serving(settings) as gateway:
            asked = after.enter_context(asking(gateway, stream=stream))
        with pytest.raises(openai.APIError, match="The gateway stops") as caught:
            asked.result(20)
        assert caught.value.code == "gateway_stopping"
        with serving(settings) as next_one:
            assert statuses(next_one) == ["canceled"]


def test_pictures_that_were_drawn_before_come_at_once(own_redis_server: RedisServer, s3_server: S3Server) -> None:
    settings = settings_for(own_redis_server, s3_server)
    body = {"text": "a red cube", "seed": 7}
    with serving(settings) as gateway, Hand(settings, STUDIO_CARD) as hand:
        with Artist(hand):
            first = gateway.http.post("/generate-image", json=body)
        again = gateway.http.post("/generate-image", json=body)

        assert (first.status_code, again.status_code) == (200, 200)
        assert again.content == first.content
        assert again.headers["Content-Location"] != first.headers["Content-Location"]


def test_a_job_that_is_deleted_meanwhile_is_not_found(own_redis_server: RedisServer, s3_server: S3Server) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with (
        serving(settings) as gateway,
        Hand(settings, STUDIO_CARD),
        asking(gateway, stream=False) as asked,
    ):
        (job,) = gateway.http.get("/v1/jobs").json()["data"]
        gateway.http.delete(f"/v1/jobs/{job['id']}").raise_for_status()
        with pytest.raises(openai.NotFoundError) as caught:
            asked.result(20)

    assert caught.value.code == "job_not_found"
