"""A client of AUTOMATIC1111 from PyPI, unchanged, against a real gateway: pictures from text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from shared.infotext import read_infotext
from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.serving import Hand, Serving
from tests.integration.web_ui import WebUi, web_ui

TITLE = f"{STUDIO_CARD.id} [0123456789]"

PROCESSED_JS: Final = frozenset(
    {
        "prompt",
        "all_prompts",
        "negative_prompt",
        "all_negative_prompts",
        "seed",
        "all_seeds",
        "subseed",
        "all_subseeds",
        "subseed_strength",
        "width",
        "height",
        "sampler_name",
        "cfg_scale",
        "steps",
        "batch_size",
        "restore_faces",
        "face_restoration_model",
        "sd_model_name",
        "sd_model_hash",
        "sd_vae_name",
        "sd_vae_hash",
        "seed_resize_from_w",
        "seed_resize_from_h",
        "denoising_strength",
        "extra_generation_params",
        "index_of_first_image",
        "infotexts",
        "styles",
        "job_timestamp",
        "clip_skip",
        "is_using_inpainting_conditioning",
    }
)
"""What stable-diffusion-webui puts into `info` (`modules/processing.py`, `Processed.js`)."""


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


@pytest.fixture
def client(gateway: Serving, hand: Hand) -> WebUi:
    del hand
    return web_ui(gateway)


def jobs(gateway: Serving) -> list[dict[str, Any]]:
    return gateway.http.get("/v1/jobs").json()["data"]


def post(gateway: Serving, **fields: object) -> httpx2.Response:
    return gateway.http.post("/sdapi/v1/txt2img", json={"prompt": "a red cube", **fields})


class TestTxt2Img:
    def test_a_client_that_says_all_of_its_defaults_is_served(
        self, gateway: Serving, client: WebUi, hand: Hand
    ) -> None:
        with Artist(hand):
            result = client.txt2img(prompt="a red cube")

        assert [image.size for image in result.images] == [(512, 512)]
        (job,) = jobs(gateway)
        assert (job["status"], job["metadata"]) == ("succeeded", {"dialect": "automatic1111"})
        params = job["params"]
        assert (params["scheduler"], params["num_inference_steps"], params["guidance_scale"]) == ("euler_a", 20, 7.0)
        assert (params["width"], params["output_size"]) == (64, {"width": 512, "height": 512})

    def test_everything_said_is_drawn(self, gateway: Serving, client: WebUi, hand: Hand) -> None:
        with Artist(hand):
            result = client.txt2img(
                prompt="a red cube",
                negative_prompt="ugly",
                seed=7,
                steps=5,
                cfg_scale=3.5,
                width=96,
                height=64,
                batch_size=2,
                n_iter=2,
                sampler_name="DPM++ 2M",
                scheduler="Karras",
                override_settings={"sd_model_checkpoint": TITLE},
            )

        assert [image.size for image in result.images] == [(96, 64)] * 4
        said = {
            "prompt": "a red cube",
            "negative_prompt": "ugly",
            "seed": 7,
            "num_inference_steps": 5,
            "guidance_scale": 3.5,
            "width": 96,
            "height": 64,
            "num_images": 4,
            "scheduler": "dpmpp_2m_karras",
            "output_size": None,
        }
        params = jobs(gateway)[0]["params"]
        assert {name: params[name] for name in said} == said
        assert result.info["all_seeds"] == [7, 8, 9, 10]
        assert (result.info["seed"], result.info["sd_model_name"]) == (7, STUDIO_CARD.id)
        assert result.parameters["cfg_scale"] == 3.5

    def test_infotexts_are_those_in_the_files(self, client: WebUi, hand: Hand) -> None:
        with Artist(hand):
            result = client.txt2img(prompt="a red cube: 圆", negative_prompt="ugly", batch_size=2, seed=7)

        assert result.info["infotexts"] == [image.info["parameters"] for image in result.images]
        fields = read_infotext(result.info["infotexts"][1]).fields
        assert (fields["Seed"], fields["Sampler"], fields["Model hash"]) == ("8", "Euler a", "0123456789")

    def test_info_has_all_the_names_that_clients_look_for(self, client: WebUi, hand: Hand) -> None:
        with Artist(hand):
            info = client.txt2img(prompt="a red cube", n_iter=2).info

        assert set(info) >= PROCESSED_JS
        assert [len(value) for name, value in info.items() if name.startswith("all_")] == [2] * 4
        assert (info["subseed_strength"], info["clip_skip"], info["styles"]) == (0, 1, [])

    def test_variations_of_one_seed_are_drawn_and_told_as_there(
        self, gateway: Serving, client: WebUi, hand: Hand
    ) -> None:
        with Artist(hand):
            info = client.txt2img(prompt="a red cube", seed=7, subseed=30, subseed_strength=0.15, batch_size=3).info

        params = jobs(gateway)[0]["params"]
        assert (params["seed"], params["variation_seed"], params["variation_strength"]) == (7, 30, 0.15)
        assert (info["seed"], info["all_seeds"]) == (7, [7, 7, 7])
        assert (info["subseed"], info["all_subseeds"], info["subseed_strength"]) == (30, [30, 31, 32], 0.15)
        told = [read_infotext(text).fields for text in info["infotexts"]]
        assert [(one["Seed"], one["Variation seed"], one["Variation seed strength"]) for one in told] == [
            ("7", "30", "0.15"),
            ("7", "31", "0.15"),
            ("7", "32", "0.15"),
        ]

    @pytest.mark.parametrize("subseed", [{}, {"subseed": -1}, {"subseed": None}])
    def test_a_variation_seed_that_is_not_said_is_drawn(
        self, gateway: Serving, hand: Hand, subseed: dict[str, object]
    ) -> None:
        with Artist(hand):
            answer = post(gateway, seed=7, subseed_strength=0.15, **subseed)

        params, info = jobs(gateway)[0]["params"], json.loads(answer.json()["info"])
        assert 0 <= params["variation_seed"] != 7
        assert (info["subseed"], info["all_subseeds"]) == (params["variation_seed"], [params["variation_seed"]])

    @pytest.mark.parametrize("strength", [{}, {"subseed_strength": 0}, {"subseed_strength": None}])
    def test_a_variation_seed_without_a_strength_says_nothing(
        self, gateway: Serving, hand: Hand, strength: dict[str, object]
    ) -> None:
        with Artist(hand):
            info = json.loads(post(gateway, batch_size=2, seed=7, subseed=30, **strength).json()["info"])

        assert jobs(gateway)[0]["params"]["variation_seed"] is None
        assert (info["all_seeds"], info["subseed"], info["all_subseeds"]) == ([7, 8], -1, [-1, -1])
        assert "Variation" not in info["infotexts"][0]

    def test_what_is_absent_comes_from_the_model(self, gateway: Serving, hand: Hand) -> None:
        with Artist(hand):
            answer = post(gateway)

        assert answer.status_code == 200
        params = jobs(gateway)[0]["params"]
        assert (params["width"], params["preset"], params["num_inference_steps"]) == (64, "quality", 8)
        assert json.loads(answer.json()["info"])["seed"] == params["seed"]

    def test_pictures_may_be_left_out(self, gateway: Serving, hand: Hand) -> None:
        with Artist(hand):
            assert post(gateway, send_images=False).json()["images"] == []

    def test_numbers_may_be_texts_as_there(self, gateway: Serving, hand: Hand) -> None:
        with Artist(hand):
            assert post(gateway, steps="3", seed=-1.0, cfg_scale="2").status_code == 200

    @pytest.mark.parametrize(
        ("sampler", "scheduler"),
        [
            ({}, "euler"),
            ({"sampler_name": "Euler"}, "euler"),
            ({"sampler_index": "Euler a"}, "euler_a"),
            ({"sampler_name": "k_euler_a", "sampler_index": "Euler"}, "euler_a"),
            ({"sampler_name": "DPM++ 2M Karras"}, "dpmpp_2m_karras"),
            ({"sampler_name": "DPM++ 2M", "scheduler": "karras"}, "dpmpp_2m_karras"),
            ({"sampler_name": "dpm++ 2m", "scheduler": "Automatic"}, "dpmpp_2m_karras"),
        ],
    )
    def test_samplers_by_their_names(
        self, gateway: Serving, hand: Hand, sampler: dict[str, str], scheduler: str
    ) -> None:
        with Artist(hand):
            assert post(gateway, **sampler).status_code == 200

        assert jobs(gateway)[0]["params"]["scheduler"] == scheduler


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"prompt": " "}, "prompt"),
            ({"steps": 51}, "steps"),
            ({"cfg_scale": -1}, "cfg_scale"),
            ({"seed": -2}, "seed"),
            ({"width": 100, "height": 33}, "width"),
            ({"width": 64}, "height"),
            ({"batch_size": 3, "n_iter": 3}, "batch_size"),
            ({"n_iter": 0}, "n_iter"),
            ({"sampler_name": "DPM adaptive"}, "sampler_name"),
            ({"sampler_name": "DDIM"}, "sampler_name"),
            ({"sampler_name": "Euler", "scheduler": "Karras"}, "scheduler"),
            ({"scheduler": "Karras"}, "scheduler"),
            ({"enable_hr": True}, "enable_hr"),
            ({"init_images": ["x"]}, "init_images"),
            ({"styles": ["noir"]}, "styles"),
            ({"subseed": -2, "subseed_strength": 0.5}, "subseed"),
            ({"subseed_strength": 1.5}, "subseed_strength"),
            ({"subseed_strength": -0.5}, "subseed_strength"),
            ({"seed_resize_from_h": 64}, "seed_resize_from_h"),
            ({"s_noise": 1.1}, "s_noise"),
            ({"eta": 0.5}, "eta"),
            ({"tiling": True}, "tiling"),
            ({"something_new": "on"}, "something_new"),
            ({"script_name": "X/Y/Z plot"}, "script_name"),
            ({"alwayson_scripts": {"ControlNet": {"args": []}}}, "alwayson_scripts"),
            ({"override_settings": {"CLIP_stop_at_last_layers": 2}}, "override_settings.CLIP_stop_at_last_layers"),
        ],
    )
    def test_what_would_change_the_picture_and_is_not_done_is_named(
        self, gateway: Serving, hand: Hand, fields: dict[str, object], field: str
    ) -> None:
        del hand
        answer = post(gateway, **fields)

        assert answer.status_code == 422, answer.text
        assert set(answer.json()) == {"error", "detail", "body", "errors"}
        assert answer.json()["error"] == "invalid_request"
        assert answer.json()["detail"].startswith(f"{field}: ")
        assert jobs(gateway) == []

    def test_what_is_off_is_accepted(self, gateway: Serving, hand: Hand) -> None:
        off: dict[str, object] = {
            "something_new": False,
            "clip_skip": 1,
            "styles": [],
            "s_tmax": None,
            "seed_resize_from_h": -1,
            "alwayson_scripts": {},
            "override_settings": {"sd_vae": "Automatic"},
        }
        with Artist(hand):
            assert post(gateway, **off).is_success

    def test_the_client_reads_the_message(self, client: WebUi, hand: Hand) -> None:
        del hand
        with pytest.raises(RuntimeError, match="Sampler not found"):
            client.txt2img(prompt="a red cube", sampler_name="PLMS")

    @pytest.mark.parametrize("sampler", ["PLMS", "LCM", "DDIM"])
    def test_the_samplers_that_there_are_instead_are_told_by_names_that_can_be_said(
        self, gateway: Serving, hand: Hand, sampler: str
    ) -> None:
        known = [item["name"] for item in gateway.http.get("/sdapi/v1/samplers").json()]
        answer = post(gateway, sampler_name=sampler)

        assert answer.status_code == 422
        assert answer.json()["detail"] == f"sampler_name: Sampler not found. Known: {', '.join(known)}."
        with Artist(hand):
            assert [post(gateway, sampler_name=name).status_code for name in known] == [200] * len(known)

    def test_an_unknown_model_is_not_found(self, gateway: Serving, hand: Hand) -> None:
        del hand
        answer = post(gateway, override_settings={"sd_model_checkpoint": "v1-5-pruned"})

        assert (answer.status_code, answer.json()["error"]) == (404, "model_not_found")

    def test_a_failure_is_told(self, gateway: Serving, hand: Hand) -> None:
        with Artist(hand, fails=("out_of_memory", "Ask for a smaller one.")):
            answer = post(gateway)

        assert (answer.status_code, answer.json()["error"]) == (500, "out_of_memory")
        assert answer.json()["detail"] == "Ask for a smaller one."

    @pytest.mark.parametrize("path", ["img2img", "memory", "nothing"])
    def test_what_there_is_not_is_not_found_in_its_own_words(self, gateway: Serving, path: str) -> None:
        answer = gateway.http.get(f"/sdapi/v1/{path}")

        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
