"""What happens to those that are gone: deadlines, grace after an outage, poison, jobs kept long enough."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.jobs import Job, JobStatus, LeaseToken, WorkerId
from shared.keys import DEFAULT
from shared.scripts import Claimed
from tests.desk import LEASE_S, MODEL, OTHER, TENANT, Desk, failed


def test_a_job_that_waits_past_its_deadline_expires(desk: Desk) -> None:
    job = desk.submit(cancel_after_s=60)
    assert job.deadline_ms == job.created_at_ms + 60_000
    assert desk.reap().overdue == ()
    desk.pass_deadline(job.id)
    assert desk.reap().overdue == (job.id,)
    ended = desk.read(job)
    assert (ended.status, ended.error and ended.error.code) == (JobStatus.EXPIRED, "deadline_passed")


def test_a_job_that_runs_past_its_deadline_is_canceled(desk: Desk) -> None:
    job = desk.submit(cancel_after_s=60)
    lease = desk.claim().lease
    desk.pass_deadline(job.id)
    assert desk.reap().overdue == (job.id,)
    ended = desk.read(job)
    assert (ended.status, ended.error and ended.error.code) == (JobStatus.CANCELED, "deadline_passed")
    assert desk(scripts.renew([lease], lease_s=LEASE_S)) == {lease}


def test_a_claim_skips_what_is_overdue_though_no_sweep_has_come(desk: Desk) -> None:
    late, good = desk.submit(cancel_after_s=60), desk.submit()
    desk.pass_deadline(late.id)
    assert desk.claim().job.id == good.id
    assert desk.read(late).status is JobStatus.EXPIRED


def test_a_job_that_ended_in_time_stays_as_it_is(desk: Desk) -> None:
    desk.submit(cancel_after_s=60)
    job = desk.draw_next()
    desk.pass_deadline(job.id)
    assert desk.reap().overdue == ()
    assert desk.read(job).status is JobStatus.SUCCEEDED


def silent(desk: Desk, ago_s: float, left_s: float) -> Claimed:
    """A job whose lease has `left_s` left, `ago_s` after the last sweep."""
    desk.submit()
    claimed = desk.claim()
    desk.lapse(claimed.job.id, desk.now_ms() + round(left_s * 1000))
    desk.sweep_was(ago_s)
    return claimed


def test_a_short_gap_between_sweeps_prolongs_a_lease_by_the_gap_and_once(desk: Desk) -> None:
    claimed = silent(desk, ago_s=3, left_s=-1)
    assert desk.reap().requeued == ()
    assert desk.lease_left_ms(claimed.job.id) <= 2000
    desk.lapse(claimed.job.id)
    desk.sweep_was(3)
    assert desk.reap().requeued == (claimed.job.id,)


def test_a_gap_as_long_as_sweeps_may_be_apart_prolongs_nothing(desk: Desk) -> None:
    claimed = silent(desk, ago_s=0.5, left_s=-1)
    assert desk.reap().requeued == (claimed.job.id,)


def test_a_long_gap_grants_a_term_and_no_more(desk: Desk) -> None:
    claimed = silent(desk, ago_s=600, left_s=-590)
    assert desk.reap().requeued == ()
    assert desk.lease_left_ms(claimed.job.id) <= LEASE_S * 1000


def test_a_lease_that_is_renewed_after_an_outage_is_prolonged_after_the_next(desk: Desk) -> None:
    claimed = silent(desk, ago_s=3, left_s=-1)
    desk.reap()
    desk(scripts.renew([claimed.lease], lease_s=LEASE_S))
    desk.lapse(claimed.job.id, desk.now_ms() - 1000)
    desk.sweep_was(3)
    assert desk.reap().requeued == ()


@pytest.mark.parametrize("was_graced", [False, True])
def test_a_clock_set_back_freezes_no_lease(desk: Desk, *, was_graced: bool) -> None:
    claimed = silent(desk, ago_s=3 if was_graced else 0, left_s=1)
    desk.reap()
    # The clock was an hour ahead when the lease and the last sweep were noted.
    desk.lapse(claimed.job.id, desk.now_ms() + 3_600_000)
    desk.sweep_was(-3600)
    assert desk.reap().requeued == ()
    assert desk.lease_left_ms(claimed.job.id) <= LEASE_S * 1000
    desk.lapse(claimed.job.id)
    assert desk.reap().requeued == (claimed.job.id,)


def lose(desk: Desk, job: Job, worker: str, *, max_attempts: int = 3) -> scripts.Sweep:
    claimed = desk(scripts.claim(MODEL, WorkerId(worker), LeaseToken(worker), lease_s=LEASE_S))
    assert claimed is not None
    desk.lapse(job.id)
    desk.sweep_was(0)
    return desk.reap(max_attempts=max_attempts)


def test_a_job_that_kills_its_workers_is_set_aside_with_their_names(desk: Desk) -> None:
    job = desk.submit()
    for worker in ("w1", "w2"):
        assert lose(desk, job, worker).requeued == (job.id,)
    assert desk(scripts.set_aside(limit=10)) == ()
    assert lose(desk, job, "w3").failed == (job.id,)
    (aside,) = desk(scripts.set_aside(limit=10))
    assert aside == desk.read(job)
    assert (aside.status, aside.error and aside.error.code) == (JobStatus.FAILED, "worker_lost")
    assert aside.lost_workers == ("w1", "w2", "w3")


def test_what_is_set_aside_is_listed_latest_first_and_forgotten_with_its_record(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(2)]
    for number, job in enumerate(jobs):
        lose(desk, job, f"w{number}", max_attempts=1)
    desk.client.zadd(DEFAULT.prefix + "set_aside", {jobs[0].id: 1})
    assert [job.id for job in desk(scripts.set_aside(limit=10))] == [jobs[1].id, jobs[0].id]
    desk(scripts.erase(jobs[1].id, TENANT))
    assert [job.id for job in desk(scripts.set_aside(limit=10))] == [jobs[0].id]


def test_a_lost_job_waits_in_front_of_those_that_came_later(desk: Desk) -> None:
    job, later = desk.submit(), desk.submit(tenant=OTHER)
    lose(desk, job, "w1")
    assert [desk.read(one).position for one in (job, later)] == [0, 1]


def test_a_job_that_was_kept_long_enough_is_forgotten_and_its_pictures_are_to_be_deleted(desk: Desk) -> None:
    desk.submit(num_images=2)
    old = desk.draw_next()
    desk.submit()
    young = desk.draw_next()
    objects = tuple(image.key for image in old.images)
    assert desk(scripts.retire(limit=10)) == scripts.Retired((), ())
    desk.grow_old(old.id)
    assert desk(scripts.retire(limit=10)) == scripts.Retired((old.id,), objects)
    assert desk(scripts.page(TENANT, cursor=None, limit=10)).jobs == (desk.read(young),)


def test_an_object_is_named_until_it_was_deleted(desk: Desk) -> None:
    desk.submit()
    old = desk.draw_next()
    desk.grow_old(old.id)
    objects = desk(scripts.retire(limit=10)).objects
    assert desk(scripts.retire(limit=10)) == scripts.Retired((), objects)
    desk(scripts.discard(objects))
    assert desk(scripts.retire(limit=10)) == scripts.Retired((), ())


def test_at_most_so_many_are_forgotten_at_once(desk: Desk) -> None:
    for _ in range(3):
        desk.submit()
        desk.grow_old(desk.draw_next().id)
    assert [len(desk(scripts.retire(limit=2)).jobs) for _ in range(3)] == [2, 1, 0]


def test_objects_that_the_store_refuses_make_way_for_others_and_come_again(desk: Desk) -> None:
    for _ in range(2):
        desk.submit()
        desk.grow_old(desk.draw_next().id)
    (refused,) = desk(scripts.retire(limit=1)).objects
    desk(scripts.postpone([refused], pause_s=60))
    (other,) = desk(scripts.retire(limit=1)).objects
    assert other != refused
    desk(scripts.discard([refused, other]))
    assert desk(scripts.retire(limit=9)).objects == ()
    desk.make_due([refused])
    assert desk(scripts.retire(limit=9)).objects == (refused,)


def erased_objects(desk: Desk, job: Job) -> tuple[str, ...]:
    objects = desk(scripts.erase(job.id, TENANT))
    desk(scripts.discard(objects))
    return objects


def test_a_job_that_never_began_leaves_nothing_to_delete_later(desk: Desk) -> None:
    objects = erased_objects(desk, desk.submit())
    desk.make_due(objects)
    assert desk(scripts.retire(limit=10)).objects == ()


@pytest.mark.parametrize("how", ["running", "canceled", "failed", "waiting again"])
def test_objects_are_deleted_a_second_time_when_a_worker_may_still_upload_one(desk: Desk, how: str) -> None:
    job = desk.submit()
    claimed = desk.claim()
    if how == "canceled":
        desk.cancel(job)
    elif how == "failed":
        failed(desk, job, claimed.lease)
    elif how == "waiting again":
        desk.lapse(job.id)
        desk.sweep_was(0)
        desk.reap()
    objects = erased_objects(desk, job)
    assert desk(scripts.retire(limit=10)).objects == ()
    desk.make_due(objects)
    assert desk(scripts.retire(limit=10)).objects == objects
    desk(scripts.discard(objects))
    assert desk(scripts.retire(limit=10)).objects == ()
