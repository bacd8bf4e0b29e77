"""What a worker is too old for waits for a newer one, and holds up nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared import scripts
from shared.compatibility import CONTRACT
from shared.errors import TenantQueueFull
from shared.jobs import Job, JobStatus, LeaseToken, Tenant, WorkerId, new_job_id
from shared.keys import DEFAULT
from shared.lanes import Lane
from tests.desk import LEASE_S, MODEL, OTHER, TENANT, TERMS, Desk, finished, new_job, submit_call
from tests.servers import wait_until
from tests.unit.shared.queue_keyspace import contents

OLD, NEW, NEWEST = 1, 2, 3
MOST_PASSED_OVER = 100
"""By one claim (shared/lua/claim.lua)."""


def claim(desk: Desk, contract: int, *, lane: Lane | None = None) -> scripts.Claimed | None:
    worker = WorkerId(f"worker-{contract}")
    call = scripts.claim(MODEL, worker, LeaseToken(new_job_id()), lease_s=LEASE_S, lane=lane, contract=contract)
    return desk(call)


def taken(desk: Desk, contract: int, *, lane: Lane | None = None) -> str | None:
    claimed = claim(desk, contract, lane=lane)
    return claimed and claimed.job.id


def place(desk: Desk, job: Job) -> tuple[int | None, int]:
    read = desk.read(job)
    return read.position, read.ahead_ms


def test_an_older_worker_leaves_a_job_and_takes_what_stands_behind_it(desk: Desk) -> None:
    newer, own, other = desk.submit(needs=NEW), desk.submit(), desk.submit(tenant=OTHER)

    assert {taken(desk, OLD), taken(desk, OLD)} == {own.id, other.id}
    assert taken(desk, OLD) is None
    assert desk.read(newer).status is JobStatus.QUEUED
    assert taken(desk, NEW) == newer.id


def test_a_worker_takes_what_needs_its_contract_and_no_more(desk: Desk) -> None:
    newest, newer = desk.submit(needs=NEWEST), desk.submit(needs=NEW)

    assert taken(desk, OLD) is None
    assert taken(desk, NEW) == newer.id
    assert taken(desk, NEW) is None
    assert taken(desk, NEWEST) == newest.id


def test_a_job_says_what_its_worker_must_know(desk: Desk) -> None:
    assert (desk.submit().needs, desk.submit(needs=NEW).needs) == (1, NEW)
    claimed = claim(desk, CONTRACT)
    assert claimed is not None
    assert claimed.job.needs == 1


def test_jobs_that_were_left_keep_their_places_before_those_that_came_later(desk: Desk) -> None:
    first, second = desk.submit(needs=NEW), desk.submit(needs=NEW)
    before = place(desk, first), place(desk, second)
    assert taken(desk, OLD) is None
    assert (place(desk, first), place(desk, second)) == before

    later = desk.submit()
    assert place(desk, later) == (2, 2000)
    assert [taken(desk, NEW) for _ in range(3)] == [first.id, second.id, later.id]


def test_many_that_are_left_hold_up_a_claim_once_and_then_no_more(desk: Desk) -> None:
    number = 2 * MOST_PASSED_OVER + 50
    desk.all(submit_call(new_job(needs=NEW, tenant=Tenant(f"t{at}")), max_waiting=1000) for at in range(number))
    last = desk.submit(tenant=OTHER)

    assert [taken(desk, OLD) for _ in range(3)] == [None, None, last.id]
    calls = commands_of(desk)
    assert taken(desk, OLD) is None
    assert commands_of(desk) - calls < 30


def test_one_tenants_thousand_that_are_left_do_not_keep_its_others_from_an_older_worker(desk: Desk) -> None:
    desk.all(submit_call(new_job(needs=NEW), max_waiting=2000) for _ in range(1000))
    own = desk.submit()

    asked = [taken(desk, OLD) for _ in range(11)]

    assert [job for job in asked if job] == [own.id]


def test_to_be_left_gains_a_tenant_nothing(desk: Desk) -> None:
    """Its places are used as if it had begun: what it sends to older workers goes behind."""
    for _ in range(3):
        desk.submit(needs=NEW)
    for _ in range(3):
        desk.submit(tenant=OTHER)
    own = desk.submit()

    order = [taken(desk, OLD) for _ in range(4)]

    assert order[-1] == own.id


def test_jobs_that_are_left_count_as_waiting(desk: Desk) -> None:
    terms = TERMS.__class__(keep_s=60, max_tenant_waiting=2)
    desk.submit(needs=NEW)
    assert taken(desk, OLD) is None
    desk.submit(terms=terms)
    with pytest.raises(TenantQueueFull):
        desk.submit(terms=terms)
    line = desk(scripts.waiting(MODEL))[Lane.INTERACTIVE].lines[0]
    assert (line.tenant, line.jobs, line.work_ms) == (TENANT, 2, 2000)


def test_how_long_a_job_that_was_left_has_waited_is_told_to_scalers_and_meters(desk: Desk) -> None:
    newer, own = desk.submit(needs=NEW), desk.submit(lane=Lane.BULK)
    assert [taken(desk, OLD), taken(desk, OLD)] == [own.id, None]
    wait_until(lambda: desk(scripts.demand(MODEL)).oldest_ms >= 20, limit_s=5, what="it has waited")

    waiting = {order.lane: order for order in desk(scripts.gauges()).waiting}

    assert desk(scripts.demand(MODEL)).jobs == 1
    assert (waiting[Lane.INTERACTIVE].jobs, waiting[Lane.BULK].jobs) == (1, 0)
    assert waiting[Lane.INTERACTIVE].oldest_ms >= 20
    assert waiting[Lane.BULK].oldest_ms == 0
    assert taken(desk, NEW) == newer.id
    assert desk(scripts.demand(MODEL)).oldest_ms == 0


def test_workers_are_woken_for_jobs_that_were_left(desk: Desk) -> None:
    newer = desk.submit(needs=NEW)
    assert taken(desk, OLD) is None
    assert desk.reap().waiting_pools == (MODEL,)
    desk.cancel(newer)
    assert desk.reap().waiting_pools == ()


@pytest.mark.parametrize("end", ["canceled", "expired", "erased", "drawn"])
def test_a_job_that_was_left_ends_as_any_other_and_leaves_nothing(desk: Desk, end: str) -> None:
    newer = desk.submit(needs=NEW, cancel_after_s=60)
    assert taken(desk, OLD) is None
    match end:
        case "canceled":
            desk.cancel(newer)
        case "expired":
            desk.pass_deadline(newer.id)
            assert desk.reap().overdue == (newer.id,)
        case "erased":
            desk(scripts.erase(newer.id, newer.tenant))
        case _:
            claimed = claim(desk, NEW)
            assert claimed is not None
            finished(desk, claimed.job, claimed.lease)

    left = contents(desk.client)
    assert not [key for key in left if key.startswith(("beyond", "order", "line:", "heads"))]
    assert "beyond" not in left[f"lanes:{MODEL}"]


def test_a_job_that_a_newer_worker_hands_back_is_left_again(desk: Desk) -> None:
    newer = desk.submit(needs=NEW)
    claimed = claim(desk, NEW)
    assert claimed is not None
    desk(scripts.release(claimed.lease))

    assert taken(desk, OLD) is None
    assert taken(desk, NEW) == newer.id


def test_each_lane_keeps_its_part_of_what_only_newer_workers_can_take(desk: Desk) -> None:
    for lane in Lane:
        for _ in range(20):
            desk.submit(needs=NEW, lane=lane)
    assert taken(desk, OLD) is None

    lanes = [desk_lane(desk) for _ in range(20)]

    assert lanes.count(Lane.BULK) == 4  # a fifth, as always


def desk_lane(desk: Desk) -> Lane:
    claimed = claim(desk, NEW)
    assert claimed is not None
    return claimed.job.lane


def commands_of(desk: Desk) -> int:
    """Commands that Redis has run, those of scripts too."""
    stats = desk.client.info("commandstats")  # pyright: ignore[reportUnknownMemberType]: **kwargs
    return sum(int(one["calls"]) for one in stats.values())


def test_what_an_older_version_ended_where_it_knows_no_jobs_is_left_behind(desk: Desk) -> None:
    gone, canceled, waiting = (desk.submit(needs=NEW) for _ in range(3))
    assert taken(desk, OLD) is None
    # As a library does that knows of nothing beyond: the record ends, and what stands there stays.
    desk.client.hset(DEFAULT.prefix + f"job:{canceled.id}", "status", "canceled")  # pyright: ignore[reportUnknownMemberType]
    desk.client.delete(DEFAULT.prefix + f"job:{gone.id}")

    assert desk(scripts.waiting(MODEL, most=5))
    assert taken(desk, NEW) == waiting.id
    assert taken(desk, NEW) is None
    assert not [key for key in desk.all_keys() if b":beyond:" in key]


def test_a_tenant_at_its_limit_keeps_a_newer_worker_from_nobody_elses(desk: Desk) -> None:
    limited = replace(TERMS, max_tenant_running=1)
    desk.all(scripts.submit(new_job(needs=NEW), limited) for _ in range(20))
    desk.all(submit_call(new_job(needs=NEW, tenant=OTHER)) for _ in range(3))
    assert taken(desk, OLD) is None

    tenants = [claimed.job.tenant for claimed in (claim(desk, NEW) for _ in range(4)) if claimed]
    assert sorted(tenants) == sorted([TENANT, OTHER, OTHER, OTHER])
