"""What an AUTOMATIC1111 client asks around its pictures: models, samplers, options, and what there is none of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.integration.artist import STUDIO_CARD
from tests.integration.serving import CARD, Hand, Serving
from tests.integration.web_ui import WebUi, web_ui

TITLE = f"{STUDIO_CARD.id} [0123456789]"


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


@pytest.fixture
def client(gateway: Serving, hand: Hand) -> WebUi:
    del hand
    return web_ui(gateway)


class TestLists:
    def test_models_samplers_and_schedulers(self, client: WebUi) -> None:
        assert client.util_get_model_names() == [TITLE]
        assert client.util_get_current_model() == TITLE
        assert client.util_get_sampler_names() == ["DPM++ 2M", "Euler", "Euler a"]
        assert client.util_get_scheduler_names() == ["automatic", "karras"]
        assert client.get_scripts() == {"txt2img": [], "img2img": []}
        assert client.refresh_checkpoints() is None

    @pytest.mark.parametrize(
        "name",
        [
            "get_sd_vae",
            "get_upscalers",
            "get_latent_upscale_modes",
            "get_loras",
            "get_hypernetworks",
            "get_face_restorers",
            "get_realesrgan_models",
            "get_prompt_styles",
        ],
    )
    def test_what_there_is_none_of(self, client: WebUi, name: str) -> None:
        ask = cast("Callable[[], list[object]]", getattr(client, name))

        assert ask() == []

    def test_before_the_first_worker_the_lists_are_empty(self, client: WebUi, hand: Hand) -> None:
        hand.forget_all()

        assert client.util_get_model_names() == []
        assert client.get_samplers() == []
        assert client.get_options()["sd_model_checkpoint"] is None

    def test_the_model_that_is_there_can_be_chosen(self, client: WebUi) -> None:
        client.util_set_model("studio")

        assert client.set_options({"sd_model_checkpoint": STUDIO_CARD.id, "samples_format": "png"}) is None

    def test_options_that_are_not_so_are_refused(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with Hand(gateway.settings, CARD):
            options = {"sd_model_checkpoint": CARD.id, "samples_format": "jpg"}
            answer = gateway.http.post("/sdapi/v1/options", json=options)
            served = {item["model_name"] for item in gateway.http.get("/sdapi/v1/sd-models").json()}

        assert served == {CARD.id, STUDIO_CARD.id}
        assert answer.status_code == 422
        assert "samples_format: " in answer.json()["errors"]
        assert ("sd_model_checkpoint: " in answer.json()["errors"]) != (
            gateway.http.get("/sdapi/v1/options").json()["sd_model_checkpoint"].startswith(CARD.id)
        )
