"""Who goes next, told by example: tenants, weights, lanes, limits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from shared import scripts
from shared.jobs import Hold, Job, JobStatus, Tenant
from shared.lanes import Lane
from tests.desk import MODEL, OTHER, TENANT, TERMS, Desk, claim_call

A, B = TENANT, OTHER
HEAVY = replace(TERMS, weight=3.0)
ONE_AT_ONCE = replace(TERMS, max_tenant_running=1)


def claimed(desk: Desk, number: int) -> list[Job]:
    return [desk.claim().job for _ in range(number)]


def test_a_single_job_starts_next_though_another_tenant_has_a_thousand_waiting(desk: Desk) -> None:
    desk.submit_many(1000, tenant=A)
    desk.claim()
    job = desk.submit(tenant=B)
    assert (job.position, job.ahead_ms) == (0, 0)
    assert desk.claim().job.id == job.id


def test_tenants_take_turns(desk: Desk) -> None:
    for tenant in (A, B):
        for _ in range(3):
            desk.submit(tenant=tenant)
    assert [job.tenant for job in claimed(desk, 6)] == [A, B, A, B, A, B]


def test_a_tenant_of_three_times_the_weight_gets_three_times_the_work(desk: Desk) -> None:
    for _ in range(30):
        desk.submit(tenant=A)
        desk.submit(tenant=B, terms=HEAVY)
    share = Counter(job.tenant for job in claimed(desk, 20))
    assert share == {A: 5, B: 15}


def test_big_and_small_jobs_share_by_cost_and_not_by_number(desk: Desk) -> None:
    for _ in range(40):
        desk.submit(tenant=A, steps=40)
        desk.submit(tenant=B, steps=10)
    work = Counter[str]()
    for job in claimed(desk, 25):
        work[job.tenant] += job.params.cost
    assert abs(work[A] - work[B]) <= 2 * desk.submit(steps=40).params.cost


def test_leaving_and_coming_again_gains_nothing(desk: Desk) -> None:
    for _ in range(10):
        desk.submit(tenant=A)
    first = desk.submit(tenant=B)
    order = [first]
    for _ in range(5):
        while desk.claim().job.tenant != B:
            pass
        # B's line is empty now; whoever had stayed would stand where B stands when coming again.
        again = desk.submit(tenant=B)
        assert again.position == 1
        order.append(again)


def test_waiting_jobs_that_are_canceled_are_not_charged(desk: Desk) -> None:
    many = desk.submit_many(1000, tenant=A)
    for _ in range(5):
        desk.submit(tenant=B)
    desk.all(scripts.cancel(job.id, job.tenant) for job in many)
    assert desk.submit(tenant=A).position == 1  # by turns: B's first came first


def test_bulk_gets_its_part_of_the_work_while_interactive_jobs_wait(desk: Desk) -> None:
    for _ in range(60):
        desk.submit(lane=Lane.INTERACTIVE, work_ms=1000)
        desk.submit(lane=Lane.BULK, work_ms=2000)
    work = Counter[Lane]()
    for job in claimed(desk, 45):
        work[job.lane] += job.work_ms
    assert work == {Lane.INTERACTIVE: 40_000, Lane.BULK: 10_000}


def test_bulk_gets_everything_while_nobody_is_waiting_for_anything_else(desk: Desk) -> None:
    jobs = [desk.submit(lane=Lane.BULK) for _ in range(5)]
    assert claimed(desk, 5) == [desk.read(job) for job in jobs]


def test_a_lane_that_comes_back_has_saved_up_nothing(desk: Desk) -> None:
    for _ in range(50):
        desk.submit(lane=Lane.BULK)
    claimed(desk, 20)
    for _ in range(20):
        desk.submit(lane=Lane.INTERACTIVE)
    assert [job.lane for job in claimed(desk, 11)].count(Lane.BULK) == 2


def test_interactive_goes_first_when_the_queue_was_empty(desk: Desk) -> None:
    desk.submit(lane=Lane.INTERACTIVE)
    desk.draw_next()
    desk.submit(lane=Lane.BULK)
    assert desk.submit(lane=Lane.INTERACTIVE).position == 0
    assert [job.lane for job in claimed(desk, 2)] == [Lane.INTERACTIVE, Lane.BULK]


def test_a_bulk_job_counts_those_of_both_lanes_that_begin_before_it_and_an_interactive_one_its_own(desk: Desk) -> None:
    for work_ms in (1000, 300, 5000, 20, 700):
        for lane in Lane:
            for tenant in (A, B):
                desk.submit(tenant=tenant, lane=lane, work_ms=work_ms)
    pages = [desk(scripts.page(tenant, cursor=None, limit=100)).jobs for tenant in (A, B)]
    waiting = {job.id: job for page in pages for job in page}
    begun = [waiting[job.id] for job in claimed(desk, 20)]
    for at, job in enumerate(begun):
        own = [other for other in begun[:at] if other.lane is job.lane]
        assert job.position == (at if job.lane is Lane.BULK else len(own))
        assert (job.ahead_jobs, job.ahead_ms) == (len(own), sum(other.work_ms for other in own))


def test_a_released_job_goes_first_again(desk: Desk) -> None:
    for _ in range(3):
        desk.submit(tenant=A)
        desk.submit(tenant=B)
    first = desk.claim()
    desk.claim()
    desk(scripts.release(first.lease))
    assert desk.read(first.job).position == 0
    assert desk.claim().job.id == first.job.id


def test_jobs_that_are_handed_back_keep_their_places_when_one_of_them_is_canceled(desk: Desk) -> None:
    mine = [desk.submit(tenant=A) for _ in range(3)]
    taken = [desk.claim() for _ in range(3)]
    theirs = [desk.submit(tenant=B) for _ in range(3)]
    for one in reversed(taken):
        desk(scripts.release(one.lease))
    assert [desk.read(job).position for job in mine] == [0, 1, 2]
    desk.cancel(mine[0])
    assert [desk.read(job).position for job in mine[1:]] == [0, 1]
    assert desk.read(theirs[0]).position == 2


def test_what_has_begun_stays_charged_when_another_that_was_handed_back_waits(desk: Desk) -> None:
    first, _second, third, fourth = (desk.submit(tenant=A) for _ in range(4))
    handed_back = desk.claim()
    desk.claim()
    rival = desk.submit(tenant=B)
    desk(scripts.release(handed_back.lease))
    before = desk.read(fourth).position
    desk.cancel(third)
    # It moves up by the one that was canceled; the second job, which runs, still counts.
    assert (desk.read(first).position, desk.read(rival).position, desk.read(fourth).position) == (0, 1, 2)
    assert before == 3


def test_a_tenant_at_its_limit_is_passed_over_until_one_of_its_jobs_ends(desk: Desk) -> None:
    mine = [desk.submit(tenant=A, terms=ONE_AT_ONCE) for _ in range(2)]
    theirs = [desk.submit(tenant=B) for _ in range(3)]
    first = desk.claim()
    assert first.job.id == mine[0].id
    assert desk.read(mine[1]).hold is Hold.RUNNING_LIMIT
    assert [job.id for job in claimed(desk, 2)] == [job.id for job in theirs[:2]]
    desk(scripts.release(first.lease))
    assert desk.read(mine[1]).hold is None
    assert desk.claim().job.id == mine[0].id
    assert claimed(desk, 1)[0].id == theirs[2].id
    assert desk(claim_call()) is None
    desk.cancel(mine[0])
    assert desk.claim().job.id == mine[1].id


def test_a_lane_whose_tenants_were_all_at_their_limit_has_saved_up_nothing(desk: Desk) -> None:
    bulk = [desk.submit(tenant=A, lane=Lane.BULK, terms=ONE_AT_ONCE) for _ in range(3)]
    running = desk.claim()
    rivals = [desk.submit(tenant=B) for _ in range(20)]
    assert [job.id for job in claimed(desk, 10)] == [job.id for job in rivals[:10]]
    # As soon as it may go again, it has its turn, and then interactive has four of five as before.
    told = desk.read(bulk[1]).position
    desk.cancel(running.job)
    assert desk.read(bulk[1]).position == told
    order = [job.lane for job in claimed(desk, 5)]
    assert order.count(Lane.BULK) == 1


def test_a_limit_in_one_lane_counts_what_runs_in_the_other(desk: Desk) -> None:
    desk.submit(terms=ONE_AT_ONCE)
    desk.claim()
    bulk = desk.submit(lane=Lane.BULK, terms=ONE_AT_ONCE)
    assert desk(claim_call()) is None
    assert desk.read(bulk).status is JobStatus.QUEUED


def test_a_lane_of_one_tenant_gets_back_what_was_charged_for_a_job_that_is_handed_back(desk: Desk) -> None:
    # Interactive work is handed back after bulk has moved the clock on: that work was not done, and is owed.
    for _ in range(2):
        desk.submit(tenant=A, work_ms=4000)
    bulk = [desk.submit(tenant=B, lane=Lane.BULK, work_ms=1000) for _ in range(6)]
    taken = [desk.claim() for _ in range(4)]
    for one in taken:
        if one.job.lane is Lane.INTERACTIVE:
            desk(scripts.release(one.lease))
    waiting = [job for job in bulk if desk.read(job).status is JobStatus.QUEUED]
    places = [desk.read(job).position for job in waiting]
    order = [job.id for job in claimed(desk, 2 + len(waiting))]
    assert [order.index(job.id) for job in waiting] == places


def test_after_enough_sweeps_places_are_exact_again_when_many_moved_up(desk: Desk) -> None:
    many = desk.submit_many(600, tenant=A)
    few = desk.submit_many(300, tenant=B)
    desk.all(scripts.cancel(job.id, job.tenant) for job in many[:300])
    desk.sweep_was(0)
    for _ in range(4):
        desk.reap()
    assert [desk.read(job).position for job in (*many[300:302], *few[:2])] == [0, 2, 1, 3]
    assert desk.read(many[-1]).position == 598
    assert desk.read(few[-1]).position == 599


def test_even_before_the_sweeps_a_claim_takes_the_right_job(desk: Desk) -> None:
    many = desk.submit_many(200, tenant=A)
    few = desk.submit_many(50, tenant=B)
    desk.all(scripts.cancel(job.id, job.tenant) for job in many[:100])
    taken = [job.id for job in claimed(desk, 100)]
    assert taken[::2] == [job.id for job in many[100:150]]
    assert taken[1::2] == [job.id for job in few]


def test_three_thousand_jobs_of_the_same_tag_have_exact_places_in_their_lane(desk: Desk) -> None:
    jobs = desk.submit_many(3000, tenant=None)
    for at in (0, 1, 999, 1000, 1500, 2999):
        now = desk.read(jobs[at])
        assert (now.position, now.ahead_ms) == (at, at * 1000)
    assert desk(scripts.outlook(MODEL)).waiting[Lane.INTERACTIVE].jobs == 3000


def test_the_work_ahead_is_told_exactly_near_and_far(desk: Desk) -> None:
    tenants = [Tenant(f"t{number}") for number in range(3)]
    jobs = [desk.submit(tenant=tenants[n % 3], work_ms=1000 + n, steps=1 + n % 40) for n in range(120)]
    line = sorted(map(desk.read, jobs), key=lambda job: job.position or 0)
    assert [job.position for job in line] == list(range(120))
    ahead_ms = 0
    for job in line:
        assert (job.ahead_jobs, job.ahead_ms) == (job.position, ahead_ms)
        ahead_ms += job.work_ms
