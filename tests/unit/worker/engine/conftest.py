from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.generation import GenerationParams, Scheduler
from tests.tiny_checkpoint import tiny_checkpoint
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.events import Event, RowId
from worker.engine.model import Model, load_model
from worker.engine.source import choose_source, fetch

__all__ = ["tiny_checkpoint"]

ROW = RowId("row")

PARAMS = GenerationParams(
    prompt="a red circle",
    negative_prompt="",
    width=64,
    height=64,
    num_inference_steps=4,
    guidance_scale=5.0,
    seed=7,
    scheduler=Scheduler.EULER,
)


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Path) -> Model:
    source = choose_source(str(tiny_checkpoint), cuda=False)
    return load_model(fetch(source), card_of(source))


@pytest.fixture
def engine(model: Model) -> Engine:
    return Engine(model)


Run = Callable[[Engine], list[Event]]


def run(engine: Engine) -> list[Event]:
    events: list[Event] = []
    while not engine.is_idle:
        events += engine.step()
    return events
