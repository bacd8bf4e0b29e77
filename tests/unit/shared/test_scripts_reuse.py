"""One drawing for many jobs, and one job for many requests: joined and reused results, idempotency keys."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.errors import IdempotencyMismatch, JobNotFound
from shared.jobs import (
    Hold,
    JobStatus,
    JobWarning,
    NewJob,
    Notes,
    Once,
    Reading,
    Submission,
    Submitted,
    TextReading,
)
from shared.lanes import Lane
from tests.desk import OTHER, TENANT, Desk, claim_call, failed, finished, image_of, new_job, submit_call

DIGEST = "digest"
ONCE = Once("key", "body")


def ask(desk: Desk, job: NewJob | None = None) -> Submitted:
    return desk(submit_call(job or new_job(), result=DIGEST))


def test_a_joined_job_waits_with_the_one_that_draws_and_succeeds_with_it(desk: Desk) -> None:
    desk.submit(tenant=OTHER)
    source, joined = ask(desk), ask(desk)
    assert (source.how, joined.how) == (Submission.NEW, Submission.JOINED)
    assert (joined.job.hold, joined.job.position, joined.job.ahead_ms) == (Hold.JOINED, 1, 1000)
    desk.draw_next()
    drawn = desk.draw_next()
    assert drawn.id == source.job.id
    ended = desk.read(joined.job)
    assert (ended.status, ended.images, ended.is_reused, ended.hold) == (JobStatus.SUCCEEDED, drawn.images, True, None)
    assert ended.version == 2
    assert desk(claim_call()) is None


def test_a_joined_job_shows_how_far_the_drawing_is(desk: Desk) -> None:
    ask(desk)
    joined = ask(desk)
    desk(scripts.progress(desk.claim().lease, 4))
    now = desk.read(joined.job)
    assert (now.status, now.step, now.position) == (JobStatus.QUEUED, 4, None)


def test_the_first_that_joined_takes_over_when_the_drawing_is_called_off(desk: Desk) -> None:
    source, first, second = (ask(desk).job for _ in range(3))
    desk.claim()
    desk.cancel(source)
    assert (desk.read(first).hold, desk.read(first).position) == (None, 0)
    assert desk.read(second).hold is Hold.JOINED
    assert ask(desk).how is Submission.JOINED
    assert desk.draw_next().id == first.id
    assert desk.read(second).status is JobStatus.SUCCEEDED


def test_what_joined_fails_with_the_drawing(desk: Desk) -> None:
    source, joined = ask(desk).job, ask(desk).job
    failed(desk, source, desk.claim().lease)
    ended = desk.read(joined)
    assert (ended.status, ended.error, ended.version) == (JobStatus.FAILED, desk.read(source).error, 2)
    assert ask(desk).how is Submission.NEW


@pytest.mark.parametrize("runs", [False, True])
def test_who_is_waiting_for_a_picture_does_not_join_the_bulk_lane(desk: Desk, *, runs: bool) -> None:
    ask(desk, new_job(lane=Lane.BULK))
    if runs:
        desk.claim()
    urgent = ask(desk)
    assert (urgent.how, urgent.job.position) == (Submission.NEW, 0)
    assert ask(desk, new_job(lane=Lane.BULK)).how is Submission.JOINED


def test_an_interactive_job_takes_over_before_one_of_the_bulk_lane(desk: Desk) -> None:
    source = ask(desk).job
    patient, urgent = ask(desk, new_job(lane=Lane.BULK)).job, ask(desk).job
    desk.cancel(source)
    assert (desk.read(urgent).hold, desk.read(patient).hold) == (None, Hold.JOINED)


def test_what_is_to_be_known_of_a_picture_goes_with_it(desk: Desk) -> None:
    job, joined = ask(desk).job, ask(desk).job
    lease = desk.claim().lease
    warning = JobWarning(code="prompt_truncated", message="It did not see: the end.")
    reading = Reading(prompt=TextReading(tokens=310, window=75, windows=4, cut="the end"))
    desk(scripts.add_image(lease, image_of(job)))
    desk(scripts.finish(lease, notes=Notes(reading, (warning,))))
    for holder in (desk.read(joined), ask(desk).job):
        assert (holder.reading, holder.warnings) == (reading, (warning,))


def test_a_joined_job_is_canceled_alone(desk: Desk) -> None:
    source, joined = ask(desk).job, ask(desk).job
    assert desk.cancel(joined).status is JobStatus.CANCELED
    assert desk.draw_next().id == source.id
    assert desk.read(joined).images == ()


def test_a_joined_job_expires_alone(desk: Desk) -> None:
    source, joined = ask(desk).job, ask(desk, new_job(cancel_after_s=60)).job
    desk.pass_deadline(joined.id)
    assert desk.reap().overdue == (joined.id,)
    assert desk.read(joined).status is JobStatus.EXPIRED
    assert desk.read(source).status is JobStatus.QUEUED


def test_drawn_pictures_are_given_at_once_to_whoever_asks_again(desk: Desk) -> None:
    ask(desk)
    source = desk.draw_next()
    reused = ask(desk)
    assert (reused.how, reused.job.status, reused.job.images) == (
        Submission.REUSED,
        JobStatus.SUCCEEDED,
        source.images,
    )
    assert reused.job.is_reused
    assert not source.is_reused


def test_another_tenant_draws_its_own(desk: Desk) -> None:
    ask(desk)
    desk.draw_next()
    assert ask(desk, new_job(tenant=OTHER)).how is Submission.NEW


def test_only_pictures_that_were_drawn_are_lent(desk: Desk) -> None:
    job = ask(desk).job
    failed(desk, job, desk.claim().lease)
    assert ask(desk).how is Submission.NEW


def test_pictures_stay_until_the_last_job_that_shows_them_is_erased(desk: Desk) -> None:
    ask(desk)
    source = desk.draw_next()
    reused, another = ask(desk).job, ask(desk).job
    objects = tuple(image.key for image in source.images)
    assert desk(scripts.erase(source.id, TENANT)) == ()
    assert desk.read(reused).images == source.images
    assert desk(scripts.erase(reused.id, TENANT)) == ()
    assert desk(scripts.retire(limit=10)).objects == ()
    assert desk(scripts.erase(another.id, TENANT)) == objects


def test_pictures_that_are_to_be_deleted_are_not_lent(desk: Desk) -> None:
    ask(desk)
    source = desk.draw_next()
    desk(scripts.erase(source.id, TENANT))
    assert ask(desk).how is Submission.NEW


def test_submits_that_might_have_reused_pictures_are_counted(desk: Desk) -> None:
    ask(desk)
    ask(desk)
    desk.draw_next()
    ask(desk)
    desk.submit()
    tallies = desk(scripts.overview()).tallies
    assert tallies == {Submission.NEW: 1, Submission.JOINED: 1, Submission.REUSED: 1}


def test_more_than_a_hundred_joined_jobs_share_a_second_drawing(desk: Desk) -> None:
    desk.all(submit_call(new_job(), result=DIGEST) for _ in range(101))
    assert ask(desk).how is Submission.NEW
    assert ask(desk).how is Submission.JOINED


def test_the_same_idempotency_key_with_the_same_body_gives_the_same_job(desk: Desk) -> None:
    first = desk(submit_call(new_job(), once=ONCE))
    again = desk(submit_call(new_job(), once=ONCE))
    assert again == Submitted(first.job, Submission.REPEATED)
    finished(desk, first.job, desk.claim().lease)
    assert desk(submit_call(new_job(), once=ONCE)).job.status is JobStatus.SUCCEEDED


def test_the_same_idempotency_key_with_another_body_is_refused_and_nothing_changes(desk: Desk) -> None:
    desk(submit_call(new_job(), once=ONCE))
    before = desk.dump()
    with pytest.raises(IdempotencyMismatch):
        desk(submit_call(new_job(), once=Once(ONCE.key, "another body")))
    assert desk.dump() == before


def test_an_idempotency_key_counts_for_its_tenant_alone(desk: Desk) -> None:
    first = desk(submit_call(new_job(), once=ONCE))
    other = desk(submit_call(new_job(tenant=OTHER), once=ONCE))
    assert (other.how, other.job.id == first.job.id) == (Submission.NEW, False)


def test_an_idempotency_key_whose_job_was_erased_may_come_again(desk: Desk) -> None:
    first = desk(submit_call(new_job(), once=ONCE)).job
    desk(scripts.erase(first.id, TENANT))
    assert desk(submit_call(new_job(), once=Once(ONCE.key, "another body"))).how is Submission.NEW


def test_a_withdrawn_job_is_gone(desk: Desk) -> None:
    job = desk(submit_call(new_job(), once=ONCE)).job
    assert desk(scripts.withdraw(job.id, TENANT))
    with pytest.raises(JobNotFound):
        desk.read(job)
    assert desk(submit_call(new_job(), once=ONCE)).how is Submission.NEW


def test_a_job_whose_caller_asked_again_is_not_withdrawn(desk: Desk) -> None:
    job = desk(submit_call(new_job(), once=ONCE)).job
    desk(submit_call(new_job(), once=ONCE))
    assert not desk(scripts.withdraw(job.id, TENANT))
    assert desk.read(job).status is JobStatus.QUEUED


def test_a_full_queue_still_takes_what_needs_no_drawing(desk: Desk) -> None:
    desk(submit_call(new_job(), max_waiting=1, result=DIGEST))
    assert desk(submit_call(new_job(), max_waiting=1, result=DIGEST)).how is Submission.JOINED
