"""What OpenAI's own client is told when something is wrong, and what becomes of its job when it hangs up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import httpx2
import openai
import pytest
from openai import OpenAI

from shared.errors import OutOfMemory
from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.serving import Hand, Serving, serving
from tests.servers import wait_until


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


@pytest.fixture
def client(gateway: Serving) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=30) as one:
        yield one


def jobs(gateway: Serving) -> list[dict[str, object]]:
    return gateway.http.get("/v1/jobs").json()["data"]


class TestErrors:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"prompt": ""}, "prompt"),
            ({"prompt": "x" * 4001}, "prompt"),
            ({"n": 0}, "n"),
            ({"n": 9}, "n"),
            ({"size": "large"}, "size"),
            ({"size": "100x33"}, "size"),
            ({"size": "0x64"}, "size"),
            ({"quality": "ultra"}, "quality"),
            ({"output_format": "gif"}, "output_format"),
            ({"output_compression": 50}, "output_compression"),
            ({"background": "transparent"}, "background"),
            ({"partial_images": 2}, "partial_images"),
            ({"stream": True, "response_format": "url"}, "response_format"),
            ({"seed": -1}, "seed"),
            ({"num_inference_steps": 51}, "num_inference_steps"),
            ({"frame_count": 3}, "frame_count"),
            ({"svg": {"model": "x"}}, "svg"),
        ],
    )
    def test_a_wrong_field_is_named(
        self, gateway: Serving, client: OpenAI, hand: Hand, fields: dict[str, object], param: str
    ) -> None:
        del hand
        with pytest.raises(openai.BadRequestError) as caught:
            client.images.generate(prompt="a red cube", extra_body=fields)

        assert (caught.value.code, caught.value.param) == ("invalid_request", param)
        assert caught.value.type == "invalid_request_error"
        assert param in caught.value.message
        assert jobs(gateway) == []

    def test_an_unknown_model_is_not_found(self, client: OpenAI, hand: Hand) -> None:
        del hand
        with pytest.raises(openai.NotFoundError, match=STUDIO_CARD.id) as caught:
            client.images.generate(prompt="a red cube", model="dall-e-3")

        assert caught.value.code == "model_not_found"

    def test_a_full_queue_is_a_rate_limit(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with (
            serving(gateway.settings.model_copy(update={"max_waiting": 1, "max_tenant_waiting": 1})) as full,
            OpenAI(base_url=f"{full.url}/v1", api_key="none", max_retries=0) as client,
        ):
            full.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status()
            with pytest.raises(openai.RateLimitError) as caught:
                client.images.generate(prompt="a red cube")

        assert caught.value.type == "rate_limit_error"
        assert int(caught.value.response.headers["Retry-After"]) > 0

    def test_no_model_yet_is_an_outage(self, client: OpenAI, hand: Hand) -> None:
        hand.forget_all()
        with pytest.raises(openai.InternalServerError) as caught:
            client.images.generate(prompt="a red cube")

        assert (caught.value.status_code, caught.value.code) == (503, "no_model")

    def test_a_failure_is_told_once_and_not_tried_again(self, gateway: Serving, hand: Hand) -> None:
        with (
            OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=2) as client,
            Artist(hand, fails=(OutOfMemory.code, "Ask for a smaller one.")),
            pytest.raises(openai.InternalServerError, match="smaller") as caught,
        ):
            client.images.generate(prompt="a red cube")

        assert caught.value.code == "out_of_memory"
        assert len(jobs(gateway)) == 1

    def test_whoever_else_cancels_the_job_ends_it(self, gateway: Serving, client: OpenAI, hand: Hand) -> None:
        with Artist(hand) as artist:
            artist.may_go_on.clear()
            stream = client.images.generate(prompt="a red cube", stream=True)
            (job,) = jobs(gateway)
            gateway.http.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
            with pytest.raises(openai.APIError) as caught:
                list(stream)

        assert caught.value.code == "job_canceled"

    @pytest.mark.parametrize(
        ("headers", "body", "status", "code"),
        [
            ({"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
            ({"Content-Type": "application/json"}, b"{", 400, "invalid_request"),
            ({"Content-Type": "application/json"}, b" " * 300_000, 413, "body_too_large"),
            ({"Content-Type": "application/json", "Origin": "http://evil.example"}, b"{}", 403, "cross_origin"),
        ],
    )
    def test_what_reaches_no_route_has_the_same_body(
        self, gateway: Serving, headers: dict[str, str], body: bytes, status: int, code: str
    ) -> None:
        answer = gateway.http.post("/v1/images/generations", content=body, headers=headers)

        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
        assert set(answer.json()["error"]) == {"code", "message", "param", "type"}
        assert answer.json()["error"]["code"] == code

    def test_other_verbs_of_the_dialect_are_not_found_in_its_own_words(self, client: OpenAI, hand: Hand) -> None:
        del hand
        with pytest.raises(openai.NotFoundError) as caught:
            client.images.edit(image=b"x", prompt="x")

        assert caught.value.code == "not_found"


class TestLeaving:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("runs", [False, True])
    def test_who_hangs_up_cancels_the_job(self, gateway: Serving, hand: Hand, *, stream: bool, runs: bool) -> None:
        def ask() -> None:
            body = {"prompt": "a red cube", "stream": stream}
            gateway.http.post("/v1/images/generations", json=body, timeout=0.7)

        with Artist(hand) if runs else nullcontext() as artist:
            if artist:
                artist.may_go_on.clear()
            with pytest.raises(httpx2.ReadTimeout):
                ask()
            wait_until(lambda: [job["status"] for job in jobs(gateway)] == ["canceled"], limit_s=20, what="it ends")

        assert (jobs(gateway)[0]["started_at"] is not None) is runs
