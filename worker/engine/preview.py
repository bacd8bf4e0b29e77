"""A glance at a row without the VAE: a linear map from latents to colours, fitted to the VAE itself.

One latent is about the mean colour of its 8x8 pixels, to a linear map (the idea is keturn's, for
Stable Diffusion 1: https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204).
Instead of constants for one VAE, the map is fitted when the model is loaded, so it serves any.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch.nn import functional

from worker.engine.events import Pixels
from worker.engine.model import Model

_SAMPLES: Final = 8
_SIDE: Final = 128


class LatentsToRgb:
    """A matrix (C, 3) and an offset (3,), both float32 on the model's device."""

    def __init__(self, matrix: torch.Tensor, offset: torch.Tensor) -> None:
        self._matrix = matrix
        self._offset = offset

    @classmethod
    @torch.inference_mode()
    def fit(cls, model: Model) -> LatentsToRgb:
        """Fit by least squares on coloured fields that the VAE encodes: 8 of 128x128 pixels, always the same."""
        vae = cast("Any", model.vae)
        fields = _coloured_fields().to(model.device, vae.dtype)
        latents = torch.cat([vae.encode(field[None] * 2 - 1).latent_dist.mode() for field in fields])
        latents = (latents * vae.config.scaling_factor).float().cpu()
        colours = functional.adaptive_avg_pool2d(fields.float().cpu(), latents.shape[-2:])
        inputs = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
        outputs = colours.permute(0, 2, 3, 1).reshape(-1, 3).double()
        solution = (cast("Any", torch.linalg).pinv(inputs) @ outputs).float()
        return cls(solution[:-1].to(model.device), solution[-1].to(model.device))

    @torch.inference_mode()
    def __call__(self, latents: torch.Tensor) -> Pixels:
        """Turn (1, C, h, w) latents into (h, w, 3) uint8: one pixel a latent. Waits for the device."""
        rgb = latents[0].permute(1, 2, 0).float() @ self._matrix + self._offset
        return cast("Pixels", (rgb.nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def _coloured_fields() -> torch.Tensor:
    """(8, 3, 128, 128) in 0..1: half smooth gradients, half blocks with edges, of random saturated colours."""
    generator = torch.Generator("cpu").manual_seed(0)
    seeds = torch.rand(_SAMPLES, 3, 5, 5, generator=generator).mul(1.4).sub(0.2).clamp(0, 1)
    smooth = functional.interpolate(seeds[: _SAMPLES // 2], size=(_SIDE, _SIDE), mode="bilinear")
    blocks = functional.interpolate(seeds[_SAMPLES // 2 :], size=(_SIDE, _SIDE), mode="nearest")
    return torch.cat([smooth, blocks])
