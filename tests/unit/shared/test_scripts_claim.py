"""Whom a claim gives which job: of one lane, and to the worker that has nothing to do."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.jobs import Job, LeaseToken, WorkerId, new_job_id
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.scripts import Mode
from tests.desk import LEASE_S, MODEL, Desk, state

BUSY, IDLE = WorkerId("busy"), WorkerId("idle")


def claim(desk: Desk, worker: WorkerId, *, lane: Lane | None = None, is_busy: bool = False) -> str | None:
    call = scripts.claim(MODEL, worker, LeaseToken(new_job_id()), lease_s=LEASE_S, lane=lane, is_busy=is_busy)
    claimed = desk(call)
    return claimed and claimed.job.id


def rest(desk: Desk, worker: WorkerId = IDLE) -> None:
    """Live, and find nothing to do."""
    desk(scripts.heartbeat(state(worker), life_s=60))
    assert claim(desk, worker) is None


def grow_older(desk: Desk, job: Job) -> None:
    """Let it have come a second ago."""
    desk.client.hset(f"{DEFAULT.prefix}job:{job.id}", "created_at_ms", str(desk.now_ms() - 1000))


def test_a_claim_may_name_the_lane(desk: Desk) -> None:
    bulk, interactive = desk.submit(lane=Lane.BULK), desk.submit()
    assert claim(desk, BUSY, lane=Lane.INTERACTIVE) == interactive.id
    assert claim(desk, BUSY, lane=Lane.INTERACTIVE) is None
    assert claim(desk, BUSY) == bulk.id


def test_a_busy_worker_leaves_what_has_just_come_to_one_that_is_not(desk: Desk) -> None:
    rest(desk)
    job = desk.submit()
    assert claim(desk, BUSY, is_busy=True) is None
    assert claim(desk, IDLE) == job.id


def test_once_the_idle_worker_works_nothing_is_left_to_it(desk: Desk) -> None:
    rest(desk)
    desk.submit()
    claim(desk, IDLE)
    job = desk.submit()
    assert claim(desk, BUSY, is_busy=True) == job.id


def test_a_job_that_nobody_came_for_goes_to_a_busy_worker(desk: Desk) -> None:
    rest(desk)
    job = desk.submit()
    grow_older(desk, job)
    assert claim(desk, BUSY, is_busy=True) == job.id


@pytest.mark.parametrize("what", ["nobody", "itself", "dead", "gone", "paused"])
def test_nothing_is_left_to_a_worker_that_will_not_come(desk: Desk, what: str) -> None:
    if what != "nobody":
        rest(desk, BUSY if what == "itself" else IDLE)
    if what == "dead":
        desk.client.delete(f"{DEFAULT.prefix}worker:{IDLE}")
    elif what == "gone":
        desk(scripts.leave(IDLE, MODEL))
    elif what == "paused":
        desk(scripts.direct(Mode.PAUSED, IDLE))
    job = desk.submit()
    assert claim(desk, BUSY, is_busy=True) == job.id
