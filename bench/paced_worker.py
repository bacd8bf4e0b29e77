"""A worker whose steps take as long as they are told: real in all but the time, which it sleeps away.

    BENCH_STEP_MS=100 python -m bench.paced_worker

Like a worker on a GPU it hardly needs the processor, so a busy machine disturbs a bench of the queue less. A step takes
`BENCH_STEP_MS` for 64x64 pixels, in proportion to the pixels, twice that with guidance, give or take a little; a
picture's decoding takes three steps without guidance. The picture itself is drawn by the tiny model that it serves.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Final

import worker.app
from shared.generation import GenerationParams
from worker.__main__ import main
from worker.engine.engine import Engine
from worker.engine.events import Event, RowFinished, RowId
from worker.engine.model import Model

STEP_S: Final = float(os.environ.get("BENCH_STEP_MS", "100")) / 1000
DECODING_STEPS: Final = 3
SPREAD: Final = 0.03


class PacedEngine(Engine):
    """The engine, slowed down to a steady pace."""

    def __init__(self, model: Model, *, max_batch: int = 1) -> None:
        """Draw rows one at a time, in the order of their arrival, whatever `max_batch` says."""
        del max_batch
        super().__init__(model)
        self._params: dict[RowId, GenerationParams] = {}

    def admit(self, row_id: RowId, params: GenerationParams, index: int) -> None:
        """Take a picture."""
        self._params = {held: params for held, params in self._params.items() if held in self.row_ids}
        self._params[row_id] = params
        super().admit(row_id, params, index)

    def step(self) -> list[Event]:
        """Take a step, and the time for it."""
        begun = time.monotonic()
        params = self._params[self.row_ids[0]]
        events = super().step()
        steps = (2 if params.is_guided else 1) + DECODING_STEPS * any(
            isinstance(event, RowFinished) for event in events
        )
        pixels = params.width * params.height / 64**2
        took_s = STEP_S * steps * pixels * random.gauss(1, SPREAD)
        time.sleep(max(0.0, begun + took_s - time.monotonic()))
        return events


if __name__ == "__main__":
    worker.app.Engine = PacedEngine
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)
