"""What a worker counts of its stages, steps and prompts, for the fleet's metrics. Knows no jobs; for any thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from shared.meters import PROMPT_CACHE, STAGE_SECONDS, STEP_ROWS, STEP_SECONDS, Meters
from worker.engine.events import Event, PromptRead, RowStepped
from worker.stages import Passage

PART: Final = "worker"
"""Of the service, as its meters have it."""


@final
class Measures:
    """Counts for one pool's worker."""

    def __init__(self, meters: Meters, pool: str) -> None:
        self._meters = meters
        self._pool = pool

    def passed(self, passage: Passage) -> None:
        """Count a stage by its seconds, unless it failed. `Stages` calls this."""
        if passage.error is None:
            self._meters.note(STAGE_SECONDS, passage.seconds, passage.stage, self._pool)

    def stepped(self, events: Sequence[Event]) -> None:
        """Count a denoising step and the prompts read before it, by what the engine told."""
        for event in events:
            if isinstance(event, PromptRead):
                self._meters.add(PROMPT_CACHE, event.recalled, "yes", self._pool)
                self._meters.add(PROMPT_CACHE, event.encoded, "no", self._pool)
        if rows := sum(isinstance(event, RowStepped) for event in events):
            self._meters.note(STEP_ROWS, rows, self._pool)
            self._meters.note(STEP_SECONDS, step_seconds(events), self._pool)


def prompt_seconds(events: Sequence[Event]) -> float:
    """What the reading of prompts took before a step."""
    return sum(event.lap.seconds for event in events if isinstance(event, PromptRead))


def step_seconds(events: Sequence[Event]) -> float:
    """What the step itself took, all rows together: a row's part of it has its part of the prompts' reading too."""
    whole = sum(event.seconds for event in events if isinstance(event, RowStepped))
    return max(0.0, whole - prompt_seconds(events))
