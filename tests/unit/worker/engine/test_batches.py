from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import OutOfMemory
from shared.generation import Size
from worker.engine.batches import Batches, Measured, keep, measure, recall, sizes_to_measure
from worker.engine.card import card_of
from worker.engine.source import SSD_1B, Source, choose_source

SIZE = Size(width=64, height=64)
OTHER = Size(width=256, height=256)


def measured(*forward_ms: float, size: Size = SIZE) -> Measured:
    """Of 1, 2, 4 ... samples."""
    return Measured(size=size, forward_ms={2**at: took_ms for at, took_ms in enumerate(forward_ms)})


@pytest.mark.parametrize(
    ("forward_ms", "samples"),
    [
        ((10, 10, 10, 10, 10), 16),  # the device is hardly busy with one
        ((10, 20, 40, 80, 160), 1),  # twice the work takes twice the time
        ((10, 15, 20, 38, 76), 4),  # it is busy with four
        ((10, 19.5, 30, 45, 68), 16),  # a pair doesn't pay, four do
        ((10, 11), 2),  # no memory for more
        ((), 1),
    ],
)
def test_as_many_samples_share_a_forward_as_pay(forward_ms: tuple[float, ...], samples: int) -> None:
    assert measured(*forward_ms).samples == samples


def test_a_size_goes_by_the_nearest_that_was_measured() -> None:
    batches = Batches(most=8, measured=(measured(10, 10, 10, 10, 10), measured(10, 20, 40, 80, 160, size=OTHER)))
    near, far = Size(width=96, height=48), Size(width=320, height=192)
    assert [batches.samples(size) for size in (SIZE, near, OTHER, far)] == [16, 16, 2, 2]


def test_without_measurements_the_limit_counts() -> None:
    assert Batches(most=3).samples(SIZE) == 6


def test_each_number_of_samples_is_run_and_what_does_not_fit_is_left_out() -> None:
    ran: set[int] = set()

    def prepare(size: Size, samples: int) -> Callable[[], None]:
        assert size == SIZE
        if samples > 4:
            raise OutOfMemory("no room")
        return lambda: ran.add(samples)

    (found,) = measure([SIZE], prepare, most=8).measured
    assert ran == set(found.forward_ms) == {1, 2, 4}


def test_sizes_that_are_alike_are_measured_once() -> None:
    assert sizes_to_measure(card_of(choose_source("demo", cuda=False))) == (Size(width=128, height=128),)
    ssd_1b = card_of(Source(SSD_1B, "a" * 40, None))
    assert sizes_to_measure(ssd_1b) == (Size(width=1024, height=1024), Size(width=512, height=512))


def test_what_was_measured_is_there_at_the_next_start(tmp_path: Path) -> None:
    file, batches = tmp_path / "new" / "batches.json", Batches(most=8, measured=(measured(10, 12),))
    assert recall(file, most=8) is None
    keep(file, batches)
    assert recall(file, most=8) == batches
    assert recall(file, most=2) == batches.model_copy(update={"most": 2})
    assert recall(file, most=16) is None
    file.write_text("{")
    assert recall(file, most=8) is None


def test_a_folder_that_cannot_be_written_costs_no_more_than_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep(tmp_path / "file" / "batches.json", Batches(most=1))
