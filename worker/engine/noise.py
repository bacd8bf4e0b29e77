"""The noise that a row begins with: its seed's, or one on the way from there to that of its variation seed.

Drawn and mixed on the CPU, so that a seed means the same on every device; one noise is what diffusers' `randn_tensor`
draws with a CPU generator.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch.nn import functional

from shared.generation import GenerationParams

NEARLY_PARALLEL: Final = 0.9995
"""Beyond this cosine the sine of the angle is too small to divide by, as in AUTOMATIC1111's `modules/rng.py`."""


def cpu_generator(seed: int) -> torch.Generator:
    """Make what draws a seed's noise."""
    return torch.Generator("cpu").manual_seed(seed)


def first_noise(
    params: GenerationParams, index: int, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Draw the noise of picture `index`, on the CPU.

    `generator` is its seed's. It draws as much whether the picture is a variation or not: what it draws later, for a
    scheduler's steps, stays the seed's too.
    """
    noise = torch.randn(shape, generator=generator, dtype=dtype)
    variation_seed = params.variation_seed_of(index)
    if variation_seed is None:
        return noise
    end = torch.randn(shape, generator=cpu_generator(variation_seed), dtype=dtype)
    return slerp(noise, end, params.variation_strength)


def slerp(start: torch.Tensor, end: torch.Tensor, share: float) -> torch.Tensor:
    """Go a share of the way along the arc between two noises: unlike on the straight line, the variance stays.

    Shoemake 1985, "Animating Rotation with Quaternion Curves", of the whole tensor as one vector. In double precision,
    so that neither fp16 nor the order in which threads add up shows in the result, which has the type of `start`.
    """
    low, high = start.double(), end.double()
    cosine = functional.cosine_similarity(low.flatten(), high.flatten(), dim=0).item()
    if abs(cosine) > NEARLY_PARALLEL:
        return torch.lerp(low, high, share).to(start.dtype)
    angle = math.acos(cosine)
    mixed = math.sin((1 - share) * angle) * low + math.sin(share * angle) * high
    return (mixed / math.sin(angle)).to(start.dtype)
