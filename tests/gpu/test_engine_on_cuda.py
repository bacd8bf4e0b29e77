"""The engine on a GPU: fp16, no waiting for the device, real failures of memory. Not yet run on one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from shared.errors import OutOfMemory
from shared.generation import GenerationParams, Scheduler
from tests.unit.worker.engine.drawing import PARAMS, ROW, draw, params_with, run
from worker.engine.batches import Batches
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.events import RowFailed, RowFinished, RowId
from worker.engine.model import Model, best_device, load_model
from worker.engine.source import choose_source, fetch
from worker.engine.warmup import warm

SCHEDULERS = list(Scheduler)


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> Model:
    source = choose_source(str(tiny_checkpoint), cuda=True)
    return load_model(fetch(source), card_of(source))


@pytest.fixture
def engine(model: Model) -> Engine:
    return Engine(model)


def test_the_unet_is_fp16_and_a_vae_that_overflows_is_not(model: Model) -> None:
    assert model.device == best_device()
    assert cast("Any", model.unet).dtype is torch.float16
    assert cast("Any", model.vae).dtype is torch.float32


def test_a_row_alone_is_the_stock_picture(engine: Engine, tiny_checkpoint: Path) -> None:
    stock = cast("Any", StableDiffusionXLPipeline).from_pretrained(
        tiny_checkpoint, variant="fp16", dtype=torch.float16, add_watermarker=False
    )
    stock.to("cuda")
    image = stock(
        prompt=PARAMS.prompt,
        width=PARAMS.width,
        height=PARAMS.height,
        num_inference_steps=PARAMS.num_inference_steps,
        guidance_scale=PARAMS.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(PARAMS.seed),
    ).images[0]
    assert np.abs(np.asarray(image).astype(int) - draw(engine, PARAMS)).max() <= 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_same_seed_gives_the_same_bytes_again(engine: Engine, scheduler: Scheduler) -> None:
    params = params_with(scheduler=scheduler)
    assert np.array_equal(draw(engine, params), draw(engine, params))


def test_the_seed_means_the_same_noise_as_on_a_cpu(engine: Engine, tiny_checkpoint: Path, model: Model) -> None:
    on_cpu = Engine(load_model(tiny_checkpoint, model.card, device=torch.device("cpu")))
    assert np.abs(draw(on_cpu, PARAMS).astype(int) - draw(engine, PARAMS)).mean() < 2


def test_a_batch_matches_pictures_alone(model: Model) -> None:
    together = Engine(model, batches=Batches(most=4))
    jobs = [params_with(seed=seed) for seed in range(4)]
    for job in jobs:
        together.admit(RowId(str(job.seed)), job, 0)
    finished = {event.row_id: event.picture.pixels() for event in run(together) if isinstance(event, RowFinished)}
    for job in jobs:
        alone = draw(Engine(model), job)
        assert np.abs(finished[RowId(str(job.seed))].astype(int) - alone).mean() < 1


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Let torch raise when something waits for the device."""
    set_mode = cast("Any", torch.cuda).set_sync_debug_mode
    set_mode("error")
    yield
    set_mode("default")


@pytest.mark.parametrize("scheduler", [Scheduler.EULER, Scheduler.DPMPP_2M_KARRAS, Scheduler.DDIM])
def test_a_step_does_not_wait_for_the_device(
    engine: Engine, scheduler: Scheduler, request: pytest.FixtureRequest
) -> None:
    engine.admit(ROW, params_with(scheduler=scheduler), 0)
    engine.step()
    request.getfixturevalue("no_waiting")
    engine.step()


def test_a_picture_too_large_for_the_device_fails_alone(model: Model) -> None:
    engine = Engine(model)
    warm(engine)
    cuda = cast("Any", torch.cuda)
    cuda.empty_cache()
    total = cuda.get_device_properties(model.device).total_memory
    cuda.set_per_process_memory_fraction((cuda.memory_reserved(model.device) + 64 * 2**20) / total, model.device)
    try:
        engine.admit(ROW, _huge(), 0)
        engine.admit(RowId("small"), PARAMS, 0)
        events = run(engine)
    finally:
        cuda.set_per_process_memory_fraction(1.0, model.device)
    failed = [event for event in events if isinstance(event, RowFailed)]
    assert [event.row_id for event in failed] == [ROW]
    assert isinstance(failed[0].error, OutOfMemory)
    assert isinstance(events[-1], RowFinished)


def _huge() -> GenerationParams:
    return params_with(width=4096, height=4096, num_inference_steps=1)
