"""The first forward is the slowest: kernels load, memory is reserved. Better before the first job."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from shared.generation import GenerationParams
from worker.engine.engine import Engine
from worker.engine.events import RowFailed, RowId

AGAIN_BELOW_S: Final = 20.0
"""Where the first picture took longer, a device is so slow that loading kernels is little of it."""


@dataclass(frozen=True, slots=True)
class Warmth:
    """A picture that was drawn with a warm engine: a first measure of its speed."""

    params: GenerationParams
    steps_ms: tuple[float, ...]
    """The first step with encoding the prompt, the last with decoding."""
    seconds: float
    """That warming took in all."""


def warm(engine: Engine, *, num_inference_steps: int = 3) -> Warmth:
    """Draw a picture of the default size and throw it away, then another to see how long that takes.

    Call it in the thread that will run the engine, before any row is admitted. Raises the
    GenerationFailed that a picture met: a worker that can't draw must not take jobs.
    """
    defaults = engine.model.card.defaults
    params = GenerationParams(
        prompt="warm-up",
        negative_prompt=defaults.negative_prompt,
        width=defaults.size.width,
        height=defaults.size.height,
        num_inference_steps=num_inference_steps,
        guidance_scale=defaults.guidance_scale,
        seed=0,
        scheduler=defaults.scheduler,
    )
    begun = time.monotonic()
    steps_ms = _draw(engine, params)
    engine.prepare_previews()
    if sum(steps_ms) < 1000 * AGAIN_BELOW_S:
        steps_ms = _draw(engine, params)
    return Warmth(params, steps_ms, time.monotonic() - begun)


def _draw(engine: Engine, params: GenerationParams) -> tuple[float, ...]:
    """Draw a picture for nothing; how long each step took, in ms."""
    engine.admit(RowId("warm-up"), params, 0)
    steps_ms: list[float] = []
    while not engine.is_idle:
        begun = time.monotonic()
        for event in engine.step():
            if isinstance(event, RowFailed):
                raise event.error
        steps_ms.append(1000 * (time.monotonic() - begun))
    return tuple(steps_ms)
