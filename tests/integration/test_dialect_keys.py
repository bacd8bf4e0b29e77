"""Keys as the dialects' own clients send them, and refusals as they read them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress

import openai
import pytest
import webuiapi  # pyright: ignore[reportMissingTypeStubs]: it ships no types
from openai import OpenAI

from tests.conftest import settings_for
from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.keyholders import bearer, guarded, make_key, set_limits
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with guarded(settings_for(redis_server, s3_server)) as served:
        yield served


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


def openai_client(gateway: Serving, key: str) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=30)


class TestOpenAI:
    def test_its_api_key_is_ours(self, gateway: Serving, hand: Hand) -> None:
        ann, bob = make_key(gateway, "ann").key, make_key(gateway, "bob").key
        with Artist(hand), openai_client(gateway, ann) as client:
            answer = client.images.generate(prompt="a red cube")

        assert len(answer.data or []) == 1
        assert len(gateway.http.get("/v1/jobs", headers=bearer(ann)).json()["data"]) == 1
        assert gateway.http.get("/v1/jobs", headers=bearer(bob)).json()["data"] == []

    def test_a_wrong_one_is_an_authentication_error(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with openai_client(gateway, "none") as client, pytest.raises(openai.AuthenticationError) as caught:
            client.images.generate(prompt="a red cube")

        assert (caught.value.code, caught.value.type) == ("key_refused", "authentication_error")

    def test_one_that_may_not_submit_is_denied(self, gateway: Serving, hand: Hand) -> None:
        del hand
        key = make_key(gateway, "ann", scopes=["read"]).key
        with openai_client(gateway, key) as client, pytest.raises(openai.PermissionDeniedError) as caught:
            client.images.generate(prompt="a red cube")

        assert (caught.value.code, caught.value.type) == ("scope_missing", "permission_error")

    def test_one_that_asks_too_often_meets_a_rate_limit(self, gateway: Serving, hand: Hand) -> None:
        del hand
        key = make_key(gateway, "carl").key
        set_limits(gateway, "carl", requests_per_minute=1)

        def ask_often(client: OpenAI) -> None:
            for _ in range(5):
                with suppress(openai.BadRequestError):
                    client.images.generate(prompt="")

        with openai_client(gateway, key) as client, pytest.raises(openai.RateLimitError) as caught:
            ask_often(client)

        assert (caught.value.code, caught.value.type) == ("rate_limited", "rate_limit_error")
        assert int(caught.value.response.headers["Retry-After"]) > 0


class TestAutomatic1111:
    def test_the_password_is_a_key(self, gateway: Serving, hand: Hand) -> None:
        key = make_key(gateway, "dora").key
        port = int(gateway.url.rsplit(":", 1)[1])
        client = webuiapi.WebUIApi(host="127.0.0.1", port=port, username="dora", password=key)
        with Artist(hand):
            result = client.txt2img(prompt="a red cube")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

        assert len(result.images) == 1  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportAttributeAccessIssue]

    @pytest.mark.parametrize(
        "path", ["progress", "samplers", "schedulers", "sd-models", "options", "scripts", "loras", "cmd-flags"]
    )
    def test_nothing_is_told_without_one(self, gateway: Serving, hand: Hand, path: str) -> None:
        del hand
        answer = gateway.http.get(f"/sdapi/v1/{path}")

        assert (answer.status_code, answer.json()["error"]) == (401, "key_required")
        assert set(answer.json()) == {"error", "detail", "body", "errors"}

    def test_one_tenant_cannot_interrupt_anothers_job_nor_see_it(self, gateway: Serving, hand: Hand) -> None:
        del hand
        ann, bob = make_key(gateway, "ann").key, make_key(gateway, "bob").key
        basic = base64.b64encode(f"bob:{bob}".encode()).decode()
        job = {"prompt": "x", "metadata": {"dialect": "automatic1111"}}
        mine = gateway.http.post("/v1/jobs", json=job, headers=bearer(ann)).json()["urls"]["get"]

        headers = {"Authorization": f"Basic {basic}"}
        assert gateway.http.post("/sdapi/v1/interrupt", headers=headers).json() == {}
        assert gateway.http.get("/sdapi/v1/progress", headers=headers).json()["state"]["job_count"] == 0
        assert gateway.http.get(mine, headers=bearer(ann)).json()["status"] == "queued"
        assert gateway.http.get("/sdapi/v1/progress", headers=bearer(ann)).json()["state"]["job_count"] == 1
