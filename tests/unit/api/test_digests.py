from __future__ import annotations

import pytest

from api.digests import once_to_retry, once_to_submit, result_of
from shared.contract import JobRequest
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, OutputFormat, Scheduler, Size
from shared.jobs import new_job_id

SIZE = Size(width=64, height=64)
CARD = ModelCard(
    id="m",
    title="m",
    revision="0",
    description="",
    aspect_ratios=(AspectRatio(name="Square", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=1, guidance_scale=1, scheduler=Scheduler.EULER),
)
PARAMS = GenerationParams(
    prompt="x", width=64, height=64, num_inference_steps=1, guidance_scale=1, seed=0, scheduler=Scheduler.EULER
)


def fingerprint(body: bytes) -> str:
    return once_to_submit("key", JobRequest.model_validate_json(body, strict=True)).fingerprint


@pytest.mark.parametrize(
    "body",
    [
        b'{"seed":7,"prompt":"x","metadata":{"a":"1","b":"2"}}',
        b'{"prompt": "x", "seed": 7, "metadata": {"b": "2", "a": "1"}, "num_images": 1, "width": null}',
    ],
)
def test_the_same_request_is_known_however_it_is_written(body: bytes) -> None:
    assert fingerprint(body) == fingerprint(b'{"prompt": "x", "seed": 7, "metadata": {"a": "1", "b": "2"}}')


@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "y"}',
        b'{"prompt": "x", "seed": 0}',
        b'{"prompt": "x", "variation_seed": 0}',
        b'{"prompt": "x", "variation_strength": 0.1}',
        b'{"prompt": "x", "lane": "bulk"}',
        b'{"prompt": "x", "reuse": false}',
        b'{"prompt": "x", "cancel_after": 5}',
        b'{"prompt": "x", "metadata": {"a": "1"}}',
    ],
)
def test_whatever_is_said_differently_makes_another_request(body: bytes) -> None:
    assert fingerprint(body) != fingerprint(b'{"prompt": "x"}')


def test_a_key_is_kept_as_a_digest_and_each_job_retried_is_another_request() -> None:
    one, other = (once_to_retry("key", new_job_id()) for _ in range(2))

    assert one.key == other.key == once_to_submit("key", JobRequest(prompt="x")).key
    assert one.fingerprint != other.fingerprint
    assert "key" not in one.key


@pytest.mark.parametrize(
    ("card", "params"),
    [
        (CARD.model_copy(update={"id": "n"}), PARAMS),
        (CARD.model_copy(update={"revision": "1"}), PARAMS),
        *[
            (CARD, PARAMS.model_copy(update=change))
            for change in (
                {"prompt": "y"},
                {"negative_prompt": "y"},
                {"width": 32},
                {"height": 32},
                {"num_inference_steps": 2},
                {"guidance_scale": 1.5},
                {"seed": 1},
                {"num_images": 2},
                {"scheduler": Scheduler.DDIM},
                {"output_format": OutputFormat.WEBP},
                {"output_size": SIZE},
                {"adapter": "some/lora@1"},
                {"guidance_cutoff": 0.5},
                {"variation_seed": 1},
                {"variation_strength": 0.5},
                {"deterministic": True},
            )
        ],
    ],
)
def test_all_that_decides_the_pictures_is_in_their_digest(card: ModelCard, params: GenerationParams) -> None:
    assert result_of(card, params) != result_of(CARD, PARAMS)
    assert result_of(card, params) == result_of(card.model_copy(update={"title": "M"}), params.model_copy())


def test_each_parameter_is_tried_above() -> None:
    assert set(GenerationParams.model_fields) == {
        *("prompt", "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "seed"),
        *("num_images", "scheduler", "output_format", "output_size", "adapter", "guidance_cutoff", "deterministic"),
        *("preset", "variation_seed", "variation_strength"),
    }


def test_a_presets_name_decides_nothing() -> None:
    assert result_of(CARD, PARAMS.model_copy(update={"preset": "fast"})) == result_of(CARD, PARAMS)
