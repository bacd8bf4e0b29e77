"""What the host took is a share of all cores' time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.host import Stolen


def test_what_was_taken_is_a_share_of_all_cores_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 0 10 900 0 0 0 0 0 0\ncpu0 1 2 3\n")
    monkeypatch.setattr("bench.host._STAT", stat)
    now = time.monotonic()
    monkeypatch.setattr("bench.host.time.monotonic", lambda: now)
    reading = Stolen.now()
    taken = os.sysconf("SC_CLK_TCK")  # a second of one core
    stat.write_text(f"cpu  10 0 10 900 0 0 0 {taken} 0 0\n")
    monkeypatch.setattr("bench.host.time.monotonic", lambda: now + 4)
    assert reading.share_since() == pytest.approx(1 / (4 * (os.cpu_count() or 1)))


def test_a_machine_that_does_not_count_it_has_lost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.host._STAT", tmp_path / "missing")
    reading = Stolen.now()
    time.sleep(0.001)
    assert reading.share_since() == 0
