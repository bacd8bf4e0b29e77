"""What waits for a pool without workers goes to another one, in Redis: which of it, and what it finds there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared import scripts
from shared.jobs import JobStatus, LeaseToken, NewJob, Tenant, new_job_id
from shared.keys import DEFAULT, queue_of
from shared.lanes import Lane
from tests.desk import LEASE_S, MODEL, OTHER, WORKER, Desk, new_job, submit_call

L4, H100 = f"{MODEL}@l4", f"{MODEL}@h100"
OLD, NEW = 1, 2


def submitted(desk: Desk, job: NewJob) -> NewJob:
    desk(submit_call(job))
    return job


def roaming(desk: Desk, *, needs: int | None = None, lane: Lane = Lane.INTERACTIVE, tenant: Tenant = OTHER) -> NewJob:
    """A job whose request named the model alone, and which was routed to a class."""
    return submitted(desk, replace(new_job(model=L4, needs=needs, lane=lane, tenant=tenant), roams=True))


def stranded(desk: Desk, *, limit: int = 10, contract: int = OLD, pool: str = L4) -> list[str]:
    return [job.id for job in desk(scripts.stranded(pool, limit=limit, contract=contract))]


def test_what_named_its_class_and_what_nobody_there_would_draw_right_hold_up_nobody(desk: Desk) -> None:
    submitted(desk, new_job(model=L4))
    newer = roaming(desk, needs=NEW)
    job = roaming(desk)

    assert stranded(desk, limit=1) == [job.id]
    assert stranded(desk, contract=NEW) == [newer.id, job.id]


def test_a_record_that_cant_be_read_holds_up_nobody(desk: Desk) -> None:
    unreadable, job = roaming(desk), roaming(desk)
    desk.client.hset(f"{DEFAULT.prefix}job:{unreadable.id}", "params", '{"scheduler": "of tomorrow"}')

    assert stranded(desk) == [job.id]


def test_bulk_jobs_have_their_share_in_a_pool_that_had_no_job_before(desk: Desk) -> None:
    bulk = roaming(desk, lane=Lane.BULK)
    jobs = [*(roaming(desk) for _ in range(8)), bulk]
    for job in jobs:
        assert desk(scripts.reroute(job.id, source=L4, to=H100, work_ms=1000))

    lanes: list[Lane] = []
    for _ in jobs:
        claimed = desk(scripts.claim(H100, WORKER, LeaseToken(new_job_id()), lease_s=LEASE_S))
        assert claimed is not None
        lanes.append(claimed.job.lane)
    assert lanes.index(Lane.BULK) < len(jobs) - 1


def test_a_job_that_has_begun_meanwhile_stays_with_its_worker(desk: Desk) -> None:
    job = roaming(desk)
    assert stranded(desk) == [job.id]
    assert desk(scripts.claim(L4, WORKER, LeaseToken(new_job_id()), lease_s=LEASE_S))

    assert not desk(scripts.reroute(job.id, source=L4, to=H100, work_ms=1000))
    found = desk.read(job)
    assert (found.status, found.pool) == (JobStatus.RUNNING, L4)


@pytest.mark.parametrize("model", [f"{MODEL}-l4", f"{MODEL}/l4", f"{MODEL}.l4"])
def test_no_model_of_another_name_takes_the_wake_ups_of_a_class(model: str) -> None:
    assert queue_of(L4) != queue_of(model)
