"""What a worker makes of its own times: medians that a stall does not move."""

from __future__ import annotations

import pytest

from shared.generation import GenerationParams, Scheduler
from worker.pace import MOST_SPEEDS, Pace

PARAMS = GenerationParams(
    prompt="x", width=64, height=64, num_inference_steps=5, guidance_scale=5, seed=1, scheduler=Scheduler.EULER
)


def steps(number: int, *, step_ms: float = 10, encode_ms: float = 3, decode_ms: float = 7) -> list[float]:
    taken = [step_ms] * number
    taken[0] += encode_ms
    taken[-1] += decode_ms
    return taken


def test_nothing_is_said_before_the_first_picture() -> None:
    assert (Pace().speeds, Pace().of_jobs) == ((), 1.0)


def test_a_step_is_told_from_what_is_beside_it() -> None:
    pace = Pace()
    pace.drew(PARAMS, steps(5))
    (speed,) = pace.speeds
    assert (speed.width, speed.height, speed.guided) == (64, 64, True)
    assert (speed.step_ms, speed.picture_ms) == (10, 10)


def test_a_stalled_step_moves_nothing() -> None:
    pace = Pace()
    for _ in range(3):
        pace.drew(PARAMS, steps(5))
    pace.drew(PARAMS, [13, 10, 90_000, 10, 17])
    pace.drew(PARAMS, [90_000, 10, 10, 10, 17])
    assert (pace.speeds[0].step_ms, pace.speeds[0].picture_ms) == (10, 10)


def test_one_slow_picture_does_not_outweigh_the_second() -> None:
    pace = Pace()
    pace.drew(PARAMS, steps(5, encode_ms=4000))
    pace.drew(PARAMS, steps(5))
    assert pace.speeds[0].picture_ms == 10


@pytest.mark.parametrize("number", [1, 2])
def test_pictures_of_one_or_two_steps_are_measured_as_a_whole(number: int) -> None:
    pace = Pace()
    params = PARAMS.model_copy(update={"num_inference_steps": number})
    pace.drew(params, steps(number))
    (speed,) = pace.speeds
    assert number * speed.step_ms + speed.picture_ms == pytest.approx(10 * number + 10)
    pace.drew(PARAMS, steps(5))  # from which the two can be told apart
    assert (pace.speeds[0].step_ms, pace.speeds[0].picture_ms) == (10, 10)


def test_a_sampler_of_two_passes_a_step_counts_its_steps() -> None:
    pace = Pace()
    pace.drew(PARAMS, steps(10))
    assert (pace.speeds[0].step_ms, pace.speeds[0].picture_ms) == (20, 10)


def test_size_and_guidance_are_apart_and_the_last_used_comes_first() -> None:
    pace = Pace()
    other = PARAMS.model_copy(update={"guidance_scale": 1.0})
    for params in (PARAMS, other, PARAMS.model_copy(update={"width": 128}), PARAMS):
        pace.drew(params, steps(5, step_ms=5 if params is other else 10))
    assert [(speed.width, speed.guided, speed.step_ms) for speed in pace.speeds] == [
        (64, True, 10),
        (128, True, 10),
        (64, False, 5),
    ]


def test_a_picture_that_is_guided_in_part_tells_nothing() -> None:
    pace = Pace()
    pace.drew(PARAMS, steps(5))
    pace.drew(PARAMS.model_copy(update={"guidance_cutoff": 0.5}), [900, 900, 900, 450, 450])
    assert [(speed.guided, speed.step_ms) for speed in pace.speeds] == [(True, 10)]
    pace.drew(PARAMS.model_copy(update={"guidance_cutoff": 0.99}), steps(5, step_ms=20))  # guided to the end
    assert pace.speeds[0].step_ms > 10


def test_what_was_not_drawn_for_long_is_forgotten() -> None:
    pace = Pace()
    for width in range(8, 8 * (MOST_SPEEDS + 3), 8):
        pace.drew(PARAMS.model_copy(update={"width": width}), steps(5))
    widths = [speed.width for speed in pace.speeds]
    assert widths == sorted(widths, reverse=True)
    assert len(widths) == MOST_SPEEDS


def test_an_old_speed_gives_way_to_a_new_one() -> None:
    pace = Pace()
    for step_ms in (10, 20):
        for _ in range(20):
            pace.drew(PARAMS, steps(5, step_ms=step_ms))
    assert (pace.speeds[0].step_ms, pace.speeds[0].picture_ms) == (20, 10)


def test_jobs_that_take_twice_what_was_expected_raise_the_pace_to_two() -> None:
    pace = Pace()
    for _ in range(16):
        pace.did(100, 100)
    assert pace.of_jobs == 1
    for _ in range(16):
        pace.did(100, 200)
    assert pace.of_jobs == 2


def test_long_jobs_weigh_more_than_short_ones() -> None:
    pace = Pace()
    pace.did(900, 900)
    pace.did(100, 1100)
    assert pace.of_jobs == 2
