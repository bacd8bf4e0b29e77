"""What the engine's tests draw, and how they drive it."""

from __future__ import annotations

import copy
import dataclasses

import torch

from shared.generation import GenerationParams, Scheduler
from worker.engine.engine import Engine
from worker.engine.events import Event, Pixels, RowFinished, RowId
from worker.engine.model import Model
from worker.engine.prompts import PromptEncoder
from worker.engine.row import Row

ROW = RowId("row")

CPU = torch.device("cpu")
"""Where bits are compared, on a machine with a GPU too."""

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


def params_with(**changes: object) -> GenerationParams:
    return PARAMS.model_copy(update=changes)


def with_a_vae_of_its_own(model: Model) -> Model:
    """For a test that changes how pictures are decoded: another test's may still be on their way."""
    return dataclasses.replace(model, vae=copy.deepcopy(model.vae))


def make_row(model: Model, params: GenerationParams) -> Row:
    return Row(ROW, params, 0, model=model, conditioning=PromptEncoder(model).condition(params))


def run(engine: Engine) -> list[Event]:
    events: list[Event] = []
    while not engine.is_idle:
        events += engine.step()
    return events


def draw(engine: Engine, params: GenerationParams, index: int = 0) -> Pixels:
    engine.admit(ROW, params, index)
    last = run(engine)[-1]
    assert isinstance(last, RowFinished), last
    return last.picture.pixels()
