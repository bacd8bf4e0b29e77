"""The denoising loop: rows come, take steps together where they fit, and leave as pictures.

    Engine.admit ──► waiting ──► drawing ──step──► drawing ... ──► RowFinished
                        │           │
                        └── drop ───┴── RowFailed

A step serves the row that came first and, up to `max_batch`, the rows that fit one UNet forward
with it. Rows may stand at different steps; each has its own scheduler, seed and guidance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from shared.errors import GenerationFailed, OutOfMemory
from shared.generation import GenerationParams
from worker.engine.decode import decode
from worker.engine.events import Event, Pixels, RowFailed, RowFinished, RowId, RowStepped
from worker.engine.failures import as_failure
from worker.engine.model import Model
from worker.engine.preview import LatentsToRgb
from worker.engine.prompts import PromptEncoder, PromptMeasure
from worker.engine.row import GroupKey, Row, predict_noise

_logger = logging.getLogger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row that no step has touched yet: it holds nothing on the device."""

    id: RowId
    params: GenerationParams
    index: int


class Engine:
    """Draws rows with one model, in one thread: the one that made it.

    `max_batch` is 1 as long as the same request must give the same bytes whoever else is being
    served: a row in company differs from the row alone by about 1e-6, which rounds to other pixels
    now and then. Larger values draw more pictures a second on a GPU.
    """

    def __init__(self, model: Model, *, max_batch: int = 1) -> None:
        self.model = model
        self._encoder = PromptEncoder(model)
        self._max_batch = max_batch
        self._batch_that_fits: dict[GroupKey, int] = {}
        self._rows: dict[RowId, _Waiting | Row] = {}
        self._to_rgb: LatentsToRgb | None = None

    @property
    def row_ids(self) -> tuple[RowId, ...]:
        """The rows held, in the order of their arrival."""
        return tuple(self._rows)

    @property
    def is_idle(self) -> bool:
        """True if no row is held."""
        return not self._rows

    def measure(self, text: str) -> PromptMeasure:
        """Count a prompt's tokens and find what the encoders won't see."""
        return self._encoder.measure(text)

    def admit(self, row_id: RowId, params: GenerationParams, index: int) -> None:
        """Take picture `index` of a job. Nothing runs until `step`, which also reports what goes wrong."""
        if row_id in self._rows:
            raise ValueError(f"Row {row_id} is being drawn already.")
        self._rows[row_id] = _Waiting(row_id, params, index)

    def drop(self, row_id: RowId) -> bool:
        """Forget a row at once, without an event; False if it isn't held."""
        return self._rows.pop(row_id, None) is not None

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Take one denoising step with the first row and those that fit with it; decode what is done.

        Returns at once with nothing when idle. Raises only if the device itself is lost.
        """
        events: list[Event] = []
        for row, outcome in self._predict(self._next_group(events)):
            if isinstance(outcome, GenerationFailed):
                self._fail(row.id, outcome, events)
            else:
                self._advance(row, outcome, events)
        return events

    def preview(self, row_id: RowId) -> Pixels | None:
        """Show what a row is about to become: (h, w, 3) uint8, one pixel a latent; None before its first step.

        Cheap, but it waits for the device: call it a few times a second, not every step. None too if
        it can't be made just now: no picture fails for want of a preview.
        """
        row = self._rows.get(row_id)
        if not isinstance(row, Row):
            return None

        def show() -> Pixels | None:
            estimate = row.estimate()
            return None if estimate is None else self.prepare_previews()(estimate)

        outcome = _attempt(show)
        return None if isinstance(outcome, GenerationFailed) else outcome

    def prepare_previews(self) -> LatentsToRgb:
        """Fit the preview's map, once."""
        if self._to_rgb is None:
            self._to_rgb = LatentsToRgb.fit(self.model)
        return self._to_rgb

    def _next_group(self, events: list[Event]) -> list[Row]:
        """Choose the first row and, in order of arrival, those that fit with it."""
        group: list[Row] = []
        for row_id in tuple(self._rows):
            row = self._prepared(row_id, events)
            if row is None or (group and row.key != group[0].key):
                continue
            group.append(row)
            if len(group) >= self._batch_that_fits.get(group[0].key, self._max_batch):
                break
        return group

    def _prepared(self, row_id: RowId, events: list[Event]) -> Row | None:
        """Give a waiting row its embeddings, noise and scheduler."""
        held = self._rows[row_id]
        if isinstance(held, Row):
            return held

        def prepare() -> Row:
            conditioning = self._encoder.condition(held.params)
            return Row(held.id, held.params, held.index, model=self.model, conditioning=conditioning)

        outcome = _attempt(prepare)
        if isinstance(outcome, GenerationFailed):
            self._fail(row_id, outcome, events)
            return None
        self._rows[row_id] = outcome
        return outcome

    def _predict(self, group: list[Row]) -> list[tuple[Row, tuple[torch.Tensor, torch.Tensor] | GenerationFailed]]:
        """Run the UNet for a group; when that raises, for each half of it, so that only the guilty fail."""
        if not group:
            return []
        outcome = _attempt(lambda: predict_noise(self.model, group))
        if not isinstance(outcome, GenerationFailed):
            return list(zip(group, outcome, strict=True))
        if len(group) == 1:
            return [(group[0], outcome)]
        half = (len(group) + 1) // 2
        if isinstance(outcome, OutOfMemory):
            self._batch_that_fits[group[0].key] = half
        return self._predict(group[:half]) + self._predict(group[half:])

    def _advance(self, row: Row, prediction: tuple[torch.Tensor, torch.Tensor], events: list[Event]) -> None:
        outcome = _attempt(lambda: row.advance(*prediction))
        if isinstance(outcome, GenerationFailed):
            self._fail(row.id, outcome, events)
            return
        events.append(RowStepped(row.id, row.step, row.num_steps))
        if row.is_denoised:
            self._finish(row, events)

    def _finish(self, row: Row, events: list[Event]) -> None:
        outcome = _attempt(lambda: decode(self.model, row.latents))
        if isinstance(outcome, OutOfMemory):
            outcome = _attempt(lambda: decode(self.model, row.latents, tiled=True))
        if isinstance(outcome, GenerationFailed):
            self._fail(row.id, outcome, events)
            return
        del self._rows[row.id]
        events.append(RowFinished(row.id, outcome))

    def _fail(self, row_id: RowId, error: GenerationFailed, events: list[Event]) -> None:
        del self._rows[row_id]
        events.append(RowFailed(row_id, error))


def _attempt(work: Callable[[], Result]) -> Result | GenerationFailed:
    """Do it, or say why it can't be done; after a failed allocation, hand cached memory back."""
    try:
        return work()
    except Exception as error:  # a model may raise anything, and the other rows go on
        failure = as_failure(error)
        _logger.warning("%s", failure, exc_info=True)
        failure.__cause__ = error.with_traceback(None)  # a traceback's frames would keep the tensors
    if isinstance(failure, OutOfMemory) and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return failure
