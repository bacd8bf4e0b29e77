"""How long the device worked at something, without what it waited for in between.

By the host's clock where work is done when its call returns. On CUDA it is only queued then: marks are put around it,
and the device's own clock tells. Not yet measured on a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final

from worker.engine.throttle import Mark, cuda_mark


@final
class Lap:
    """One piece of work, in one go or in several. Written by one thread, read by any once it is done."""

    def __init__(self, *, is_queued: bool, mark: Callable[[], Mark] = cuda_mark) -> None:
        """`is_queued`: the device works behind the host's back, as CUDA does."""
        self._is_queued = is_queued
        self._make_mark = mark
        self._marks: list[tuple[Mark, Mark]] = []
        self._seconds = 0.0
        self.began_at = 0.0
        """When its first go began, by the host's `time.time()`; 0 before it."""

    @contextmanager
    def going(self) -> Generator[None]:
        """Work at it, until this is left."""
        self.began_at = self.began_at or time.time()
        begun_at, begin = time.perf_counter(), self._marked() if self._is_queued else None
        try:
            yield
        finally:
            if begin is None:
                self._seconds += time.perf_counter() - begun_at
            else:
                self._marks.append((begin, self._marked()))

    @property
    def seconds(self) -> float:
        """What all of it took. Waits for the device, if that has not come to its end."""
        while self._marks:
            begin, end = self._marks[0]
            end.synchronize()
            self._seconds += begin.elapsed_time(end) / 1000
            del self._marks[0]
        return self._seconds

    @property
    def ended_at(self) -> float:
        """When it would have ended, had nothing come between: `seconds` after it began."""
        return self.began_at + self.seconds

    def _marked(self) -> Mark:
        mark = self._make_mark()
        mark.record()
        return mark
