"""How many workers a pool wants: for what waits and runs, in how much time, from none to as many as there are jobs.

A pure function of three looks at the queue: no I/O, no clock. A scaler asks it again and again, and has as many workers
run as it says, within limits of its own; it knows nothing of the scaler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean
from typing import Final, Literal

from api.estimate import able_workers, ms_left
from shared.contract import WorkerState
from shared.jobs import WorkerId
from shared.scripts import Demand, Fleet, Mode, Outlook

Because = Literal["idle", "work", "wait", "busy", "paused", "unmeasured"]

DEFAULT_TARGET_S: Final = 60.0
LEAST_TARGET_S: Final = 1.0
MOST_TARGET_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many workers shall run, and what they are wanted for."""

    workers: int
    because: Because
    work_s: float
    """What one worker would need for all that waits for a worker or runs, at the pace measured."""


def wanted(fleet: Fleet, pool: str, ahead: Outlook, demand: Demand, *, target_s: float) -> Wanted:
    """Tell how many workers of a pool are wanted to end all that waits within `target_s`.

    Never fewer than hold jobs, and never more than there are jobs: two workers end one job no sooner. Whatever the
    estimate said, a job that has waited longer than the target wants one more worker than there are; unless one is
    warming up, or none would take it. A worker that its operators have paused takes a place among those wanted, and
    none of the work. A pool of which nobody has ever measured how fast it is wants one worker, which then tells that,
    and its model's card with it.
    """
    staying = [worker for worker in fleet.workers if worker.pool == pool and worker.state != "draining"]
    willing = [worker for worker in staying if fleet.mode_of(worker.id) is Mode.WORK]
    of_willing = {WorkerId(worker.id) for worker in willing}
    resting = {WorkerId(worker.id) for worker in staying} - of_willing
    holders = {work.worker for work in ahead.running}
    pace_of = {WorkerId(worker.id): worker.pace for worker in staying}
    pace = mean(pace_of.values()) if pace_of else 1.0

    running = [work for work in ahead.running if work.worker not in resting]
    work_s = (demand.work_ms * pace + sum(ms_left(work, pace_of.get(work.worker, pace)) for work in running)) / 1000
    busy_resting = len(holders & resting)
    if fleet.mode is not Mode.WORK:
        return Wanted(busy_resting, "paused", work_s)

    jobs = demand.jobs + len(running)
    enough: dict[Because, int] = {
        "work": min(jobs, max(1, math.ceil(work_s / target_s))),
        "busy": len(holders & of_willing),
        "wait": min(jobs, len(willing) + 1) if _waits_in_vain(fleet, pool, willing, demand, target_s) else 0,
        "unmeasured": int(pool not in fleet.speeds),
    }
    because = max(enough, key=lambda why: enough[why])
    most = enough[because]
    if most == 0:
        return Wanted(busy_resting, "busy" if busy_resting else "idle", work_s)
    return Wanted(most + len(resting), because, work_s)


def _waits_in_vain(fleet: Fleet, pool: str, willing: list[WorkerState], demand: Demand, target_s: float) -> bool:
    """True if a job waits for longer than it should though workers take jobs, and no further one comes already."""
    is_late = demand.jobs > 0 and demand.oldest_ms > target_s * 1000
    is_warming = any(worker.state == "warming" for worker in willing)
    return is_late and not is_warming and bool(able_workers(fleet, pool))
