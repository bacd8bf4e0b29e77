from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from shared.errors import OutOfMemory
from shared.generation import Scheduler
from tests.unit.worker.engine.drawing import PARAMS, ROW, params_with, run
from worker.engine.engine import Engine
from worker.engine.events import RowFinished
from worker.engine.model import Model
from worker.engine.preview import LatentsToRgb
from worker.engine.prompts import PromptEncoder
from worker.engine.row import Row, predict_noise


def test_a_preview_has_one_pixel_a_latent(engine: Engine) -> None:
    engine.admit(ROW, params_with(width=96), 0)
    assert engine.preview(ROW) is None
    engine.step()
    preview = engine.preview(ROW)
    assert preview is not None
    assert preview.pixels().shape == (8, 12, 3)
    assert preview.pixels().dtype == np.uint8


def test_nothing_is_shown_of_a_row_that_is_not_held(engine: Engine) -> None:
    assert engine.preview(ROW) is None


@torch.inference_mode()
def test_the_map_finds_colours_that_lie_linearly_in_the_latents(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in encoder whose latents are a known mixture of the colours: the fit must undo it."""
    mixture = torch.tensor([[1.0, -1.0, 0.5, 0.0], [0.0, 2.0, 0.5, 1.0], [0.3, 0.0, -1.0, 1.0]])
    scaling = cast("Any", model.vae.config).scaling_factor

    class Mixed:
        def __init__(self, pixels: torch.Tensor) -> None:
            pooled = torch.nn.functional.adaptive_avg_pool2d((pixels + 1) / 2, (16, 16))
            self.latent_dist = self
            self.latents = torch.einsum("bchw,cl->blhw", pooled, mixture) / scaling

        def mode(self) -> torch.Tensor:
            return self.latents

    monkeypatch.setattr(cast("Any", model.vae), "encode", Mixed)
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.4, 0.6]])
    latents = (colours @ mixture).T.reshape(1, 4, 1, 3)
    pixels = LatentsToRgb.fit(model)(latents)
    assert np.abs(pixels[0].astype(int) - (colours * 255).round().int().numpy()).max() <= 1


@torch.inference_mode()
@pytest.mark.parametrize("scheduler", Scheduler)
def test_the_estimate_undoes_known_noise(model: Model, scheduler: Scheduler) -> None:
    """If the UNet named the noise exactly, the estimate would be the clean latents, at every step."""
    params = params_with(scheduler=scheduler, guidance_scale=1.0, num_inference_steps=6)
    row = Row(ROW, params, 0, model=model, conditioning=PromptEncoder(model).condition(params))
    clean = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    alphas = cast("Any", row)._scheduler.alphas_cumprod
    for _ in range(6):
        alpha = alphas[round(float(row.timestep))]
        row.advance(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, noise)
        assert row.prediction is not None
        assert torch.allclose(row.estimate(row.prediction), clean, atol=2e-3)


@torch.inference_mode()
def test_the_last_estimate_is_close_to_what_is_drawn(model: Model) -> None:
    params = params_with(num_inference_steps=20)
    row = Row(ROW, params, 0, model=model, conditioning=PromptEncoder(model).condition(params))
    assert row.prediction is None
    while not row.is_denoised:
        row.advance(*predict_noise(model, [row])[0])
    assert row.prediction is not None
    assert torch.allclose(row.estimate(row.prediction), row.latents, atol=1e-2 * float(row.latents.abs().max()))


def test_previews_leave_the_picture_alone(model: Model) -> None:
    pictures: list[object] = []
    for looks in (False, True):
        engine = Engine(model)
        engine.admit(ROW, PARAMS, 0)
        while not engine.is_idle:
            events = engine.step()
            if looks and (picture := engine.preview(ROW)):
                assert picture.pixels().any()
            if engine.is_idle:
                pictures.append(cast("Any", events[-1]).picture.pixels())
    assert np.array_equal(cast("Any", pictures[0]), cast("Any", pictures[1]))


def test_no_picture_fails_for_want_of_a_preview(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    engine.admit(ROW, PARAMS, 0)
    engine.step()
    monkeypatch.setattr(LatentsToRgb, "fit", no_room)
    picture = engine.preview(ROW)
    assert picture is not None
    with pytest.raises(OutOfMemory):
        picture.pixels()
    assert isinstance(run(engine)[-1], RowFinished)
