"""How many workers a load needs."""

from __future__ import annotations

import math

import pytest

from shared.capacity import SHARE, capacity
from shared.contract import Speed
from shared.generation import GenerationParams, Scheduler
from shared.speeds import expected_picture


def erlang_c(busy: float, workers: int) -> float:
    """The formula as textbooks have it: the part of the jobs that must wait."""
    tail = busy**workers / math.factorial(workers) * workers / (workers - busy)
    return tail / (sum(busy**at / math.factorial(at) for at in range(workers)) + tail)


@pytest.mark.parametrize(("busy", "wait"), [(0.3, 0), (2, 0), (2, 1.5), (17.5, 0.25), (60, 4)])
def test_as_many_workers_as_erlangs_formula_wants_and_not_one_more(busy: float, wait: float) -> None:
    found = capacity(per_second=busy / 2, seconds_each=2, wait_s=wait)

    def late(workers: int) -> float:
        return erlang_c(busy, workers) * math.exp(-(workers - busy) * wait / 2) if workers > busy else 1

    assert found.busy == pytest.approx(busy)
    assert found.waits == pytest.approx(late(found.workers))
    assert late(found.workers) <= 1 - SHARE < late(found.workers - 1)
    assert found.use == pytest.approx(busy / found.workers)


def test_patience_saves_workers_and_never_all_of_them() -> None:
    patient = [capacity(per_second=10, seconds_each=3, wait_s=wait).workers for wait in (0, 1, 10, 3600)]
    assert patient == sorted(patient, reverse=True)
    assert patient[-1] == 31


def test_many_workers_need_a_smaller_part_to_spare_than_few() -> None:
    few, many = (capacity(per_second=rate, seconds_each=3, wait_s=3) for rate in (1, 300))
    assert few.use < 0.8
    assert many.use > 0.98


def test_hardly_any_load_needs_one_worker() -> None:
    assert capacity(per_second=1e-6, seconds_each=1, wait_s=0).workers == 1


def picture(width: int, steps: int, guidance: float = 7.0) -> GenerationParams:
    return GenerationParams(
        prompt="a red circle",
        width=width,
        height=512,
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=7,
        scheduler=Scheduler.EULER,
    )


def test_a_picture_takes_its_steps_and_what_is_beside_them() -> None:
    speeds = [Speed(width=512, height=512, guided=True, step_ms=step, picture_ms=50) for step in (90, 110)]
    found = expected_picture(picture(512, 10), speeds)
    assert found is not None
    assert (found.picture_ms, found.is_measured) == (pytest.approx(10 * 100 + 50), True)


def test_what_was_reckoned_from_another_size_says_so() -> None:
    speeds = [Speed(width=512, height=512, guided=True, step_ms=100, picture_ms=50)]
    wide, plain = (expected_picture(params, speeds) for params in (picture(1024, 10), picture(512, 10, 1.0)))
    assert wide is not None
    assert plain is not None
    assert (wide.picture_ms, wide.is_measured) == (pytest.approx(2 * (10 * 100 + 50)), False)
    assert (plain.picture_ms, plain.is_measured) == (pytest.approx(10 * 50 + 50), False)


def test_without_a_measurement_nothing_is_told() -> None:
    assert expected_picture(picture(512, 10), []) is None
