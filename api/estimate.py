"""How long work takes: what a worker will need for a request, and when a job will have ended.

Pure functions of what the workers measured and what lies ahead of the queue: no I/O, no clock. Work is in expected
milliseconds, as `expected_ms` said them at submit; a worker's `pace` makes them milliseconds of its own.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Final, final

from shared.compatibility import FIRST
from shared.contract import Speed, TimeLeft, WorkerState
from shared.generation import GenerationParams
from shared.jobs import Hold, Job, JobStatus, WorkerId
from shared.lanes import HEAD_START_S, Lane
from shared.scripts import Fleet, Mode, Outlook, RunningWork, WaitingWork
from shared.speeds import expected_picture

NOMINAL_MS: Final = 0.04
"""A unit of `GenerationParams.cost` before any worker has measured one: SSD-1B on a data centre's GPU, about."""
DELIVERY_MS: Final = 60.0
"""From the last picture's pixels to the job's end: it is made into a file, stored and recorded; the worker goes on."""
LEAST_BULK_SHARE: Final = 0.01
"""What an operator can set."""
BOTH: Final = tuple(Lane)

# Measured by bench/estimate.py: where four of five ends fall, relative to the estimate.
BELOW: Final = 0.15
ABOVE: Final = 0.2
ABOVE_A_JOB: Final = 0.02
"""What each job ahead adds to the part above: so many chances that others come before it."""
MOST_ABOVE: Final = 0.8
ABOVE_BULK: Final = 1.5
"""The part above for a bulk job, before which each interactive job goes that is still to come."""
FLOOR_S: Final = 0.4
"""What no estimate is better than: news travel, pictures are stored."""


def able_workers(fleet: Fleet, pool: str) -> tuple[WorkerState, ...]:
    """Those that would begin a job of this pool now."""
    return tuple(
        worker
        for worker in fleet.workers
        if worker.pool == pool
        and worker.state == "ready"
        and not worker.store_away
        and fleet.mode_of(worker.id) is Mode.WORK
    )


def expected_ms(params: GenerationParams, workers: Sequence[WorkerState], kept: Sequence[Speed] = ()) -> int:
    """Tell how long one of these workers, all of one pool, will take: at least 1.

    `kept`: how fast a worker was that is gone, for when none has measured anything.
    """
    measured = [speed for worker in workers if worker.state == "ready" for speed in worker.speeds] or kept
    expected = expected_picture(params, measured)
    if expected is None:
        return max(1, round(params.cost * NOMINAL_MS))
    return max(1, round(params.num_images * expected.picture_ms))


@final
class Forecast:
    """When jobs will have ended, as a look at a pool's queue and the fleet has it: worked out once for all who poll."""

    def __init__(self, outlook: Outlook, fleet: Fleet, pool: str) -> None:
        self._outlook = outlook
        self._fleet = fleet
        self._workers = able_workers(fleet, pool)
        self._pace_of = {WorkerId(worker.id): worker.pace for worker in fleet.workers if worker.pool == pool}
        self._held: dict[WorkerId, list[tuple[RunningWork, float]]] = {}
        """What each worker draws, and the ms that are left of it."""
        for work in outlook.running:
            left_ms = ms_left(work, self._pace_of.get(work.worker, 1.0))
            self._held.setdefault(work.worker, []).append((work, left_ms))
        self._free = {lanes: self._free_for(lanes) for lanes in ((Lane.INTERACTIVE,), (Lane.BULK,), BOTH)}
        busy = {work.worker for work in outlook.running if work.lane is Lane.INTERACTIVE}
        self._has_head_start = any(worker.id not in busy for worker in self._workers)
        self._known_by_all = min((worker.contract for worker in self._workers), default=FIRST)

    def time_left(self, job: Job, *, age_ms: float = 0.0) -> TimeLeft | None:
        """Tell when a job will have ended, if nothing comes before it; None if it has, or if nobody can tell.

        `age_ms`: how long ago the outlook was looked up.
        """
        if job.status is JobStatus.RUNNING or (job.hold is Hold.JOINED and job.position is None):
            left_ms = self._of_running(job, age_ms)
            return None if left_ms is None else _band(left_ms, 0, job.lane)
        if job.status is not JobStatus.QUEUED or job.position is None or not self._workers:
            return None
        if job.hold is Hold.RUNNING_LIMIT and len(self._workers) > 1:
            return None  # it waits for one of its tenant's jobs, and which ones those are isn't told
        if job.needs > self._known_by_all:
            return None  # some workers are too old for it
        return _band(
            self._of_waiting(job.lane, job.work_ms, job.ahead_jobs, job.ahead_ms, age_ms), job.position, job.lane
        )

    def ms_to_end(self, lane: Lane, work_ms: int, *, behind: WaitingWork, age_ms: float) -> float | None:
        """Tell in how many ms a job that came now would have ended, behind that much of its lane; None if nobody can.

        `age_ms`: how long ago the outlook was looked up.
        """
        if not self._workers:
            return None
        return self._of_waiting(lane, work_ms, behind.jobs, behind.work_ms, age_ms)

    def _free_for(self, lanes: tuple[Lane, ...]) -> tuple[tuple[float, float], ...]:
        """When each worker will have done all that it holds of these lanes, from the look on, and its pace."""

        def left_ms(worker: WorkerState) -> float:
            held = self._held.get(WorkerId(worker.id), ())
            return sum(left_ms for work, left_ms in held if work.lane in lanes)

        return tuple((left_ms(worker), worker.pace) for worker in self._workers)

    def _of_waiting(self, lane: Lane, work_ms: int, ahead_jobs: int, ahead_ms: float, age_ms: float) -> float:
        """A job that waits gets the worker that is free for it first, in its lane or in both."""

        def done_ms(lanes: tuple[Lane, ...], jobs: int, before_ms: float) -> float:
            free = [(max(0.0, left_ms - age_ms), pace) for left_ms, pace in self._free[lanes]]
            start_ms, pace = _next_free(free, jobs, before_ms)
            return start_ms + work_ms * pace

        other = self._outlook.waiting[_other(lane)]
        alone_ms = done_ms((lane,), ahead_jobs, ahead_ms)
        if other.jobs or self._free[(lane,)] != self._free[BOTH]:
            last_ms = done_ms(BOTH, ahead_jobs + other.jobs, ahead_ms + other.work_ms)
        else:
            last_ms = alone_ms
        if lane is Lane.BULK:
            return _behind_interactive(alone_ms, last_ms, self._outlook.bulk_share)
        is_first = ahead_jobs == 0 and self._has_head_start
        return _beside_bulk(alone_ms, last_ms, self._outlook.bulk_share, 1000 * HEAD_START_S if is_first else 0.0)

    def _of_running(self, job: Job, age_ms: float) -> float | None:
        """A job that is being drawn or, joined to another, gets what is being drawn for that one."""
        if job.worker is None:
            if not self._pace_of:
                return None
            return _remaining_ms(job.work_ms * mean(self._pace_of.values()), job.step, job.steps, 0.0)
        if job.worker not in self._pace_of or self._fleet.mode_of(job.worker) is Mode.DRAINED:
            return None  # it will be begun again, elsewhere
        pace = self._pace_of[job.worker]
        held = self._held.get(job.worker, ())
        own = next((work for work, _ in held if _is_of(work, job)), None)
        elapsed_ms = own.elapsed_ms + age_ms if own else 0.0
        left_ms = _remaining_ms(job.work_ms * pace, job.step, job.steps, elapsed_ms)
        others = [(work.lane, other_ms) for work, other_ms in held if work is not own]
        # Those of its lane take turns with it, until they or it have ended.
        alone_ms = left_ms + sum(min(other_ms, left_ms) for lane, other_ms in others if lane is job.lane)
        last_ms = alone_ms + sum(other_ms for lane, other_ms in others if lane is not job.lane)
        interactive = self._outlook.waiting[Lane.INTERACTIVE]
        if job.lane is Lane.BULK:  # a worker goes on to take interactive jobs
            last_ms += interactive.work_ms * pace / max(1, len(self._workers))
            return _behind_interactive(alone_ms, last_ms, self._outlook.bulk_share)
        # Where others wait, one of them came before it, and used the head start up.
        head_ms = 0.0 if interactive.jobs or alone_ms > left_ms else max(0.0, 1000 * HEAD_START_S - elapsed_ms)
        return _beside_bulk(alone_ms, last_ms, self._outlook.bulk_share, head_ms)


def _behind_interactive(alone_ms: float, last_ms: float, bulk_share: float) -> float:
    """When bulk work will be done: by its share of the time, or after all that is interactive, whichever is sooner.

    It would take `alone_ms` without the other lane, and `last_ms` behind all of it.
    """
    return min(last_ms, alone_ms / max(bulk_share, LEAST_BULK_SHARE))


def _beside_bulk(alone_ms: float, last_ms: float, bulk_share: float, head_ms: float) -> float:
    """When interactive work will be done: slowed by the bulk lane's share, but for the first `head_ms` of it."""
    slowed_ms = max(0.0, alone_ms - head_ms)
    return min(last_ms, alone_ms - slowed_ms + slowed_ms / (1 - bulk_share))


def _other(lane: Lane) -> Lane:
    return Lane.BULK if lane is Lane.INTERACTIVE else Lane.INTERACTIVE


def _is_of(work: RunningWork, job: Job) -> bool:
    return work.work_ms == job.work_ms and work.steps == job.steps and work.lane is job.lane


def _remaining_ms(work_ms: float, step: int, steps: int, elapsed_ms: float) -> float:
    """What is left of a job: the steps bound it, and within the step that is being taken the clock tells."""
    most = work_ms * (1 - step / steps)
    least = work_ms * (1 - min(steps, step + 1) / steps)
    return min(max(work_ms - elapsed_ms, least), most)


def ms_left(work: RunningWork, pace: float) -> float:
    """What is left of a running job, in ms of a worker with this pace."""
    return _remaining_ms(work.work_ms * pace, work.step, work.steps, work.elapsed_ms)


def _next_free(free: Sequence[tuple[float, float]], jobs: int, ahead_ms: float) -> tuple[float, float]:
    """When a worker is free for the job behind `jobs` others, and that worker's pace.

    `free` has for each worker when it is free, and its pace. Each of the others goes to the worker that is free first,
    as they will; they are taken to be alike.
    """
    if not ahead_ms:
        return min(free)
    each_ms = ahead_ms / jobs
    line = list(free)
    if jobs > len(free):  # what would fill all alike has surely begun by then; the rest is dealt one by one
        level = _filled_to(free, each_ms * (jobs - len(free)))
        for number, (at, pace) in enumerate(free):
            begun = max(0, math.ceil((level - at) / (each_ms * pace)))
            line[number] = (at + begun * each_ms * pace, pace)
            jobs -= begun
    heapq.heapify(line)
    for _ in range(jobs):
        at, pace = line[0]
        heapq.heapreplace(line, (at + each_ms * pace, pace))
    return line[0]


def _filled_to(free: Iterable[tuple[float, float]], work_ms: float) -> float:
    """Until when the workers are busy if this work is poured over them, as water would stand in their gaps."""
    level, rate, poured = 0.0, 0.0, 0.0
    for at, pace in sorted(free):
        if rate and poured + rate * (at - level) >= work_ms:
            break
        poured += rate * (at - level)
        level, rate = at, rate + 1 / pace
    return level + (work_ms - poured) / rate


def _band(left_ms: float, jobs_ahead: int, lane: Lane) -> TimeLeft:
    seconds = (left_ms + DELIVERY_MS) / 1000
    above = ABOVE_BULK if lane is Lane.BULK else min(ABOVE + ABOVE_A_JOB * jobs_ahead, MOST_ABOVE)
    return TimeLeft(
        seconds=round(seconds, 3),
        low=round(max(0.0, seconds * (1 - BELOW) - FLOOR_S), 3),
        high=round(seconds * (1 + above) + FLOOR_S, 3),
    )
