"""Stand-ins for the engine, named for how they fail; the queue and the store around them are real."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.errors import ModelError
from shared.generation import GenerationParams
from shared.lanes import Lane
from worker.engine.events import Event, Picture, Pixels, PromptRead, RowFailed, RowFinished, RowId, RowStepped
from worker.engine.lap import Lap
from worker.engine.pictures import Glance

STEP_S = 0.01
DECODING_S = 0.05
"""What the stand-ins say that they took."""
PIXELS: Pixels = np.full((64, 64, 3), 128, np.uint8)


@dataclass(frozen=True, slots=True)
class Seen:
    """How much of a text the encoders see: all of it, unless told otherwise."""

    tokens: int = 2
    window: int = 75
    windows: int = 1
    passages: tuple[tuple[str, float], ...] = ()
    unread: tuple[str, ...] = ()
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A picture that never comes."""

    error: Exception

    def pixels(self) -> Pixels:
        raise self.error

    @property
    def lap(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Grey:
    """A picture that is there, and what it took."""

    lap: Lap

    def pixels(self) -> Pixels:
        return PIXELS


def some_lap() -> Lap:
    """Take one."""
    lap = Lap(is_queued=False)
    with lap.going():
        return lap


class SteadyEngine:
    """Draws one row at a time, all of the same grey; steps when it is let."""

    def __init__(self) -> None:
        self.rows: dict[RowId, tuple[GenerationParams, int]] = {}
        self.drawn: list[RowId] = []
        self.most_rows = 1
        self.steps = 0
        self.decoding_s = 0.0
        self.may_step = threading.Event()
        self.may_step.set()

    @property
    def row_ids(self) -> tuple[RowId, ...]:
        return tuple(self.rows)

    @property
    def is_idle(self) -> bool:
        return not self.rows

    @property
    def decoding_for_s(self) -> float:
        return self.decoding_s

    @property
    def decoding_in_all_s(self) -> float:
        return self.decoding_s

    def measure(self, text: str) -> Seen:
        del text
        return Seen()

    def has_room(self, lane: Lane) -> bool:
        del lane
        return len(self.rows) < self.most_rows

    def admit(self, row_id: RowId, params: GenerationParams, index: int, *, lane: Lane) -> None:
        del index, lane
        self.rows[row_id] = (params, 0)

    def drop(self, row_id: RowId) -> bool:
        return self.rows.pop(row_id, None) is not None

    def preview(self, row_id: RowId) -> Picture | None:
        del row_id
        return Glance(lambda: PIXELS[:8, :8])

    def step(self) -> Sequence[Event]:
        assert self.may_step.wait(60)
        self.steps += 1
        return self.advance(next(iter(self.rows)))

    def advance(self, row_id: RowId) -> list[Event]:
        params, step = self.rows[row_id]
        step += 1
        self.rows[row_id] = (params, step)
        events: list[Event] = [] if step > 1 else [PromptRead(row_id, some_lap(), encoded=2)]
        events.append(RowStepped(row_id, step, params.num_inference_steps, STEP_S))
        if step == params.num_inference_steps:
            del self.rows[row_id]
            self.drawn.append(row_id)
            events.append(RowFinished(row_id, Grey(some_lap()), was_alone=True, decoding_s=DECODING_S))
        return events


class EngineThatStepsAll(SteadyEngine):
    """Takes a step with every row that it holds, and some time for it."""

    def step(self) -> Sequence[Event]:
        assert self.may_step.wait(60)
        time.sleep(0.1)
        self.steps += 1
        return [event for row_id in tuple(self.rows) for event in self.advance(row_id)]


class EngineThatFailsFoxes(SteadyEngine):
    """Can't draw a fox; draws all else."""

    def step(self) -> Sequence[Event]:
        row_id, (params, _) = next(iter(self.rows.items()))
        if "fox" in params.prompt:
            del self.rows[row_id]
            return [RowFailed(row_id, ModelError("No foxes today."))]
        return super().step()


class EngineThatChokesOnFoxes(SteadyEngine):
    """Raises what nobody foresaw when a fox is admitted."""

    def admit(self, row_id: RowId, params: GenerationParams, index: int, *, lane: Lane) -> None:
        if "fox" in params.prompt:
            raise ZeroDivisionError("fox")
        super().admit(row_id, params, index, lane=lane)


class EngineThatCannotDecodeFoxes(SteadyEngine):
    """Takes all steps of a fox, and then has no picture of it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self._foxes: set[RowId] = set()

    def admit(self, row_id: RowId, params: GenerationParams, index: int, *, lane: Lane) -> None:
        if "fox" in params.prompt:
            self._foxes.add(row_id)
        super().admit(row_id, params, index, lane=lane)

    def step(self) -> Sequence[Event]:
        return [
            RowFinished(event.row_id, Undecodable(self._error), was_alone=True)
            if isinstance(event, RowFinished) and event.row_id in self._foxes
            else event
            for event in super().step()
        ]


class EngineWithRoomForInteractive(SteadyEngine):
    """Has room for an interactive row whatever it holds, and for a bulk row only while it holds none."""

    def __init__(self) -> None:
        super().__init__()
        self.admitted: list[RowId] = []

    def has_room(self, lane: Lane) -> bool:
        return lane is Lane.INTERACTIVE or not self.rows

    def admit(self, row_id: RowId, params: GenerationParams, index: int, *, lane: Lane) -> None:
        self.admitted.append(row_id)
        super().admit(row_id, params, index, lane=lane)


class EngineThatReadsLittle(SteadyEngine):
    """Sees nothing of any text."""

    def measure(self, text: str) -> Seen:
        return Seen(cut=text)


class EngineThatLosesItsDevice(SteadyEngine):
    """Fails for good at its first step."""

    def step(self) -> Sequence[Event]:
        raise RuntimeError("the device is gone")


class EngineThatDrawsNonsense(SteadyEngine):
    """Hands on pixels that no file can hold."""

    def step(self) -> Sequence[Event]:
        return [
            RowFinished(event.row_id, Glance(lambda: np.zeros((2, 2, 7), np.uint8)), was_alone=True)
            if isinstance(event, RowFinished)
            else event
            for event in super().step()
        ]


class EngineThatHangsInDecoding(SteadyEngine):
    """Takes all steps, and then decodes until it is let off."""

    def __init__(self) -> None:
        super().__init__()
        self.may_decode = threading.Event()

    def step(self) -> Sequence[Event]:
        return [
            RowFinished(event.row_id, Glance(self._decode), was_alone=True) if isinstance(event, RowFinished) else event
            for event in super().step()
        ]

    def _decode(self) -> Pixels:
        assert self.may_decode.wait(60)
        return PIXELS
