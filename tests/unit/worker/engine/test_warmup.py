from __future__ import annotations

import pytest
import torch

from shared.errors import ModelError
from tests.unit.worker.engine.breaking import break_unet
from worker.engine.engine import Engine
from worker.engine.model import Model
from worker.engine.warmup import warm, warm_other_kinds


def test_warming_measures_a_picture_and_leaves_nothing(engine: Engine) -> None:
    warmth = warm(engine)
    assert warmth.params.size == engine.model.card.defaults.size
    assert len(warmth.steps_ms) == warmth.params.num_inference_steps
    assert 0 < sum(warmth.steps_ms) < 1000 * warmth.seconds
    assert engine.is_idle


def test_each_size_of_the_card_can_be_warmed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[int, int]] = set()

    def note(sample: torch.Tensor) -> None:
        seen.add((8 * sample.shape[-1], 8 * sample.shape[-2]))

    break_unet(monkeypatch, model, note)
    warm_other_kinds(Engine(model))
    sizes = {(ratio.size.width, ratio.size.height) for ratio in model.card.aspect_ratios}
    assert seen == sizes - {(model.card.defaults.size.width, model.card.defaults.size.height)} != set()


def test_an_engine_that_cannot_draw_does_not_warm(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    break_unet(monkeypatch, model, lambda _: RuntimeError("no kernel"))
    with pytest.raises(ModelError, match="no kernel"):
        warm(Engine(model))
