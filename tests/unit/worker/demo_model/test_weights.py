# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""The committed checkpoint: its layout, its size, and that it draws."""

import json

import numpy as np
import pytest
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from worker.demo_model.catalog import DEMO_MODEL
from worker.demo_model.classifier import classify
from worker.demo_model.export import folder_bytes, load_pipeline
from worker.demo_model.sampling import Request, draw_requests

FILES = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    *(
        f"{folder}/{name}"
        for folder in ("tokenizer", "tokenizer_2")
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
    ),
}


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    return load_pipeline(DEMO_MODEL.folder)


def test_the_folder_has_ssd_1b_s_layout() -> None:
    folder = DEMO_MODEL.folder
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLPipeline"


def test_the_model_takes_at_most_ten_megabytes() -> None:
    assert folder_bytes(DEMO_MODEL.folder) <= 10_000_000


def test_it_draws_a_red_circle_on_a_blue_background(pipeline: StableDiffusionXLPipeline) -> None:
    requests = [Request("a red circle on a blue background", seed, *DEMO_MODEL.sizes[seed % 3]) for seed in range(6)]
    pictures = draw_requests(
        pipeline,
        requests,
        num_inference_steps=DEMO_MODEL.num_inference_steps,
        guidance_scale=DEMO_MODEL.guidance_scale,
    )
    for picture in pictures:
        seen = classify(picture)
        assert (seen.shape, seen.colour, seen.background) == ("circle", "red", "blue")
        assert len(seen.objects) == 1


def test_it_draws_its_example_prompts(pipeline: StableDiffusionXLPipeline) -> None:
    requests = [Request(prompt, 3) for prompt in DEMO_MODEL.example_prompts]
    pictures = draw_requests(
        pipeline,
        requests,
        num_inference_steps=DEMO_MODEL.num_inference_steps,
        guidance_scale=DEMO_MODEL.guidance_scale,
    )
    for request, picture in zip(requests, pictures, strict=True):
        seen = classify(picture)
        drawn = f"{seen.colour} {seen.shape}"
        assert drawn in request.prompt
        assert request.prompt.endswith(f"on a {seen.background} background")


def test_the_same_seed_draws_the_same_and_another_does_not(
    pipeline: StableDiffusionXLPipeline,
) -> None:
    first, again, other = (
        np.asarray(
            draw_requests(
                pipeline,
                [Request("a green star on a white background", seed)],
                num_inference_steps=4,
                guidance_scale=4.0,
            )[0]
        )
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
