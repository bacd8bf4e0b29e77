"""What a worker measures of its stages, for the fleet's metrics. Knows no jobs; for any thread."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, final

from shared.meters import STAGE_SECONDS, STEP_ROWS, STEP_SECONDS, Meters
from worker.engine.events import Event, RowStepped

PART: Final = "worker"
"""Of the service, as its meters have it."""


@final
class Stages:
    """Notes what took how long, of one pool's worker."""

    def __init__(self, meters: Meters, pool: str) -> None:
        self._meters = meters
        self._pool = pool

    def stepped(self, events: Sequence[Event]) -> None:
        """Note a denoising step, by what the engine told of it; nothing if no row took one."""
        seconds = [event.seconds for event in events if isinstance(event, RowStepped)]
        if seconds:
            self._meters.note(STEP_ROWS, len(seconds), self._pool)
            self._meters.note(STEP_SECONDS, sum(seconds), self._pool)

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Note how long what is done in here takes, unless it fails."""
        return self._meters.timed(STAGE_SECONDS, stage, self._pool)
