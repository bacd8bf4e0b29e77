from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from shared.generation import Scheduler
from shared.lanes import Lane
from tests.unit.worker.engine.breaking import break_unet
from tests.unit.worker.engine.drawing import PARAMS, ROW, draw, make_row, params_with, run
from worker.engine.batches import Batches, Measured
from worker.engine.engine import Engine
from worker.engine.events import PromptRead, RowFinished, RowId, RowStepped
from worker.engine.model import Model
from worker.engine.row import predict_noise


@torch.inference_mode()
def test_rows_that_arrive_one_after_another_share_forwards_and_match_their_pictures_alone(model: Model) -> None:
    schedulers = [Scheduler.EULER, Scheduler.DPMPP_2M_KARRAS, Scheduler.EULER_ANCESTRAL, Scheduler.UNIPC]
    jobs = [
        params_with(scheduler=scheduler, seed=at, num_inference_steps=steps, guidance_scale=4.0 + at)
        for at, (scheduler, steps) in enumerate(zip(schedulers, [8, 5, 12, 6], strict=True))
    ]
    rows = [make_row(model, job) for job in jobs]
    forwards = 0
    while not all(row.is_denoised for row in rows):
        present = [row for arrival, row in enumerate(rows) if arrival <= forwards and not row.is_denoised]
        for row, prediction in zip(present, predict_noise(model, present), strict=True):
            row.advance(*prediction)
        forwards += 1
    assert forwards == 14
    for job, row in zip(jobs, rows, strict=True):
        alone = make_row(model, job)
        while not alone.is_denoised:
            alone.advance(*predict_noise(model, [alone])[0])
        difference = (row.latents - alone.latents).abs().max() / alone.latents.abs().max()
        assert difference < 1e-5


@pytest.mark.parametrize("guidance_scale", [0.0, 5.0])
def test_pictures_in_company_match_pictures_alone(model: Model, guidance_scale: float) -> None:
    together = Engine(model, batches=Batches(most=3))
    jobs = [params_with(seed=seed, prompt=f"cat {seed}", guidance_scale=guidance_scale) for seed in range(3)]
    for job in jobs:
        together.admit(RowId(str(job.seed)), job, 0)
    finished = {event.row_id: event.picture.pixels() for event in run(together) if isinstance(event, RowFinished)}
    for job in jobs:
        difference = finished[RowId(str(job.seed))].astype(int) - draw(Engine(model), job)
        assert np.abs(difference).max() <= 1


def test_the_same_request_gives_the_same_bytes_whoever_else_is_served(engine: Engine, model: Model) -> None:
    engine.admit(ROW, PARAMS, 0)
    for seed in range(3):
        engine.admit(RowId(str(seed)), params_with(seed=seed), 0)
    finished = {event.row_id: event.picture.pixels() for event in run(engine) if isinstance(event, RowFinished)}
    assert np.array_equal(finished[ROW], draw(Engine(model), PARAMS))


def test_only_rows_of_one_shape_share_a_forward(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = break_unet(monkeypatch, model, lambda _: None)
    engine = Engine(model, batches=Batches(most=8))
    jobs = [PARAMS, params_with(width=96), params_with(guidance_scale=1.0), params_with(seed=1)]
    for at, job in enumerate(jobs):
        engine.admit(RowId(str(at)), job, 0)
    run(engine)
    assert sorted(batches) == [2] * 4 + [5] * 4


def test_rows_with_guidance_without_and_past_their_cutoff_share_forwards(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = break_unet(monkeypatch, model, lambda _: None)
    together = Engine(model, batches=Batches(most=8))
    jobs = [
        params_with(guidance_cutoff=0.5),  # three guided steps and one more
        params_with(guidance_scale=1.0, num_inference_steps=6),
        params_with(seed=3, num_inference_steps=5),
    ]
    for at, job in enumerate(jobs):
        together.admit(RowId(str(at)), job, 0)
    finished = {event.row_id: event.picture for event in run(together) if isinstance(event, RowFinished)}
    assert batches == [5, 5, 5, 4, 3, 1]
    for at, job in enumerate(jobs):
        difference = finished[RowId(str(at))].pixels().astype(int) - draw(Engine(model), job)
        assert np.abs(difference).max() <= 1


def test_no_more_samples_than_pay_go_into_a_forward(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = break_unet(monkeypatch, model, lambda _: None)
    pays = Measured(size=PARAMS.size, forward_ms={1: 1.0, 2: 1.0, 4: 1.0, 8: 9.0})
    engine = Engine(model, batches=Batches(most=8, measured=(pays,)))
    for at, guidance in enumerate((5.0, 1.0, 5.0)):
        engine.admit(RowId(str(at)), params_with(guidance_scale=guidance), 0)
    run(engine)
    assert batches == [3] * 4 + [2] * 4


def test_a_deterministic_row_shares_no_forward_and_says_so(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = break_unet(monkeypatch, model, lambda _: None)
    engine = Engine(model, batches=Batches(most=8))
    for at in range(4):
        engine.admit(RowId(str(at)), params_with(seed=at, deterministic=at < 2), 0)
    finished = {event.row_id: event for event in run(engine) if isinstance(event, RowFinished)}
    assert sorted(batches) == [2] * 8 + [4] * 4
    assert [finished[RowId(str(at))].was_alone for at in range(4)] == [True, True, False, False]
    for at in range(2):
        pixels = finished[RowId(str(at))].picture.pixels()
        assert np.array_equal(pixels, draw(Engine(model), params_with(seed=at)))


def test_an_interactive_row_goes_before_bulk_rows_which_go_on_where_they_stood(engine: Engine) -> None:
    for name in "ab":
        engine.admit(RowId(name), PARAMS, 0, lane=Lane.BULK)
    engine.step()
    engine.admit(ROW, PARAMS, 0, lane=Lane.INTERACTIVE)
    told = run(engine)
    assert [event.row_id for event in told[:6]] == [ROW] * 6
    assert told[6:8] == [RowStepped(RowId("a"), 2, 4), RowStepped(RowId("a"), 3, 4)]


def test_rows_that_step_together_share_the_time(model: Model) -> None:
    engine = Engine(model, batches=Batches(most=8))
    for name in "abcd":
        engine.admit(RowId(name), PARAMS, 0)
    begun = time.monotonic()
    stepped = [event for event in run(engine) if isinstance(event, RowStepped)]
    assert all(event.seconds > 0 for event in stepped)
    assert sum(event.seconds for event in stepped) < time.monotonic() - begun
    assert len({event.seconds for event in stepped[:4]}) == 1


def test_reading_a_prompt_is_told_apart_from_the_steps_and_once(engine: Engine) -> None:
    begun_at = time.time()
    engine.admit(ROW, params_with(prompt="a text that nobody has read before"), 0)
    prompt, first, *others = run(engine)
    assert isinstance(prompt, PromptRead)
    assert isinstance(first, RowStepped)
    assert (prompt.recalled, prompt.encoded) == (0, 1)
    assert not any(isinstance(event, PromptRead) for event in others)
    assert begun_at <= prompt.lap.began_at < prompt.lap.ended_at <= time.time()
    assert 0 < prompt.lap.seconds < first.seconds  # which the reading was part of


def test_what_a_pictures_decoding_took_is_known_with_its_pixels(engine: Engine) -> None:
    engine.admit(ROW, PARAMS, 0)
    last = run(engine)[-1]
    assert isinstance(last, RowFinished)
    last.picture.pixels()
    assert last.picture.lap is not None
    assert last.picture.lap.seconds > 0


def test_an_interactive_row_has_its_head_start_again_once_nothing_was_held(engine: Engine) -> None:
    engine.admit(ROW, PARAMS, 0, lane=Lane.INTERACTIVE)
    run(engine)
    engine.admit(RowId("bulk"), PARAMS, 0, lane=Lane.BULK)
    engine.admit(ROW, PARAMS, 0, lane=Lane.INTERACTIVE)
    told = [event.row_id for event in run(engine) if not isinstance(event, PromptRead)]
    assert told[:5] == [ROW] * 5


def test_there_is_room_for_as_many_rows_as_share_a_forward_and_always_for_the_other_lane(model: Model) -> None:
    engine = Engine(model, batches=Batches(most=2))
    for lane in (Lane.BULK, Lane.INTERACTIVE):
        for at in range(2):
            assert engine.has_room(lane)
            engine.admit(RowId(f"{lane} {at}"), PARAMS, 0, lane=lane)
        assert not engine.has_room(Lane.BULK)
    assert not engine.has_room(Lane.INTERACTIVE)


def test_a_row_that_is_drawn_alone_takes_all_room(model: Model) -> None:
    engine = Engine(model, batches=Batches(most=8))
    engine.admit(ROW, params_with(deterministic=True), 0)
    assert not engine.has_room(Lane.INTERACTIVE)


def test_every_step_is_told_and_the_picture_comes_last(engine: Engine) -> None:
    engine.admit(ROW, PARAMS, 0)
    prompt, *steps, last = run(engine)
    assert isinstance(prompt, PromptRead)
    assert steps == [RowStepped(ROW, step, 4) for step in (1, 2, 3, 4)]
    assert isinstance(last, RowFinished)
    pixels = last.picture.pixels()
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8


def test_rows_finish_in_the_order_of_their_arrival(engine: Engine) -> None:
    names = [RowId(name) for name in "cab"]
    for name in names:
        engine.admit(name, PARAMS, 0)
    assert engine.row_ids == tuple(names)
    assert [event.row_id for event in run(engine) if isinstance(event, RowFinished)] == names


def test_a_dropped_row_takes_no_further_step(engine: Engine) -> None:
    other = RowId("other")
    engine.admit(ROW, PARAMS, 0)
    engine.admit(other, PARAMS, 0)
    engine.step()
    assert engine.drop(ROW)
    assert not engine.drop(ROW)
    assert engine.preview(ROW) is None
    assert {event.row_id for event in run(engine)} == {other}


def test_a_name_in_use_is_refused(engine: Engine) -> None:
    engine.admit(ROW, PARAMS, 0)
    with pytest.raises(ValueError, match="already"):
        engine.admit(ROW, PARAMS, 1)


def test_an_idle_engine_does_nothing(engine: Engine) -> None:
    assert engine.is_idle
    assert engine.step() == []
