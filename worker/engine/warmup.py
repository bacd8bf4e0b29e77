"""The first forward is the slowest: kernels load, memory is reserved. Better before the first job."""

from __future__ import annotations

import time

from shared.errors import GenerationFailed
from shared.generation import GenerationParams
from worker.engine.engine import Engine
from worker.engine.events import RowFailed, RowId


def warm(engine: Engine, *, num_inference_steps: int = 2) -> float:
    """Draw one picture of the default size and throw it away; seconds that it took.

    Call it in the thread that will run the engine, before any row is admitted. Raises the
    GenerationFailed that the picture met: a worker that can't draw must not take jobs.
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
    engine.admit(RowId("warm-up"), params, 0)
    failure: GenerationFailed | None = None
    while not engine.is_idle:
        for event in engine.step():
            if isinstance(event, RowFailed):
                failure = event.error
    if failure is not None:
        raise failure
    engine.prepare_previews()
    return time.monotonic() - begun
