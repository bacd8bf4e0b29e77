"""One row alone equals `StableDiffusionXLPipeline.__call__`, bit for bit, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from shared.generation import GenerationParams, Scheduler
from tests.tiny_checkpoint import make_tiny_checkpoint
from tests.unit.worker.engine.drawing import CPU, ROW, draw, params_with
from worker.engine.engine import Engine
from worker.engine.events import Pixels
from worker.engine.model import Model, load_model
from worker.engine.prompts import PromptEncoder
from worker.engine.row import Row, predict_noise

STOCK_SCHEDULERS: dict[Scheduler, tuple[Any, dict[str, Any]]] = {
    Scheduler.EULER: (EulerDiscreteScheduler, {}),
    Scheduler.EULER_ANCESTRAL: (EulerAncestralDiscreteScheduler, {}),
    Scheduler.DPMPP_2M_KARRAS: (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    Scheduler.UNIPC: (UniPCMultistepScheduler, {}),
    Scheduler.DDIM: (DDIMScheduler, {}),
    Scheduler.LCM: (LCMScheduler, {"clip_sample": False}),
}


class Stock:
    """diffusers' own pipeline on the same files."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        loader = cast("Any", StableDiffusionXLPipeline)
        self._pipeline = loader.from_pretrained(folder, variant="fp16", dtype=dtype, add_watermarker=False)
        self._pipeline.set_progress_bar_config(disable=True)
        self._scheduler_config = dict(self._pipeline.scheduler.config)

    def draw(self, params: GenerationParams, index: int = 0) -> Pixels:
        return np.asarray(self._call(params, index, "pil"))

    def latents(self, params: GenerationParams) -> torch.Tensor:
        return cast("torch.Tensor", self._call(params, 0, "latent"))

    def _call(self, params: GenerationParams, index: int, output_type: str) -> object:
        scheduler_class, options = STOCK_SCHEDULERS[params.scheduler]
        self._pipeline.scheduler = scheduler_class.from_config(self._scheduler_config, **options)
        return self._pipeline(
            prompt=params.prompt,
            negative_prompt=params.negative_prompt or None,
            width=params.width,
            height=params.height,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=params.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(params.seed_of(index)),
            output_type=output_type,
        ).images[0]


@pytest.fixture(scope="module")
def stock(tiny_checkpoint: Path) -> Stock:
    return Stock(tiny_checkpoint)


@pytest.fixture(scope="module")
def velocity_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("velocity")
    return make_tiny_checkpoint(folder, prediction_type="v_prediction", latent_channels=8)


@pytest.mark.parametrize("scheduler", Scheduler)
@pytest.mark.parametrize("guidance_scale", [1.0, 9.3])
@pytest.mark.parametrize("negative_prompt", ["", "ugly"])
def test_a_row_alone_is_the_stock_picture(
    engine: Engine, stock: Stock, scheduler: Scheduler, guidance_scale: float, negative_prompt: str
) -> None:
    params = params_with(scheduler=scheduler, guidance_scale=guidance_scale, negative_prompt=negative_prompt)
    assert np.array_equal(draw(engine, params), stock.draw(params))


@pytest.mark.parametrize("scheduler", Scheduler)
def test_latents_are_equal_too_before_anything_is_rounded(model: Model, stock: Stock, scheduler: Scheduler) -> None:
    params = params_with(scheduler=scheduler, width=96, num_inference_steps=7)
    with torch.inference_mode():
        row = Row(ROW, params, 0, model=model, conditioning=PromptEncoder(model).condition(params))
        while not row.is_denoised:
            row.advance(*predict_noise(model, [row])[0])
    assert torch.equal(row.latents[0], stock.latents(params))


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 96), (104, 40)])
def test_oblong_sizes(engine: Engine, stock: Stock, width: int, height: int) -> None:
    params = params_with(width=width, height=height)
    pixels = draw(engine, params)
    assert pixels.shape == (height, width, 3)
    assert np.array_equal(pixels, stock.draw(params))


@pytest.mark.parametrize(("seed", "index"), [(0, 0), (7, 3), (2**32 - 1, 0), (2**32 - 1, 1)])
def test_each_picture_of_a_job_has_its_own_seed(engine: Engine, stock: Stock, seed: int, index: int) -> None:
    params = params_with(seed=seed, num_images=4)
    pixels = draw(engine, params, index)
    assert np.array_equal(pixels, stock.draw(params, index))
    alone = params.model_copy(update={"seed": params.seed_of(index), "num_images": 1})
    assert np.array_equal(pixels, draw(engine, alone))


@pytest.mark.parametrize("steps", [1, 2, 15])
@pytest.mark.parametrize("scheduler", [scheduler for scheduler in Scheduler if scheduler is not Scheduler.LCM])
def test_few_and_many_steps(engine: Engine, stock: Stock, scheduler: Scheduler, steps: int) -> None:
    params = params_with(scheduler=scheduler, num_inference_steps=steps)
    assert np.array_equal(draw(engine, params), stock.draw(params))


@pytest.mark.parametrize(
    ("prompt", "negative_prompt"),
    [
        ("x" * 75, "b " * 75),
        ("C++, ((a cat)), [sketch], a (plain) aside :-) (16:9)", "blurry (very), it's (c)2024"),
        ("a cat\n\non a mat", "<|endoftext|> <|startoftext|>"),
    ],
)
def test_a_text_of_one_window_without_weights_is_the_stock_picture(
    engine: Engine, stock: Stock, prompt: str, negative_prompt: str
) -> None:
    params = params_with(prompt=prompt, negative_prompt=negative_prompt)
    assert np.array_equal(draw(engine, params), stock.draw(params))


def test_what_lies_beyond_the_window_is_seen_though_the_stock_pipeline_would_cut_it(
    engine: Engine, stock: Stock
) -> None:
    params = params_with(prompt="a red circle on blue ground " * 8)
    pixels = draw(engine, params)
    assert not np.array_equal(pixels, stock.draw(params))
    assert not np.array_equal(pixels, draw(engine, params_with(prompt="a red circle on blue ground " * 9)))


def test_an_exclamation_mark_is_padding_to_the_second_encoder_as_in_the_stock_pipeline(
    engine: Engine, stock: Stock
) -> None:
    params = params_with(prompt="stop! now")
    assert np.array_equal(draw(engine, params), stock.draw(params))


def test_equal_in_bfloat16(tiny_checkpoint: Path, model: Model) -> None:
    engine = Engine(load_model(tiny_checkpoint, model.card, dtype=torch.bfloat16, device=CPU))
    stock = Stock(tiny_checkpoint, torch.bfloat16)
    for scheduler in Scheduler:
        params = params_with(scheduler=scheduler)
        assert np.array_equal(draw(engine, params), stock.draw(params)), scheduler


def test_equal_with_velocity_prediction_and_eight_latent_channels(velocity_checkpoint: Path, model: Model) -> None:
    engine = Engine(load_model(velocity_checkpoint, model.card, device=CPU))
    stock = Stock(velocity_checkpoint)
    for scheduler in Scheduler:
        params = params_with(scheduler=scheduler)
        assert np.array_equal(draw(engine, params), stock.draw(params)), scheduler
