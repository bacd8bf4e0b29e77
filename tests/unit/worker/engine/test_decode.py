from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from shared.errors import ModelError, OutOfMemory
from tests.unit.worker.engine.drawing import ROW, draw, params_with, run, with_a_vae_of_its_own
from worker.engine.decode import decode
from worker.engine.engine import Engine
from worker.engine.events import RowFinished
from worker.engine.model import Model


def latents_of(height: int, width: int) -> torch.Tensor:
    return torch.randn((1, 4, height, width), generator=torch.Generator().manual_seed(0)) * 0.2


def limit_decoder(monkeypatch: pytest.MonkeyPatch, model: Model, max_latents: int) -> list[tuple[int, ...]]:
    """Let the decoder run out of memory above so many latents; collects the sizes that it decodes."""
    decoder = cast("Any", model.vae.decoder)
    forward = decoder.forward
    sizes: list[tuple[int, ...]] = []

    def limited(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        if sample.shape[-1] * sample.shape[-2] > max_latents:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        sizes.append(tuple(sample.shape[-2:]))
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(decoder, "forward", limited)
    return sizes


def test_tiles_give_the_same_size_and_nearly_the_same_picture(model: Model) -> None:
    latents = latents_of(16, 24)
    whole, tiled = decode(model, latents), decode(model, latents, tiled=True)
    assert whole.shape == tiled.shape == (128, 192, 3)
    assert not np.array_equal(whole, tiled)
    assert np.abs(whole.astype(int) - tiled).mean() < 12


def test_tiling_ends_with_the_picture(model: Model) -> None:
    vae = cast("Any", model.vae)
    before = (vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size)
    decode(model, latents_of(16, 16), tiled=True)
    assert (vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size) == before


def test_without_memory_for_the_whole_picture_it_is_decoded_in_tiles(
    engine: Engine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = limit_decoder(monkeypatch, model, max_latents=64)
    assert draw(engine, params_with(width=128, height=128)).shape == (128, 128, 3)
    assert set(sizes) > {(8, 8)}


def test_what_fits_without_a_step_beside_it_is_decoded_whole(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    own = with_a_vae_of_its_own(model)
    engine = Engine(own)
    expected = draw(engine, params_with(width=128))
    decoder = cast("Any", own.vae.decoder)
    forward = decoder.forward
    tried: list[tuple[int, ...]] = []

    def crowded_at_first(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        tried.append(tuple(sample.shape[-2:]))
        if len(tried) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(decoder, "forward", crowded_at_first)
    assert np.array_equal(draw(engine, params_with(width=128)), expected)
    assert tried == [(8, 16), (8, 16)]


def test_without_memory_for_a_tile_the_row_fails(engine: Engine, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_decoder(monkeypatch, model, max_latents=1)
    engine.admit(ROW, params_with(), 0)
    last = run(engine)[-1]
    assert isinstance(last, RowFinished)
    with pytest.raises(OutOfMemory):
        last.picture.pixels()
    assert last.picture.lap is None
    monkeypatch.undo()
    assert draw(engine, params_with()).any()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_overflowed_are_an_error_and_no_black_picture(model: Model, number: float) -> None:
    latents = latents_of(8, 8)
    latents[0, 0, 0, 0] = number
    with pytest.raises(ModelError, match="guidance_scale"):
        decode(model, latents)
