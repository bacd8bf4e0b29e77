"""The clock around a worker's parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import traced_worker
from bench.spans import Traced
from bench.traced_worker import Trace, install


class Lease:
    job_id = "01JOB"


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[tuple[Trace, Path]]:
    file = tmp_path / "trace.jsonl"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield Trace(descriptor), file
    os.close(descriptor)


def test_a_call_gives_what_it_gave_before_and_is_noted_with_its_owner(trace: tuple[Trace, Path]) -> None:
    def work(lease: Lease, *, number: int) -> int:
        assert lease.job_id
        return number + 1

    assert trace[0].around("record", work)(Lease(), number=1) == 2
    (span,) = Traced.read(trace[1]).spans
    assert (span.name, list(span.jobs)) == ("record", ["01JOB"])
    assert span.begun_s <= span.ended_s


def test_a_call_that_raises_still_raises_and_is_noted(trace: tuple[Trace, Path]) -> None:
    def work(key: str) -> None:
        raise OSError(key)

    with pytest.raises(OSError, match="01JOB"):
        trace[0].around("upload", work)("images/ann/01JOB/0.png")
    (span,) = Traced.read(trace[1]).spans
    assert list(span.jobs) == ["01JOB"]


def test_points_that_the_worker_no_longer_has_are_named(
    trace: tuple[Trace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {"gone": ("worker.gone", "work"), "renamed": ("worker.images", "encode_picture")}
    monkeypatch.setattr(traced_worker, "POINTS", points)
    install(trace[0])
    assert Traced.read(trace[1]).missing == {"gone", "renamed"}


def test_all_points_are_there_in_todays_worker() -> None:
    for module_name, path in traced_worker.POINTS.values():
        owner: object = __import__(module_name, fromlist=["_"])
        for part in path.split("."):
            owner = getattr(owner, part)
        assert callable(owner)
