from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_checkpoint import tiny_checkpoint
from tests.unit.worker.engine.drawing import CPU
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.model import Model, load_model
from worker.engine.source import choose_source, fetch

__all__ = ["tiny_checkpoint"]


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Path) -> Model:
    source = choose_source(str(tiny_checkpoint), cuda=False)
    return load_model(fetch(source), card_of(source), device=CPU)


@pytest.fixture
def engine(model: Model) -> Engine:
    return Engine(model)
