"""How many workers a load needs, so that few wait for long. Arithmetic only: no I/O, no fleet.

Jobs are taken to come independently of each other, and to wait in one line for whichever worker is free first (Erlang's
formula C: M/M/c). It takes their times to differ widely, each from the next; those of one size and preset hardly do, so
they wait less than this says. It knows nothing of peaks: tell it the busiest hour's rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SHARE: Final = 0.9
"""Of the jobs, that begin within the wait: one in ten may wait longer."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a load needs."""

    busy: float
    """Workers that are drawing, on average: one fewer than that, and the queue grows without end."""
    workers: int
    waits: float
    """The part of the jobs that will wait longer than they may."""

    @property
    def use(self) -> float:
        """The part of the time that a worker draws."""
        return self.busy / self.workers


def capacity(*, per_second: float, seconds_each: float, wait_s: float) -> Capacity:
    """Tell how many workers have nine of ten jobs begin within `wait_s`, if so many a second come and take so long."""
    busy = per_second * seconds_each
    blocked, workers = 1.0, 0
    while True:
        workers += 1
        blocked = busy * blocked / (workers + busy * blocked)  # Erlang's formula B, from one worker to the next
        if workers <= busy:
            continue
        use = busy / workers
        must_wait = blocked / (1 - use * (1 - blocked))
        waits = must_wait * math.exp(-(workers - busy) * wait_s / seconds_each)
        if waits <= 1 - SHARE:
            return Capacity(busy, workers, waits)
