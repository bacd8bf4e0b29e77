"""A job in a worker's hands: which of its pictures are drawn, how far it is, what there is to say of it."""

from __future__ import annotations

from typing import final

from shared.generation import GenerationParams
from shared.jobs import NO_NOTES, Job, Notes, trace_id
from shared.logs import About
from shared.scripts import Claimed, Lease
from worker.engine.events import RowId


@final
class HeldJob:
    """One job under one lease. Pictures that an earlier attempt delivered count as done."""

    def __init__(self, claimed: Claimed) -> None:
        self.job: Job = claimed.job
        self.lease: Lease = claimed.lease
        self.about = About(
            self.job.asked or "",
            self.job.tenant,
            job=self.job.id,
            attempt=self.job.attempt,
            trace=trace_id(self.job.trace),
            private=(self.params.prompt, self.params.negative_prompt),
        )
        """For the log."""
        self.notes: Notes = NO_NOTES
        kept = {image.index for image in self.job.images}
        self.missing: tuple[int, ...] = tuple(n for n in range(self.params.num_images) if n not in kept)
        self._index_of = {RowId(f"{self.job.id}/{index}"): index for index in self.missing}
        self._steps = dict.fromkeys(kept, self.params.num_inference_steps)
        self._drawing = set(self._index_of)
        self._steps_ms: dict[RowId, list[float]] = {row_id: [] for row_id in self._index_of}
        self._began_at: dict[RowId, float] = {}
        self.sketch_again_at = 0.0
        """When its next preview is due, by the monotonic clock."""

    @property
    def params(self) -> GenerationParams:
        """What is to be drawn."""
        return self.job.params

    @property
    def rows(self) -> dict[RowId, int]:
        """The index of each picture that is still being drawn, by its row."""
        return {row_id: index for row_id, index in self._index_of.items() if row_id in self._drawing}

    @property
    def step(self) -> int:
        """Denoising steps done, over all pictures."""
        return sum(self._steps.values())

    @property
    def steps_to_draw(self) -> int:
        """Denoising steps that the engine has still to take."""
        return self.params.num_inference_steps * self.params.num_images - self.step

    @property
    def is_drawn_whole(self) -> bool:
        """True if no earlier attempt drew any of its pictures."""
        return len(self.missing) == self.params.num_images

    @property
    def took_ms(self) -> float:
        """How long the engine has drawn it."""
        return sum(map(sum, self._steps_ms.values()))

    def steps_ms(self, row_id: RowId) -> list[float]:
        """How long each of a row's steps took, the last with its decoding."""
        return self._steps_ms[row_id]

    def index_of(self, row_id: RowId) -> int:
        """Which of its pictures a row is."""
        return self._index_of[row_id]

    def began_at(self, row_id: RowId) -> float:
        """When the row's first step began, by the monotonic clock."""
        return self._began_at[row_id]

    def stepped(self, row_id: RowId, step: int, of: int, took_ms: float, *, began_at: float) -> None:
        """Note a row's step; a sampler that takes two evaluations a step counts `of` of them."""
        self._began_at.setdefault(row_id, began_at)
        self._steps_ms[row_id].append(took_ms)
        self._steps[self._index_of[row_id]] = self.params.num_inference_steps * step // of

    def drawn(self, row_id: RowId, decoding_ms: float) -> int:
        """Note that a row left the engine, to be decoded; the index of its picture."""
        self._drawing.discard(row_id)
        if took_ms := self._steps_ms[row_id]:
            took_ms[-1] += decoding_ms
        index = self._index_of[row_id]
        self._steps[index] = self.params.num_inference_steps
        return index


def row_owner(row_id: RowId) -> str:
    """The id of the job that a row belongs to."""
    return row_id.rpartition("/")[0]
