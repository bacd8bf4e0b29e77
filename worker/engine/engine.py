"""The denoising loop: rows come, take steps together where they fit, and leave as pictures.

    Engine.admit ──► waiting ──► drawing ──step──► drawing ... ──► RowFinished, being decoded
                        │           │
                        └── drop ───┴── RowFailed

Scheduled anew at each step (as Orca does for language models, Yu et al. 2022): the lane whose turn it is, in it the
group whose turn it is, and of that group as many rows as pay, first come, first served. Rows may stand at different
steps; each has its own scheduler, seed and guidance. Rows that are not chosen pause where they stand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

import torch

from shared.errors import GenerationFailed, OutOfMemory
from shared.generation import GenerationParams, Size
from shared.lanes import HEAD_START_S, Lane
from shared.reading import PromptMeasure
from shared.vocabulary import Vocabulary
from worker.engine.batches import Batches
from worker.engine.events import Event, Picture, PromptRead, RowFailed, RowFinished, RowId, RowStepped
from worker.engine.failures import attempt
from worker.engine.lap import Lap
from worker.engine.model import Model
from worker.engine.pictures import Decoder, Glance
from worker.engine.preview import LatentsToRgb
from worker.engine.prompts import PromptEncoder
from worker.engine.row import GroupKey, Row, predict_noise
from worker.engine.throttle import Throttle
from worker.engine.turns import Turns

LANES: Final = (Lane.INTERACTIVE, Lane.BULK)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step that the device has, and what is to be told when it is done."""

    lane: Lane
    rows: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row that no step has touched yet: it holds nothing on the device."""

    id: RowId
    params: GenerationParams
    index: int


class Engine:
    """Draws rows with one model, in one thread: the one that made it. Decoding has a thread of its own.

    A row in company differs from the row alone by about 1e-6, which rounds to other pixels now and then: rows whose
    parameters are `deterministic` are drawn alone.
    """

    def __init__(self, model: Model, *, batches: Batches | None = None, bulk_share: float = 0.2) -> None:
        """`bulk_share`: the part of the time that the bulk lane gets while interactive rows wait for long."""
        self.model = model
        self.batches = batches or Batches()
        self._encoder = PromptEncoder(model)
        self._decoder = Decoder(model)
        self._is_queued = model.device.type == "cuda"
        self._throttle = Throttle[_Step](is_queued=self._is_queued)
        self._rows: dict[RowId, _Waiting | Row] = {}
        self._lane_of: dict[RowId, Lane] = {}
        # Lanes by time, of which one may have a head start; groups by the work of a row.
        self._lanes = Turns[Lane](
            share=lambda lane: bulk_share if lane is Lane.BULK else 1 - bulk_share,
            credit=lambda lane: HEAD_START_S if lane is Lane.INTERACTIVE else 0.0,
        )
        self._groups = {lane: Turns[GroupKey]() for lane in LANES}
        self._rows_that_fit: dict[Size, int] = {}
        self._to_rgb: LatentsToRgb | None = None

    @property
    def row_ids(self) -> tuple[RowId, ...]:
        """The rows held, in the order of their arrival."""
        return tuple(self._rows)

    @property
    def is_idle(self) -> bool:
        """True if no row is held, and all that was to be told is told."""
        return not self._rows and not self._throttle.is_ahead

    @property
    def decoding_for_s(self) -> float:
        """How long the picture that is being decoded has been at it, in seconds; 0 if none is."""
        return self._decoder.busy_for_s

    @property
    def decoding_in_all_s(self) -> float:
        """How long pictures have been decoded, all together, in seconds."""
        return self._decoder.in_all_s

    def has_room(self, lane: Lane) -> bool:
        """Tell whether another row of this lane would be drawn with those held or, if it is interactive, before them.

        Each row takes up its part of a forward: an eighth where eight share one, all of it if it is drawn alone.
        """
        before = self._rows if lane is Lane.BULK else self._in(lane)
        return sum(self._part_of_forward(self._rows[row_id].params) for row_id in before) < 1

    @property
    def vocabulary(self) -> Vocabulary:
        """What its texts are read by."""
        return self._encoder.vocabulary

    def measure(self, text: str) -> PromptMeasure:
        """Count a prompt's tokens and find what the encoders won't see."""
        return self._encoder.measure(text)

    def admit(self, row_id: RowId, params: GenerationParams, index: int, *, lane: Lane = Lane.INTERACTIVE) -> None:
        """Take picture `index` of a job. Nothing runs until `step`, which also reports what goes wrong."""
        if row_id in self._rows:
            raise ValueError(f"Row {row_id} is being drawn already.")
        if not self._rows:
            self._lanes.forget()  # no lane owes the other anything
        self._rows[row_id] = _Waiting(row_id, params, index)
        self._lane_of[row_id] = lane

    def drop(self, row_id: RowId) -> bool:
        """Forget a row at once, without an event; False if it isn't held."""
        self._lane_of.pop(row_id, None)
        return self._rows.pop(row_id, None) is not None

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Take one denoising step with the rows whose turn it is; have those decoded that are done.

        Tells what the step brought about, or on CUDA the one before it: the device has this one still to do. Returns
        at once with nothing when idle. Raises only if the device itself is lost.
        """
        self._decoder.check()
        events: list[Event] = []
        self._throttle.begin()
        turn = self._next_turn(events)
        if turn is None:
            return self._told(self._throttle.last()) + events
        lane, key, rows = turn
        work = key.height * key.width * sum(row.samples for row in rows)
        for row, outcome in self._predict(rows):
            if isinstance(outcome, GenerationFailed):
                self._fail(row.id, outcome, events)
            else:
                self._advance(row, outcome, events)
        self._groups[lane].charge(key, work / len(rows))
        return self._told(self._throttle.queued(_Step(lane, len(rows), events)))

    def _told(self, done: tuple[_Step, float] | None) -> list[Event]:
        """Charge a step that is done to its lane, and say what it took."""
        if done is None:
            return []
        step, seconds = done
        self._lanes.charge(step.lane, seconds)
        part_s = seconds / step.rows
        return [replace(event, seconds=part_s) if isinstance(event, RowStepped) else event for event in step.events]

    def preview(self, row_id: RowId) -> Picture | None:
        """Show what a row is about to become: (h, w, 3) uint8, one pixel a latent; None before its first step.

        Costs this thread next to nothing: it is computed where it is looked at.
        """
        row = self._rows.get(row_id)
        if not isinstance(row, Row) or row.prediction is None:
            return None
        seen = row.prediction
        return Glance(lambda: self.prepare_previews()(row.estimate(seen)))

    def prepare_previews(self) -> LatentsToRgb:
        """Fit the preview's map, once."""
        if self._to_rgb is None:
            self._to_rgb = LatentsToRgb.fit(self.model)
        return self._to_rgb

    def _next_turn(self, events: list[Event]) -> tuple[Lane, GroupKey, list[Row]] | None:
        """Choose a lane, a group, and of its rows, in order of arrival, as many as share a forward."""
        while present := [lane for lane in LANES if self._in(lane)]:
            lane = self._lanes.next(present)
            groups: dict[GroupKey, list[Row]] = {}
            for row_id in self._in(lane):
                row = self._prepared(row_id, events)
                if row is not None:
                    groups.setdefault(row.key, []).append(row)
            if groups:
                key = self._groups[lane].next(tuple(groups))
                return lane, key, self._share_a_forward(key, groups[key])
        return None

    def _share_a_forward(self, key: GroupKey, rows: list[Row]) -> list[Row]:
        """Take as many of a group's rows, from the first on, as pay and fit."""
        if key.is_alone:
            return rows[:1]
        size = rows[0].params.size
        most = self.batches.samples(size)
        sums = accumulate(row.samples for row in rows)
        pays = sum(samples <= most for samples in sums)
        return rows[: min(pays, self._most_rows(size))]

    def _most_rows(self, size: Size) -> int:
        """How many rows of a size may share a forward, whether that pays or not."""
        return min(self.batches.most, self._rows_that_fit.get(size, self.batches.most))

    def _part_of_forward(self, params: GenerationParams) -> float:
        if params.deterministic:
            return 1.0
        samples = 2 if params.is_guided else 1
        return max(samples / self.batches.samples(params.size), 1 / self._most_rows(params.size))

    def _in(self, lane: Lane) -> tuple[RowId, ...]:
        return tuple(row_id for row_id, its in self._lane_of.items() if its is lane)

    def _prepared(self, row_id: RowId, events: list[Event]) -> Row | None:
        """Give a waiting row its embeddings, noise and scheduler."""
        held = self._rows[row_id]
        if isinstance(held, Row):
            return held

        lap = Lap(is_queued=self._is_queued)

        def prepare() -> Row:
            with lap.going():
                conditioning = self._encoder.condition(held.params)
            return Row(held.id, held.params, held.index, model=self.model, conditioning=conditioning)

        outcome = attempt(prepare)
        if isinstance(outcome, GenerationFailed):
            self._fail(row_id, outcome, events)
            return None
        self._rows[row_id] = outcome
        texts = outcome.conditioning
        events.append(PromptRead(row_id, lap, texts.recalled, texts.encoded))
        return outcome

    def _predict(self, group: list[Row]) -> list[tuple[Row, tuple[torch.Tensor, torch.Tensor] | GenerationFailed]]:
        """Run the UNet for a group; when that raises, for each half of it, so that only the guilty fail."""
        outcome = self._forward(group)
        if isinstance(outcome, OutOfMemory) and self._decoder.rest():
            outcome = self._forward(group)  # the memory was with a picture that was being decoded
        if not isinstance(outcome, GenerationFailed):
            for row in group:
                row.was_alone &= len(group) == 1
            return list(zip(group, outcome, strict=True))
        if len(group) == 1:
            return [(group[0], outcome)]
        half = (len(group) + 1) // 2
        if isinstance(outcome, OutOfMemory):
            self._rows_that_fit[group[0].params.size] = half
        return self._predict(group[:half]) + self._predict(group[half:])

    def _forward(self, group: list[Row]) -> list[tuple[torch.Tensor, torch.Tensor]] | GenerationFailed:
        with self._decoder.stepping():
            return attempt(lambda: predict_noise(self.model, group))

    def _advance(self, row: Row, prediction: tuple[torch.Tensor, torch.Tensor], events: list[Event]) -> None:
        outcome = attempt(lambda: row.advance(*prediction))
        if isinstance(outcome, GenerationFailed):
            self._fail(row.id, outcome, events)
            return
        events.append(RowStepped(row.id, row.step, row.num_steps))
        if row.is_denoised:
            self.drop(row.id)
            decoding_s = self._decoder.expected_s(row.latents)
            events.append(RowFinished(row.id, self._decoder.decode(row.latents), row.was_alone, decoding_s))

    def _fail(self, row_id: RowId, error: GenerationFailed, events: list[Event]) -> None:
        self.drop(row_id)
        events.append(RowFailed(row_id, error))
