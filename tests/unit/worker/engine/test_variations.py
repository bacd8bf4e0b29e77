"""A variation begins with a noise between that of its seed and that of its variation seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shared.generation import STRONG_VARIATION, SUBTLE_VARIATION, GenerationParams, Scheduler
from tests.unit.worker.engine.drawing import PARAMS, ROW, draw, make_row, params_with, run
from worker.engine.batches import Batches
from worker.engine.engine import Engine
from worker.engine.events import RowFinished, RowId
from worker.engine.model import Model
from worker.engine.noise import cpu_generator, first_noise, slerp

SHAPE = (1, 4, 16, 16)
OTHER_SEED = 1000


def varied(strength: float, **changes: object) -> GenerationParams:
    return params_with(variation_seed=OTHER_SEED, variation_strength=strength, **changes)


def noise_of(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return first_noise(params_with(seed=seed), 0, SHAPE, cpu_generator(seed), dtype)


def length(noise: torch.Tensor) -> float:
    return math.sqrt(float(noise.double().square().sum()))


class TestRows:
    @pytest.mark.parametrize("scheduler", Scheduler)
    def test_at_strength_0_are_the_pictures_of_the_seed(self, engine: Engine, scheduler: Scheduler) -> None:
        params = params_with(scheduler=scheduler)
        at_zero = varied(0.0, scheduler=scheduler)

        assert np.array_equal(draw(engine, at_zero), draw(engine, params))
        assert np.array_equal(draw(engine, at_zero, index=2), draw(engine, params, index=2))

    def test_at_strength_1_begin_as_the_variation_seed_does(self, engine: Engine, model: Model) -> None:
        there = params_with(seed=OTHER_SEED)

        assert torch.equal(make_row(model, varied(1.0)).latents, make_row(model, there).latents)
        assert np.array_equal(draw(engine, varied(1.0)), draw(engine, there))

    def test_between_are_the_nearer_the_lower_the_strength(self, engine: Engine, model: Model) -> None:
        strengths = (0.0, SUBTLE_VARIATION, STRONG_VARIATION, 0.7, 1.0)
        rows = [make_row(model, varied(strength)) for strength in strengths]
        distances = [float(torch.dist(row.latents, rows[0].latents)) for row in rows]
        assert distances == sorted(set(distances))

        pictures = [draw(engine, varied(strength)).astype(int) for strength in (0.0, SUBTLE_VARIATION, 1.0)]
        subtle, other = (np.abs(picture - pictures[0]).mean() for picture in pictures[1:])
        assert 0 < subtle < other

    def test_of_one_job_vary_one_picture_and_each_is_drawn_alone_as_well(self, engine: Engine) -> None:
        job = varied(STRONG_VARIATION, num_images=3)
        pictures = [draw(engine, job, index) for index in range(3)]

        for index, picture in enumerate(pictures):
            by_hand = varied(STRONG_VARIATION).model_copy(update={"variation_seed": OTHER_SEED + index})
            assert np.array_equal(picture, draw(engine, by_hand))
            assert job.alone(index) == by_hand
        assert len({picture.tobytes() for picture in pictures}) == 3

    def test_that_join_a_running_batch_are_the_same_pictures(self, engine: Engine, model: Model) -> None:
        company = Engine(model, batches=Batches(most=4))
        company.admit(RowId("first"), params_with(num_inference_steps=6), 0)
        company.step()
        company.admit(ROW, varied(STRONG_VARIATION), 1)

        finished = {event.row_id: event for event in run(company) if isinstance(event, RowFinished)}

        assert not finished[ROW].was_alone
        alone = draw(engine, varied(STRONG_VARIATION), 1)
        assert np.abs(finished[ROW].picture.pixels().astype(int) - alone).max() <= 1

    @pytest.mark.parametrize("scheduler", [Scheduler.EULER_ANCESTRAL, Scheduler.LCM])
    def test_take_the_noise_of_each_step_from_the_seed(self, engine: Engine, scheduler: Scheduler) -> None:
        plain = params_with(scheduler=scheduler)
        onto_itself = plain.model_copy(update={"variation_seed": PARAMS.seed, "variation_strength": 0.5})
        assert np.array_equal(draw(engine, onto_itself), draw(engine, plain))

        there = params_with(scheduler=scheduler, seed=OTHER_SEED)
        assert not np.array_equal(draw(engine, varied(1.0, scheduler=scheduler)), draw(engine, there))


class TestSlerp:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    def test_gives_its_ends_exactly_and_keeps_the_type(self, dtype: torch.dtype) -> None:
        start, end = noise_of(1, dtype), noise_of(2, dtype)

        assert torch.equal(slerp(start, end, 0.0), start)
        assert torch.equal(slerp(start, end, 1.0), end)
        assert slerp(start, end, 0.5).dtype is dtype

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    @pytest.mark.parametrize("share", [0.1, 0.35, 0.5, 0.9])
    def test_keeps_the_variance_that_a_straight_line_would_lose(self, dtype: torch.dtype, share: float) -> None:
        start, end = (noise_of(seed, dtype) for seed in (1, 2))
        ends = sorted(length(noise) for noise in (start, end))

        norm = length(slerp(start, end, share))

        assert ends[0] * 0.999 <= norm <= ends[1] * 1.001
        assert length(start.lerp(end, share)) < norm

    def test_turns_by_that_share_of_the_angle(self) -> None:
        start, end = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])

        assert torch.allclose(slerp(start, end, 1 / 3), torch.tensor([3**0.5, 1.0]))

    @pytest.mark.parametrize("sign", [1, -1])
    def test_of_parallels_goes_straight(self, sign: int) -> None:
        start = noise_of(1)

        mixed = slerp(start, sign * start, 0.25)

        assert torch.allclose(mixed, start if sign == 1 else start / 2)
