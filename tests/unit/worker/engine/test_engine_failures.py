from __future__ import annotations

import threading
from typing import Any, cast

import pytest
import torch

from shared.errors import ModelError, OutOfMemory
from shared.lanes import Lane
from tests.unit.worker.engine.breaking import break_unet, no_room
from tests.unit.worker.engine.drawing import PARAMS, ROW, draw, make_row, params_with, run, with_a_vae_of_its_own
from worker.engine.batches import Batches
from worker.engine.engine import Engine
from worker.engine.events import RowFailed, RowFinished, RowId
from worker.engine.model import Model


def test_a_step_that_finds_its_memory_with_a_decoding_waits_for_that_and_is_tried_again(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = with_a_vae_of_its_own(model)
    decoder = cast("Any", own.vae.decoder)
    decode = decoder.forward
    is_decoding, may_end = threading.Event(), threading.Event()

    def decode_slowly(*args: object, **kwargs: object) -> object:
        is_decoding.set()
        assert may_end.wait(60)
        try:
            return decode(*args, **kwargs)
        finally:
            is_decoding.clear()

    def raises(_: torch.Tensor) -> Exception | None:
        if not is_decoding.is_set():
            return None
        may_end.set()
        return no_room()

    monkeypatch.setattr(decoder, "forward", decode_slowly)
    break_unet(monkeypatch, own, raises)
    engine = Engine(own, batches=Batches(most=2))
    engine.admit(RowId("first"), params_with(num_inference_steps=1), 0)
    events = list(engine.step())
    assert is_decoding.wait(60)
    for name in "ab":
        engine.admit(RowId(name), params_with(num_inference_steps=2), 0)
    events += run(engine)
    finished = [event for event in events if isinstance(event, RowFinished)]
    assert [event.row_id for event in finished] == ["first", "a", "b"]
    assert not any(event.was_alone for event in finished[1:])


def test_without_memory_for_the_batch_it_is_halved_and_stays_so(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = break_unet(monkeypatch, model, lambda sample: no_room() if len(sample) > 2 else None)
    engine = Engine(model, batches=Batches(most=4))
    for name in "abcd":
        engine.admit(RowId(name), PARAMS, 0)
    events = run(engine)
    assert sum(isinstance(event, RowFinished) for event in events) == 4
    assert batches == [2] * 16
    assert engine.has_room(Lane.INTERACTIVE)
    engine.admit(ROW, PARAMS, 0)
    assert not engine.has_room(Lane.INTERACTIVE)


def test_a_row_without_memory_fails_alone(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    break_unet(monkeypatch, model, lambda sample: no_room() if sample.shape[-1] > 8 else None)
    engine = Engine(model)
    engine.admit(ROW, params_with(width=96), 0)
    engine.admit(RowId("small"), PARAMS, 0)
    events = run(engine)
    failed = [event for event in events if isinstance(event, RowFailed)]
    assert [event.row_id for event in failed] == [ROW]
    assert isinstance(failed[0].error, OutOfMemory)
    assert "smaller" in str(failed[0].error)
    assert isinstance(events[-1], RowFinished)


def test_an_error_of_the_model_fails_the_guilty_row_of_a_batch(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(sample: torch.Tensor) -> Exception | None:
        return RuntimeError("weird tensor\nstack") if (sample[:, 0, 0, 0] * 1e3).round().eq(mark).any() else None

    row = make_row(model, params_with(seed=2))
    mark = (row.model_input().flatten()[0] * 1e3).round()
    break_unet(monkeypatch, model, raises)
    engine = Engine(model, batches=Batches(most=4))
    for seed in range(4):
        engine.admit(RowId(str(seed)), params_with(seed=seed), 0)
    events = run(engine)
    failed = [event for event in events if isinstance(event, RowFailed)]
    assert [event.row_id for event in failed] == ["2"]
    assert isinstance(failed[0].error, ModelError)
    assert "RuntimeError: weird tensor." in str(failed[0].error)
    assert sum(isinstance(event, RowFinished) for event in events) == 3


def test_an_error_while_a_row_is_prepared_fails_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise IndexError("no such token")

    with monkeypatch.context() as patch:
        patch.setattr(cast("Any", engine.model.text_encoder), "forward", broken)
        engine.admit(ROW, params_with(prompt="never seen before"), 0)
        events = run(engine)
    assert len(events) == 1
    assert isinstance(events[0], RowFailed)
    assert isinstance(events[0].error, ModelError)
    assert draw(engine, PARAMS).any()


def test_a_lost_device_ends_the_engine(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    break_unet(monkeypatch, model, lambda _: lost)
    engine = Engine(model)
    engine.admit(ROW, PARAMS, 0)
    with pytest.raises(torch.AcceleratorError):
        engine.step()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_other_signs_of_too_little_memory(model: Model, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    break_unet(monkeypatch, model, lambda _: error)
    engine = Engine(model)
    engine.admit(ROW, PARAMS, 0)
    *_, event = engine.step()
    assert isinstance(event, RowFailed)
    assert isinstance(event.error, OutOfMemory)
