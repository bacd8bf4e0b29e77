"""What a picture takes, by what workers measured of pictures like it. Pure functions; knows neither queue nor fleet."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean
from typing import Final

from shared.contract import Speed
from shared.generation import GenerationParams

GUIDED: Final = 2.0
"""A guided step in terms of one without guidance."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What one picture of a request will take a worker."""

    picture_ms: float
    is_measured: bool
    """True if pictures of this very size and guidance were measured; else it is reckoned from the nearest that were."""


def expected_picture(params: GenerationParams, speeds: Iterable[Speed]) -> Expected | None:
    """Tell what a picture will take, the mean of the nearest that were measured; None if nothing was."""
    measured = [(_distance(speed, params), speed) for speed in speeds]
    if not measured:
        return None
    nearest = min(distance for distance, _ in measured)
    took_ms = mean(_picture_ms(speed, params) for distance, speed in measured if distance == nearest)
    return Expected(took_ms, nearest == 0)


def _picture_ms(speed: Speed, params: GenerationParams) -> float:
    """Scale what was measured to a picture of this request."""
    pixels, _ = _ratios(speed, params)
    unguided_ms = speed.step_ms / GUIDED if speed.guided else speed.step_ms
    guidance_ms = params.num_guided_steps * (GUIDED - 1) * unguided_ms
    return pixels * (params.num_inference_steps * unguided_ms + guidance_ms + speed.picture_ms)


def _distance(speed: Speed, params: GenerationParams) -> float:
    """How far what was measured is from the request: 0 for its very size and guidance."""
    if (speed.width, speed.height, speed.guided) == (params.width, params.height, params.is_guided):
        return 0.0
    # A size of the same area, turned or of another shape, is nearly as good.
    return 1e-9 + sum(abs(math.log(ratio)) for ratio in _ratios(speed, params))


def _ratios(speed: Speed, params: GenerationParams) -> tuple[float, float]:
    pixels = params.width * params.height / (speed.width * speed.height)
    return pixels, GUIDED ** (params.is_guided - speed.guided)
