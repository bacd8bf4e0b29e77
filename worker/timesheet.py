"""What the time of the thread that draws goes to: each moment to one thing, so that all of them add up to the time.

    start ──► idle ──► between ──► steps (and prompts) ──► between ──► delivery (and decode) ──► between ──► idle

Knows neither jobs nor meters; for any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import final


class Doing(StrEnum):
    """What a worker does."""

    START = "start"
    """Loads and warms its model."""
    PROMPTS = "prompts"
    """Reads prompts, before a step."""
    STEPS = "steps"
    DECODE = "decode"
    """Nothing: a picture is being decoded, and there is no row to step, or too many pictures under way."""
    DELIVERY = "delivery"
    """Nothing: pictures are being made into files and stored, and there is no row to step, or too many of them."""
    BETWEEN = "between"
    """Claims, previews, the shift's own bookkeeping."""
    IDLE = "idle"
    """Nothing: no job is held."""


@final
class Timesheet:
    """Filled in by the thread that draws, read by another."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._doing = Doing.START
        self._since_ns = clock_ns()
        self._took_ns: dict[Doing, int] = {}

    def turn(self, doing: Doing) -> None:
        """Do this from now on."""
        with self._lock:
            self._fill_in()
            self._doing = doing

    def assign(self, doing: Doing, seconds: float) -> None:
        """Of the time since the last turn, so much went to this; what was taken by then stays as it was."""
        with self._lock:
            part_ns = max(0, min(int(seconds * 1e9), self._clock_ns() - self._since_ns))
            self._took_ns[doing] = self._took_ns.get(doing, 0) + part_ns
            self._since_ns += part_ns

    def take(self) -> Mapping[Doing, float]:
        """Take out the seconds that went to each thing, up to now."""
        with self._lock:
            self._fill_in()
            taken, self._took_ns = self._took_ns, {}
        return {doing: took_ns / 1e9 for doing, took_ns in taken.items()}

    def _fill_in(self) -> None:
        now_ns = self._clock_ns()
        self._took_ns[self._doing] = self._took_ns.get(self._doing, 0) + now_ns - self._since_ns
        self._since_ns = now_ns
