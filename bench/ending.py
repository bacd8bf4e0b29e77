"""Ends a bench that is told to stop as one that has done: its processes and folders go."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def end_cleanly() -> None:
    """Have SIGTERM and SIGHUP unwind every `with`, as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _unwind)


def _unwind(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
