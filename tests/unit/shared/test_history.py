"""What is told of the counts of ended jobs: sums, medians."""

from __future__ import annotations

import math
import random

import pytest

from shared.history import CLASSES_PER_OCTAVE, Ended, Ends, Outcome, Times, ended_of, period_of, summed
from shared.lanes import Lane


def counted(times_ms: list[float]) -> Times:
    """Count times as the script does."""
    classes: dict[int, int] = {}
    for ms in times_ms:
        number = math.floor(CLASSES_PER_OCTAVE * math.log2(max(1, ms)))
        classes[number] = classes.get(number, 0) + 1
    return Times(classes)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_quantile_is_within_a_class_of_the_true_one(part: float) -> None:
    drawn = random.Random(7)
    times = sorted(drawn.lognormvariate(7, 1.5) for _ in range(5000))

    told = counted(times).quantile(part)

    assert told == pytest.approx(times[int(part * len(times))], rel=2 ** (1 / CLASSES_PER_OCTAVE) - 1)


def test_of_one_time_every_quantile_is_near_it() -> None:
    assert counted([1000.0]).quantile(0.5) == pytest.approx(1000, rel=0.19)
    assert counted([1000.0]).quantile(0.9) == pytest.approx(1000, rel=0.19)


def test_of_no_times_there_is_none() -> None:
    assert Times().quantile(0.5) is None
    assert Times().jobs == 0


def test_several_stretches_add_up() -> None:
    one = Ended({Outcome.FAILED: Ends(1, 2)}, Times({4: 1}), Times())
    other = Ended({Outcome.FAILED: Ends(1, 1), Outcome.REUSED: Ends(3, 3)}, Times({4: 1, 9: 1}), Times({2: 1}))

    both = summed([one, other])

    assert both.outcomes == {Outcome.FAILED: Ends(2, 3), Outcome.REUSED: Ends(3, 3)}
    assert (dict(both.waited.classes), dict(both.drew.classes)) == ({4: 2, 9: 1}, {2: 1})


def test_a_periods_counts_are_read_by_lane() -> None:
    counts = {
        "bulk:succeeded:jobs": 2,
        "bulk:succeeded:pictures": 5,
        "bulk:waited:40": 2,
        "bulk:drew:44": 2,
        "interactive:canceled:jobs": 1,
        "interactive:canceled:pictures": 1,
    }

    lanes = ended_of(counts)

    assert lanes[Lane.BULK] == Ended({Outcome.SUCCEEDED: Ends(2, 5)}, Times({40: 2}), Times({44: 2}))
    assert lanes[Lane.INTERACTIVE] == Ended({Outcome.CANCELED: Ends(1, 1)}, Times(), Times())


@pytest.mark.parametrize(("minutes", "period_s"), [(1, 60), (120, 60), (121, 600), (2880, 600)])
def test_a_long_stretch_is_told_in_tens_of_minutes(minutes: int, period_s: int) -> None:
    assert period_of(minutes) == period_s
