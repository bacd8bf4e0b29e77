"""What can be wrong with the fleet: who is missing, stuck, paused, without a store, of another version; what piles up.

Pure: judges what the queue's verbs tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from api.estimate import able_workers
from api.reasons import is_without_workers
from api.rerouting import others_for
from shared.checks import Finding, ok, unknown, warning, wrong
from shared.contract import WorkerState
from shared.keys import LAYOUT
from shared.meters import COURIERS, JOBS_TO_FORGET, OBJECTS_TO_DELETE, WEBHOOKS_DUE
from shared.parts import Part, by_version, mixture
from shared.scripts import Fleet, Gauges, Mode, Outlook, Roll, RunningWork

OVERDUE: Final = 5
"""As many times as long as a job was expected to take, at the worker's pace of late: then it may be stuck."""
OVERDUE_MS: Final = 30_000
"""And no less than that: a first step may compile, or load."""
BACKLOG: Final = 10_000
"""Of what is to be forgotten or deleted; a round takes a thousand or so."""

_STUCK: Final = "docs/operations/drills.md#a-stuck-worker tells how to look, and what to do."


@dataclass(frozen=True, slots=True)
class Known:
    """What the queue tells of who works, and of what there is to do."""

    fleet: Fleet
    gauges: Gauges
    parts: Sequence[Part]
    roll: Roll
    outlooks: Mapping[str, Outlook]
    """Of the pools that have workers."""


def judge(known: Known) -> Iterator[Finding]:
    """Tell what is to be said of the fleet."""
    yield from _versions(known.parts)
    yield _layouts(known.roll)
    yield from _workers(known)
    yield from _pools(known.fleet, known.gauges)
    yield _couriers(known.gauges)
    yield _retention(known.gauges)


def _versions(parts: Sequence[Part]) -> Iterator[Finding]:
    """Are all parts of one version? They need not be, but one that was forgotten is found here."""
    if mixed := mixture(parts):
        yield warning(
            "versions",
            mixed,
            "While you update that is as it should be. Else update those that were left: docs/operations/upgrades.md.",
        )
    else:
        yield from (ok("versions", f"All parts are {one}: {which}.") for one, which in by_version(parts).items())


def _layouts(roll: Roll) -> Finding:
    apart = sorted(layout for layout in roll.layouts if not layout.startswith(f"{LAYOUT} "))
    if apart:
        return wrong(
            "layouts",
            f"Beside this gateway's layout of keys, {LAYOUT}, parts with another one live: {', '.join(apart)} (layout "
            "and version). They do not see each other's jobs.",
            "Stop one of the two, or give it a Redis of its own: docs/operations/upgrades.md#another-layout.",
        )
    return ok("layouts", f"All parts have the layout of keys {LAYOUT}.")


def _workers(known: Known) -> Iterator[Finding]:
    fleet, troubles = known.fleet, list[Finding]()
    if fleet.mode is not Mode.WORK:
        troubles.append(
            wrong("workers", f"All workers are {fleet.mode}: jobs are accepted and wait.", "`darkroom resume`")
        )
    for name, ms in sorted(known.roll.silent_ms.items()):
        troubles.append(
            warning(
                "workers",
                f"{name} fell silent {ms / 1000:.0f} s ago without a farewell: it died, is frozen, or is cut off.",
                f"Others have its jobs. {_STUCK}",
            )
        )
    for pool, lost in sorted(fleet.lost.items()):
        troubles.append(
            warning(
                "workers",
                f"{_counted(lost, 'worker')} of {pool} came within ten minutes and died, failed or fell silent since.",
                f"Their logs say why. {_STUCK}",
            )
        )
    for worker in fleet.workers:
        troubles += _of_worker(worker, fleet, known.outlooks.get(worker.pool))
    if troubles:
        yield from troubles
    elif fleet.workers:
        yield ok("workers", f"{_counted(len(fleet.workers), 'worker')}, of which none is stuck or without the store.")


def _of_worker(worker: WorkerState, fleet: Fleet, ahead: Outlook | None) -> Iterator[Finding]:
    if fleet.mode is Mode.WORK and (mode := fleet.mode_of(worker.id)) is not Mode.WORK:
        yield warning("workers", f"{worker.id} is {mode}.", f"`darkroom resume {worker.id}`")
    if worker.store_away:
        yield wrong(
            "workers",
            f"{worker.id} can't write to the object store, and takes no job.",
            "On its machine: are DARKROOM_S3_ENDPOINT and the keys right, and may they write?",
        )
    held = [work for work in ahead.running if work.worker == worker.id] if ahead else []
    # Of several some may be held up by others that are more urgent; one at least should get on.
    if held and all(_is_overdue(work, worker.pace) for work in held):
        oldest = max(held, key=lambda work: work.elapsed_ms)
        yield warning(
            "workers",
            f"{worker.id} may be stuck: it has had a job for {oldest.elapsed_ms / 1000:.0f} s that should have taken "
            f"some {oldest.work_ms / 1000:.0f} s, and is at step {oldest.step} of {oldest.steps}.",
            _STUCK,
        )


def _is_overdue(work: RunningWork, pace: float) -> bool:
    return work.elapsed_ms > max(OVERDUE_MS, OVERDUE * max(1.0, pace) * work.work_ms)


def _pools(fleet: Fleet, gauges: Gauges) -> Iterator[Finding]:
    waiting = Counter[str]()
    for order in gauges.waiting:
        waiting[order.model] += order.jobs
    starved = [pool for pool, jobs in waiting.items() if jobs and not able_workers(fleet, pool)]
    for pool in sorted(starved):
        yield _starved(fleet, pool, waiting[pool])
    if not starved:
        yield ok("pools", "Whatever waits has a worker that takes it.")


def _starved(fleet: Fleet, pool: str, jobs: int) -> Finding:
    what, told = "pools", f"{_counted(jobs, 'job')} for {pool} wait, and no worker takes them"
    states = Counter(worker.state for worker in fleet.workers if worker.pool == pool)
    if is_without_workers(fleet, pool) and (others := others_for(fleet, pool)):
        after = "ten minutes, for a scaler asks," if pool in fleet.scaled else "DARKROOM_POOL_PATIENCE_S"
        return warning(
            what,
            f"{told}. Those that named the model alone go to {' or '.join(others)} after {after} without one.",
            "If it lasts, they named this pool: start or resume a worker of it, or have them asked for again without.",
        )
    if states["ready"]:
        return wrong(what, f"{told}: those that are ready are paused, or without the store.", "See `workers`.")
    if states["warming"]:
        return warning(what, f"{told} yet: {states['warming']} load the model.", "Wait; if it lasts, see their logs.")
    if pool in fleet.scaled:
        return warning(what, f"{told} yet: a scaler asks for workers.", "If it lasts, see why it starts none.")
    return wrong(what, f"{told}: there is none.", "Start one of this pool; or cancel the jobs.")


def _couriers(gauges: Gauges) -> Finding:
    couriers, due = gauges.figures[COURIERS.name], gauges.figures[WEBHOOKS_DUE.name]
    if couriers:
        return ok("couriers", f"{_counted(couriers, 'courier')}; {_counted(due, 'webhook')} due.")
    if due:
        return wrong(
            "couriers",
            f"{_counted(due, 'webhook')} to be told of something, and no courier takes calls.",
            "Start one: `python -m worker.courier`, or `docker compose up -d courier`.",
        )
    return ok("couriers", "None takes calls, and no webhook waits for one.")


def _retention(gauges: Gauges) -> Finding:
    jobs, objects = gauges.figures[JOBS_TO_FORGET.name], gauges.figures[OBJECTS_TO_DELETE.name]
    told = f"{jobs:,} jobs are to be forgotten now, and {objects:,} objects to be deleted"
    if max(jobs, objects) > BACKLOG:
        return warning(
            "retention",
            f"{told}: the gateways lag behind.",
            "Does the store delete (see `store writes`), and fast enough? The gateways' logs tell why not.",
        )
    return ok("retention", f"{told}.")


def not_asked() -> Finding:
    """Say that nothing is known of the fleet, for Redis is away."""
    return unknown("fleet", "Workers, versions and webhooks are known to Redis alone.", "Mend Redis first.")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
