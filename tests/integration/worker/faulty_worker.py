"""A worker process with something wrong with it, when files in a folder say so.

python -m tests.integration.worker.faulty_worker FOLDER

FOLDER/clock   seconds by which `time.time` and `time.time_ns` are off; it may change at any time
FOLDER/hold    a step that begins while it is there does not end before it is gone
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.engine.engine import Engine
    from worker.engine.events import Event

PAUSE_S = 0.01


def shift_clocks(file: Path) -> None:
    """Put this process' clocks wrong. To be called before others take hold of them."""
    true_time_ns = time.time_ns

    def wrong_time_ns() -> int:
        try:
            off_s = float(file.read_text() or 0)
        except OSError:
            off_s = 0.0
        return true_time_ns() + int(off_s * 1e9)

    time.time_ns = wrong_time_ns
    time.time = lambda: wrong_time_ns() / 1e9


def hold_steps(file: Path) -> None:
    """Have steps wait while `file` is there."""
    from worker.engine.engine import Engine  # noqa: PLC0415 (after the clocks)

    true_step = Engine.step

    def step(engine: Engine) -> Sequence[Event]:
        while file.exists():
            time.sleep(PAUSE_S)
        return true_step(engine)

    cast("Any", Engine).step = step


if __name__ == "__main__":
    folder = Path(sys.argv.pop())
    shift_clocks(folder / "clock")
    hold_steps(folder / "hold")
    runpy.run_module("worker", run_name="__main__")
