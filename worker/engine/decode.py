"""Latents to pixels through the VAE, whole or, where memory is short, in tiles."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, cast

import torch

from shared.errors import ModelError
from worker.engine.attention import torchs_choice
from worker.engine.events import Pixels
from worker.engine.model import Model

_SMALLEST_TILE: Final = 8
"""Latents a side; below it, seams would be all there is."""


@torch.inference_mode()
def decode(model: Model, latents: torch.Tensor, *, tiled: bool = False) -> Pixels:
    """Turn (1, C, h, w) latents into (H, W, 3) uint8 pixels, rounded as the stock pipeline's `numpy_to_pil`.

    Rounds on the device: a quarter of the bytes cross the bus. In tiles the memory is a quarter or
    less, and the picture differs a little from the whole (overlapping tiles, blended).

    Raises ModelError if the latents aren't finite.
    """
    if not bool(torch.isfinite(latents).all()):
        raise ModelError(
            "The picture's numbers overflowed while it was drawn. "
            "Try a lower guidance_scale, another scheduler or another seed."
        )
    vae = cast("Any", model.vae)
    latents = latents.to(vae.dtype)
    mean, std = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is not None and std is not None:
        shape = (1, model.latent_channels, 1, 1)
        latents_mean = torch.tensor(mean).view(shape).to(latents)
        latents_std = torch.tensor(std).view(shape).to(latents)
        latents = latents * latents_std / vae.config.scaling_factor + latents_mean
    else:
        latents = latents / vae.config.scaling_factor
    tiling = _tiling(model, max(latents.shape[-2:])) if tiled else nullcontext()
    with tiling, torchs_choice():
        image = vae.decode(latents, return_dict=False)[0]
    image = (image * 0.5 + 0.5).clamp(0, 1).float()
    return _to_host((image[0].permute(1, 2, 0) * 255).round().to(torch.uint8))


def _to_host(pixels: torch.Tensor) -> Pixels:
    """Copy (H, W, 3) uint8 off the device, through pinned memory where there is a bus to cross."""
    if pixels.device.type != "cuda":
        return cast("Pixels", pixels.contiguous().numpy())
    host = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
    host.copy_(pixels, non_blocking=True)
    torch.cuda.current_stream(pixels.device).synchronize()
    return cast("Pixels", host.numpy())


@contextmanager
def _tiling(model: Model, longest: int) -> Generator[None]:
    """Let the VAE work in tiles of half the picture's longer side, for now.

    The VAE's own tiles are as large as the pictures that it was trained on: no help at that size.
    """
    vae = cast("Any", model.vae)
    kept = (vae.tile_latent_min_size, vae.tile_sample_min_size)
    vae.tile_latent_min_size = max(_SMALLEST_TILE, longest // 2)
    vae.tile_sample_min_size = vae.tile_latent_min_size * model.vae_scale_factor
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
        vae.tile_latent_min_size, vae.tile_sample_min_size = kept
