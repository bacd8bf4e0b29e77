"""Why a job waits, said to people: what is the matter, and who can do something about it. Pure."""

from __future__ import annotations

from typing import Final, final

from api.catalog import others_of
from api.estimate import able_workers
from shared.compatibility import FIRST
from shared.contract import Reason
from shared.jobs import Hold, Job, JobStatus
from shared.pools import class_in
from shared.scripts import Fleet, Mode

MANY_DEATHS: Final = 2
"""Workers that died within ten minutes: from so many on, the next one will probably die too."""


def is_without_workers(fleet: Fleet, pool: str) -> bool:
    """True if nobody serves a pool, or is about to: all of its workers are gone, paused, or die again and again."""
    dies = fleet.lost.get(pool, 0) >= MANY_DEATHS
    return not any(
        worker.pool == pool
        and (worker.state == "ready" or (worker.state == "warming" and not dies))
        and fleet.mode_of(worker.id) is Mode.WORK
        for worker in fleet.workers
    )


@final
class Reasons:
    """Why a pool's jobs wait, as a look at the fleet has it: what holds up all of them is worked out once."""

    def __init__(self, fleet: Fleet, pool: str) -> None:
        self._of_all = _of_fleet(fleet, pool)
        self._others = others_of(fleet, pool)
        able = [worker for other in self._others for worker in able_workers(fleet, other)]
        self._others_know = max((worker.contract for worker in able), default=0)
        served_by = [worker for worker in fleet.workers if worker.pool == pool and worker.state != "draining"]
        willing = [worker for worker in served_by if fleet.mode_of(worker.id) is Mode.WORK]
        self._ready = max((worker.contract for worker in willing if worker.state == "ready"), default=FIRST)
        self._warming = max((worker.contract for worker in willing if worker.state == "warming"), default=FIRST)

    def of(self, job: Job) -> Reason | None:
        """Say what keeps a job from beginning; None unless it waits.

        What holds up everybody comes first: as long as nothing is drawn, a place in the queue explains nothing. A
        joined job shares that as long as the other one waits too.
        """
        if job.status is not JobStatus.QUEUED:
            return None
        if job.hold is Hold.JOINED and job.position is None:
            return Reason(
                code="joined", message="Another job of yours is drawing the same pictures: this one gets them."
            )
        if self._of_all is None:
            return self._of_ready(job)
        if job.lost_workers and self._of_all.code in _MISSING:
            some = "worker that drew it has" if len(job.lost_workers) == 1 else "workers that drew it have"
            return _failing(f"The {some} died")
        if self._of_all.code == "no_worker" and self._others:
            return _of_pool(job, others_can=job.needs <= self._others_know)
        return self._of_all

    def _of_ready(self, job: Job) -> Reason:
        if job.needs > self._ready:
            return _WARMING if job.needs <= self._warming else _OLDER_WORKERS
        return _of_queue(job)


_MISSING: Final = frozenset({"no_worker", "starting", "warming"})
_WARMING: Final = Reason(code="warming", message="A worker is loading the model: it begins when that is done.")
_OLDER_WORKERS: Final = Reason(
    code="older_workers",
    message="It asks for something that its workers are too old for: they would draw another picture. "
    "It keeps its place and begins once the operators have updated a worker.",
)


def _of_fleet(fleet: Fleet, pool: str) -> Reason | None:
    if fleet.mode is not Mode.WORK:
        return Reason(
            code="paused",
            message="The operators have paused the queue. The job keeps its place until they resume it.",
        )
    living = [worker for worker in fleet.workers if worker.pool == pool and worker.state != "draining"]
    willing = [worker for worker in living if fleet.mode_of(worker.id) is Mode.WORK]
    if living and not willing:
        return Reason(
            code="paused",
            message="The operators have paused all of its workers. The job keeps its place until one is resumed.",
        )
    ready = [worker for worker in willing if worker.state == "ready"]
    if not ready:
        return _of_missing_workers(fleet.lost.get(pool, 0), warming=bool(willing), scaled=pool in fleet.scaled)
    if all(worker.store_away for worker in ready):
        return Reason(
            code="store_away",
            message="The object store does not answer, so no picture could be kept. "
            "It begins once the store is back; if that takes long, tell the operators.",
        )
    return None


def _of_missing_workers(deaths: int, *, warming: bool, scaled: bool) -> Reason:
    if deaths >= MANY_DEATHS:
        return _failing(f"{deaths} workers of this model have died within ten minutes")
    if warming:
        return _WARMING
    if scaled:
        return Reason(
            code="starting",
            message="No worker for this model is running, and one is being started: that can take minutes. "
            "If it takes long, tell the operators.",
        )
    return Reason(
        code="no_worker",
        message="No worker for this model is running. It begins once the operators have started one.",
    )


def _of_pool(job: Job, *, others_can: bool) -> Reason:
    gpu_class = class_in(job.pool)
    missing = "without a GPU class" if gpu_class is None else f"of the GPU class {gpu_class}"
    if job.is_pinned:
        told = "It begins once the operators have started one."
        if others_can:
            told += f" Its request named that class: one that names {job.model} alone is drawn by another."
    elif others_can:
        told = "It is about to go to workers of another class."
    else:
        told = "It begins once the operators have started one, of this class or another."
    return Reason(code="no_worker", message=f"No worker {missing} for this model is running. {told}")


def _failing(said: str) -> Reason:
    return Reason(
        code="workers_failing",
        message=f"{said}, and none is ready. The workers' logs tell the operators why. "
        "It begins once a worker is ready, or cancel it.",
    )


def _of_queue(job: Job) -> Reason:
    if job.hold is Hold.JOINED:
        return Reason(
            code="joined",
            message=f"Another job of yours will draw the same pictures, and this one gets them. {_place(job)}",
        )
    if job.hold is Hold.RUNNING_LIMIT:
        return Reason(
            code="running_limit",
            message="As many of your jobs are running as may at once. It can begin when one of them has ended.",
        )
    return Reason(code="behind", message=_place(job))


def _place(job: Job) -> str:
    match job.position:
        case None | 0:
            return "It goes next."
        case 1:
            return "1 job goes before it."
        case many:
            return f"{many:,} jobs go before it."
