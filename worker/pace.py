"""How fast this worker draws, and how long its jobs take against what was expected of them: medians of the latest.

The shift writes, the heartbeat reads. Measures the engine alone: waiting for the store or the queue is no drawing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, median_low
from typing import Final, NamedTuple, final

from shared.contract import Speed
from shared.generation import GenerationParams

MOST_SPEEDS: Final = 16
MOST_STEPS: Final = 32
MOST_PICTURES: Final = 16
MOST_JOBS: Final = 16


class Kind(NamedTuple):
    """Pictures of one kind take the same time for a step."""

    width: int
    height: int
    guided: bool


class Drawn(NamedTuple):
    """How long one picture took."""

    steps: int
    took_ms: float


@dataclass(frozen=True, slots=True)
class _Record:
    """The latest of one kind."""

    steps_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_STEPS))
    """Neither a picture's first nor its last: those encode and decode as well."""
    pictures: deque[Drawn] = field(default_factory=lambda: deque(maxlen=MOST_PICTURES))

    def speed(self, kind: Kind) -> Speed:
        # While all pictures were of one or two steps, nobody can tell a step from what is beside it.
        step_ms = median(self.steps_ms or [took_ms / steps for steps, took_ms in self.pictures])
        # The lower of two: a stall makes a picture slow, nothing makes one fast.
        picture_ms = max(0.0, median_low([took_ms - steps * step_ms for steps, took_ms in self.pictures]))
        return Speed(**kind._asdict(), step_ms=round(step_ms, 3), picture_ms=round(picture_ms, 3))


@final
class Pace:
    """Measured by one thread, read by any."""

    def __init__(self) -> None:
        self._records: dict[Kind, _Record] = {}
        self._jobs: deque[tuple[int, float]] = deque(maxlen=MOST_JOBS)
        self.speeds: tuple[Speed, ...] = ()
        """By kind, the last drawn first; replaced whole."""
        self.of_jobs = 1.0
        """How long the last jobs took, in terms of what was expected of them."""

    def drew(self, params: GenerationParams, steps_ms: Sequence[float]) -> None:
        """A picture was drawn: what each pass through the engine took, the last with its decoding.

        One whose guidance ended on the way tells nothing: it is of two kinds, and the steps of each are few.
        """
        if 0 < params.num_guided_steps < params.num_inference_steps:
            return
        kind = Kind(params.width, params.height, params.is_guided)
        record = self._records.pop(kind, None) or _Record()
        self._records[kind] = record
        if len(self._records) > MOST_SPEEDS:
            del self._records[next(iter(self._records))]
        # A sampler may take more than one pass for a step.
        passes = len(steps_ms) / params.num_inference_steps
        record.steps_ms.extend(passes * ms for ms in steps_ms[1:-1])
        record.pictures.append(Drawn(params.num_inference_steps, sum(steps_ms)))
        self.speeds = tuple(record.speed(kind) for kind, record in reversed(self._records.items()))

    def did(self, expected_ms: int, took_ms: float) -> None:
        """A job succeeded that the engine drew from its first step to its last."""
        self._jobs.append((expected_ms, took_ms))
        self.of_jobs = sum(took for _, took in self._jobs) / sum(expected for expected, _ in self._jobs)
