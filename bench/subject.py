"""The model that a run draws with, and the size of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.generation import ModelCard, Size
from worker.engine.card import card_of
from worker.engine.source import choose_source, fetch


@dataclass(frozen=True, slots=True)
class Subject:
    """One model at one size."""

    model: str
    """For `DARKROOM_MODEL`."""
    checkpoint: Path
    """The same, for the ways that load it themselves."""
    card: ModelCard
    size: Size

    @classmethod
    def of(cls, model: str, size: Size | None = None) -> Subject:
        """Find a model: `demo`, a folder, or a hub id; None: its own default size."""
        source = choose_source(model, cuda=False)
        card = card_of(source)
        return cls(model, fetch(source), card, size or card.defaults.size)
