"""A row whose guidance ends early equals the stock pipeline with its own callback for that, bit for bit, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.callbacks import SDXLCFGCutoffCallback
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from shared.generation import GenerationParams, Scheduler
from tests.unit.worker.engine.drawing import draw, params_with, run
from worker.engine.batches import Batches
from worker.engine.engine import Engine
from worker.engine.events import Pixels, RowFinished, RowId
from worker.engine.model import Model
from worker.engine.schedulers import make_scheduler


class Stock:
    """diffusers' own pipeline and callback; the callback works for one picture at a time."""

    def __init__(self, folder: Path) -> None:
        loader = cast("Any", StableDiffusionXLPipeline)
        self._pipeline = loader.from_pretrained(folder, variant="fp16", dtype=torch.float32, add_watermarker=False)
        self._pipeline.set_progress_bar_config(disable=True)
        self._scheduler_config = dict(self._pipeline.scheduler.config)

    def draw(self, params: GenerationParams) -> Pixels:
        # A fresh one from the same maker: that it is the stock one is test_stock_equality's to hold.
        self._pipeline.scheduler = make_scheduler(params.scheduler, self._scheduler_config, params.num_inference_steps)
        image = self._pipeline(
            prompt=params.prompt,
            negative_prompt=params.negative_prompt or None,
            width=params.width,
            height=params.height,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=params.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(params.seed),
            callback_on_step_end=SDXLCFGCutoffCallback(
                cutoff_step_ratio=params.guidance_cutoff, cutoff_step_index=None
            ),
        ).images[0]
        return np.asarray(image)


@pytest.fixture(scope="module")
def stock(tiny_checkpoint: Path) -> Stock:
    return Stock(tiny_checkpoint)


@pytest.mark.parametrize("scheduler", Scheduler)
@pytest.mark.parametrize("negative_prompt", ["", "ugly"])
def test_a_row_alone_is_the_stock_picture(
    engine: Engine, stock: Stock, scheduler: Scheduler, negative_prompt: str
) -> None:
    params = params_with(
        scheduler=scheduler, negative_prompt=negative_prompt, num_inference_steps=5, guidance_cutoff=0.5
    )
    drawn = draw(engine, params)
    assert np.array_equal(drawn, stock.draw(params))
    assert not np.array_equal(drawn, draw(engine, params.model_copy(update={"guidance_cutoff": 1.0})))


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("cutoff", [0.0, 0.33, 0.8, 0.99, 1.0])
def test_guidance_ends_at_the_same_step(engine: Engine, stock: Stock, steps: int, cutoff: float) -> None:
    params = params_with(num_inference_steps=steps, guidance_cutoff=cutoff)
    assert np.array_equal(draw(engine, params), stock.draw(params))


def test_rows_with_cutoffs_of_their_own_go_together(engine: Engine, model: Model) -> None:
    company = Engine(model, batches=Batches(most=4))
    asked = {
        RowId(str(number)): params_with(seed=number, guidance_cutoff=cutoff, num_inference_steps=6)
        for number, cutoff in enumerate((0.0, 0.4, 0.8, 1.0))
    }
    for row_id, params in asked.items():
        company.admit(row_id, params, 0)
    together = {event.row_id: event.picture.pixels() for event in run(company) if isinstance(event, RowFinished)}
    assert together.keys() == asked.keys()
    for row_id, params in asked.items():
        difference = np.abs(together[row_id].astype(int) - draw(engine, params).astype(int))
        assert difference.max() <= 1, row_id


def test_an_unguided_row_has_nothing_to_cut(engine: Engine) -> None:
    params = params_with(guidance_scale=1.0)
    assert np.array_equal(draw(engine, params), draw(engine, params.model_copy(update={"guidance_cutoff": 0.2})))


@pytest.mark.parametrize("scheduler", Scheduler)
def test_every_scheduler_has_as_many_timesteps_as_steps(model: Model, scheduler: Scheduler) -> None:
    """So that a share of the steps, which parameters know, is a share of the timesteps, which diffusers counts."""
    for steps in (1, 4, 25):
        assert len(make_scheduler(scheduler, model.scheduler_config, steps).timesteps) == steps
