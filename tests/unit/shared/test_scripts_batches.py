"""A batch in the queue: accepted in one step, each line a job once and in order, counted however its jobs end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from shared import scripts
from shared.batches import Batch, BatchId, BatchStatus, Helping, Line, Place, new_batch_id
from shared.errors import BatchNotFound, IdempotencyMismatch, JobNotFound, QueueUnavailable, TenantQueueFull
from shared.jobs import Job, JobError, JobId, JobStatus, NewJob, Once, Submission, Submitted
from shared.keys import DEFAULT
from shared.lanes import Lane
from tests.desk import KEEP_S, OTHER, TENANT, TERMS, Desk, image_of, new_job

ONCE = Once("key", "fingerprint")


@pytest.fixture
def desk(queue: redis.Redis) -> Desk:
    return Desk(queue)


def line() -> Line:
    job = new_job()
    return Line(model=job.model, params=job.params, metadata={}, lane=Lane.BULK, cancel_after_s=None, may_reuse=True)


def put_down(desk: Desk, number: int) -> BatchId:
    batch = new_batch_id()
    desk(scripts.fill_batch(batch, [line().model_dump_json()] * number, before=0))
    return batch


def seal(desk: Desk, batch: BatchId, number: int, once: Once | None = None) -> scripts.Sealed:
    return desk(scripts.seal_batch(batch, TENANT, name="n", total=number, keep_s=KEEP_S, once=once))


def accepted(desk: Desk, number: int, once: Once | None = None) -> BatchId:
    return seal(desk, put_down(desk, number), number, once).batch.id


def feed(desk: Desk, *, most: int = 100, most_active: int = 100) -> Helping | None:
    return desk(scripts.feed(most=most, most_active=most_active, hold_s=60, again_s=60))


def offer(
    desk: Desk, batch: BatchId, number: int, job: NewJob | None = None, *, result: str | None = None
) -> Submitted | None:
    return desk(scripts.submit_line(job or new_job(), TERMS, Place(batch, number), result=result))


def entered(desk: Desk, batch: BatchId, number: int) -> Job:
    submitted = offer(desk, batch, number)
    assert submitted is not None
    return submitted.job


def read(desk: Desk, batch: BatchId) -> Batch:
    return desk(scripts.read_batch(batch, TENANT))


def test_lines_sent_twice_are_there_once(desk: Desk) -> None:
    batch = new_batch_id()
    for before in (0, 0, 2, 2):
        desk(scripts.fill_batch(batch, ["{}", "{}"], before=before))
    assert seal(desk, batch, 4).how is Submission.NEW
    assert seal(desk, batch, 4).how is Submission.KNOWN


def test_a_batch_with_a_gap_is_not_accepted(desk: Desk) -> None:
    batch = put_down(desk, 2)
    with pytest.raises(QueueUnavailable):
        desk(scripts.fill_batch(batch, ["{}"], before=3))
    with pytest.raises(QueueUnavailable):
        seal(desk, batch, 3)
    with pytest.raises(BatchNotFound):
        read(desk, batch)
    assert feed(desk) is None


def test_what_is_not_sealed_goes_by_itself_and_what_is_sealed_stays(desk: Desk) -> None:
    batch = put_down(desk, 1)
    (lines,) = [key for key in desk.all_keys() if b"lines:" in key]
    assert 0 < int(desk.client.ttl(lines)) <= 3600
    seal(desk, batch, 1)
    assert desk.client.ttl(lines) == -1


def test_a_line_becomes_a_job_in_its_turn_and_once(desk: Desk) -> None:
    batch = accepted(desk, 2)
    assert offer(desk, batch, 2) is None
    job = entered(desk, batch, 1)
    assert offer(desk, batch, 1) is None
    again = offer(desk, batch, 1, replace(new_job(), id=job.id))
    assert again is not None
    assert again.how is Submission.KNOWN
    entered(desk, batch, 2)
    assert offer(desk, batch, 3) is None
    assert (read(desk, batch).entered, read(desk, batch).active) == (2, 2)


def test_another_tenants_job_is_never_a_line(desk: Desk) -> None:
    batch = accepted(desk, 1)
    assert offer(desk, batch, 1, new_job(tenant=OTHER)) is None


def test_a_line_that_met_a_full_queue_has_its_turn_later(desk: Desk) -> None:
    batch = accepted(desk, 1)
    with pytest.raises(TenantQueueFull):
        desk(scripts.submit_line(new_job(), replace(TERMS, max_tenant_waiting=0), Place(batch, 1)))
    entered(desk, batch, 1)


def test_batches_are_fed_by_turns_and_only_while_they_have_room(desk: Desk) -> None:
    first, second = accepted(desk, 3), accepted(desk, 3)
    taken = [feed(desk, most=2) for _ in range(3)]
    assert [helping and helping.batch for helping in taken] == [first, second, None]
    assert [helping and len(helping.lines) for helping in taken[:2]] == [2, 2]
    entered(desk, first, 1)
    for batch in (first, second):
        desk(scripts.put_back(batch, again_s=0))
    helping = feed(desk, most_active=1)
    assert helping is not None
    assert (helping.batch, helping.before) == (second, 0)
    assert feed(desk, most_active=1) is None


def test_a_batch_whose_lines_are_all_jobs_is_fed_no_more(desk: Desk) -> None:
    batch = accepted(desk, 1)
    entered(desk, batch, 1)
    desk(scripts.put_back(batch, again_s=0))
    assert feed(desk) is None


def test_a_batch_counts_how_its_jobs_end_and_ends_with_the_last(desk: Desk) -> None:
    batch = accepted(desk, 4)
    entered(desk, batch, 1)
    desk.draw_next()
    entered(desk, batch, 2)
    desk(scripts.fail(desk.claim().lease, JobError(code="model_error", message="No.")))
    desk.cancel(entered(desk, batch, 3))
    assert read(desk, batch).status is BatchStatus.RUNNING
    overdue = desk(scripts.submit_line(replace(new_job(), cancel_after_s=60), TERMS, Place(batch, 4)))
    assert overdue is not None
    desk.pass_deadline(overdue.job.id)
    desk.reap()
    ended = read(desk, batch)
    assert ended.status is BatchStatus.ENDED
    assert (ended.succeeded, ended.failed, ended.canceled, ended.expired, ended.active) == (1, 1, 1, 1, 0)
    assert ended.completed_at_ms is not None
    assert all(0 < int(desk.client.ttl(key)) <= KEEP_S for key in desk.all_keys() if batch.encode() in key)


def test_a_line_whose_pictures_are_there_has_ended_when_it_enters(desk: Desk) -> None:
    desk.submit(result="d")
    desk.draw_next()
    batch = accepted(desk, 1)
    submitted = offer(desk, batch, 1, result="d")
    assert submitted is not None
    assert submitted.how is Submission.REUSED
    assert (read(desk, batch).status, read(desk, batch).succeeded) == (BatchStatus.ENDED, 1)


def test_a_canceled_batch_takes_no_line_and_counts_all_that_had_not_ended(desk: Desk) -> None:
    batch = accepted(desk, 5)
    entered(desk, batch, 1)
    desk.draw_next()
    waiting, joined = offer(desk, batch, 2, result="d"), offer(desk, batch, 3, result="d")
    assert waiting is not None
    assert joined is not None
    assert joined.how is Submission.JOINED
    for _ in range(2):
        canceled = desk(scripts.cancel_batch(batch, TENANT))
        assert canceled.status is BatchStatus.CANCELED
        assert (canceled.succeeded, canceled.canceled, canceled.active) == (1, 4, 0)
    assert offer(desk, batch, 4) is None
    assert feed(desk) is None


def test_results_tell_lines_with_and_without_jobs(desk: Desk) -> None:
    batch = accepted(desk, 3)
    jobs = [entered(desk, batch, number) for number in (1, 2)]
    desk(scripts.erase(jobs[1].id, TENANT))
    stands, results = desk(scripts.batch_results(batch, TENANT, skip=0, limit=10))
    assert stands.canceled == 1
    assert [result.job_id for result in results] == [*(job.id for job in jobs), None]
    assert [result.job and result.job.id for result in results] == [jobs[0].id, None, None]
    _, rest = desk(scripts.batch_results(batch, TENANT, skip=2, limit=10))
    assert len(rest) == 1


def test_an_idempotency_key_makes_one_batch(desk: Desk) -> None:
    batch = accepted(desk, 1, ONCE)
    again = seal(desk, put_down(desk, 1), 1, ONCE)
    assert (again.how, again.batch.id) == (Submission.REPEATED, batch)
    found = desk(scripts.recall_batch(TENANT, ONCE))
    assert found is not None
    assert found.id == batch
    other = Once("key", "another")
    with pytest.raises(IdempotencyMismatch):
        seal(desk, put_down(desk, 1), 1, other)
    with pytest.raises(IdempotencyMismatch):
        desk(scripts.recall_batch(TENANT, other))
    assert len(desk(scripts.batches(TENANT, cursor=None, limit=10)).batches) == 1
    assert desk(scripts.recall_batch(OTHER, ONCE)) is None


def test_a_batch_that_nobody_was_told_of_is_withdrawn_with_its_jobs(desk: Desk) -> None:
    before = set(desk.all_keys())
    batch = accepted(desk, 2, ONCE)
    job = entered(desk, batch, 1)
    assert desk(scripts.withdraw_batch(batch, TENANT))
    with pytest.raises(BatchNotFound):
        desk(scripts.withdraw_batch(batch, TENANT))
    with pytest.raises(JobNotFound):
        desk.read(job)
    assert desk(scripts.recall_batch(TENANT, ONCE)) is None
    desk(scripts.forget_batch(None, limit=10))
    assert not [key for key in set(desk.all_keys()) - before if batch.encode() in key]


def test_a_batch_that_was_asked_for_again_stays(desk: Desk) -> None:
    batch = accepted(desk, 1, ONCE)
    desk(scripts.recall_batch(TENANT, ONCE))
    assert not desk(scripts.withdraw_batch(batch, TENANT))
    assert read(desk, batch).status is BatchStatus.RUNNING


def shown_jobs(desk: Desk) -> list[JobId]:
    """Whatever a tenant can list of jobs."""
    listed = [job.id for job in desk(scripts.page(TENANT, cursor=None, limit=100)).jobs]
    assert {change.job.id for change in desk(scripts.changed(TENANT, since=0)).changes} == set(listed)
    return listed


def test_an_erased_batch_is_canceled_and_nothing_of_it_is_seen_any_more(desk: Desk) -> None:
    before = set(desk.all_keys())
    batch = accepted(desk, 5, ONCE)
    entered(desk, batch, 1)
    drawn = desk.draw_next()
    running = entered(desk, batch, 2)
    lease = desk.claim().lease
    waiting, single = entered(desk, batch, 3), desk.submit()
    desk(scripts.erase_batch(batch, TENANT))
    for call in (scripts.read_batch(batch, TENANT), scripts.erase_batch(batch, TENANT)):
        with pytest.raises(BatchNotFound):
            desk(call)
    for job in (drawn, running, waiting):
        for call in (
            scripts.read(job.id, TENANT),
            scripts.cancel(job.id, TENANT),
            scripts.erase(job.id, TENANT),
            scripts.preview(job.id, TENANT),
        ):
            with pytest.raises(JobNotFound):
                desk(call)
    assert shown_jobs(desk) == [single.id]
    assert desk(scripts.batches(TENANT, cursor=None, limit=10)).batches == ()
    assert desk(scripts.recall_batch(TENANT, ONCE)) is None
    assert offer(desk, batch, 4) is None
    assert feed(desk) is None
    assert desk.claim().job.id == single.id
    assert desk(scripts.renew([lease], lease_s=60)) == {lease}

    forgotten = desk(scripts.forget_batch(batch, limit=2))
    assert forgotten.is_more
    assert shown_jobs(desk) == [single.id]
    rest = desk(scripts.forget_batch(None, limit=2))
    assert not rest.is_more
    assert set(forgotten.objects + rest.objects) == {image_of(job).key for job in (drawn, running, waiting)}
    assert desk(scripts.forget_batch(None, limit=2)) == scripts.Forgotten((), is_more=False)
    desk(scripts.erase(single.id, TENANT))
    left = {key.decode() for key in set(desk.all_keys()) - before}
    assert not [key for key in left if batch in key or any(job.id in key for job in (drawn, running, waiting))]
    assert not any("erasing" in key for key in left)


def test_the_picture_of_a_running_job_is_deleted_again_when_its_upload_may_have_come(desk: Desk) -> None:
    batch = accepted(desk, 2)
    entered(desk, batch, 1)
    drawn = desk.draw_next()
    running = entered(desk, batch, 2)
    desk.claim()
    desk(scripts.erase_batch(batch, TENANT))
    told = desk(scripts.forget_batch(batch, limit=10)).objects
    desk(scripts.discard(told))
    assert set(told) == {image_of(drawn).key, image_of(running).key}
    left = {one.key: desk.client.zscore(f"{DEFAULT.prefix}trash", one.key) for one in map(image_of, (drawn, running))}
    assert left[image_of(drawn).key] is None
    assert left[image_of(running).key] is not None


def test_pictures_that_another_job_shows_outlive_an_erased_batch(desk: Desk) -> None:
    batch = accepted(desk, 1)
    offer(desk, batch, 1, result="d")
    desk.draw_next()
    shows = desk.submit(result="d")
    assert shows.is_reused
    desk(scripts.erase_batch(batch, TENANT))
    assert desk(scripts.forget_batch(batch, limit=10)).objects == ()
    assert desk(scripts.erase(shows.id, TENANT)) != ()


def test_pictures_of_an_erased_batch_are_drawn_anew_for_who_asks_again(desk: Desk) -> None:
    batch = accepted(desk, 1)
    offer(desk, batch, 1, result="d")
    desk.draw_next()
    desk(scripts.erase_batch(batch, TENANT))
    fresh = desk.submit(result="d")
    assert (fresh.is_reused, fresh.status) == (False, JobStatus.QUEUED)
    desk(scripts.forget_batch(batch, limit=10))
    desk.draw_next()
    assert desk.submit(result="d").is_reused


def test_who_waits_for_pictures_of_an_erased_batch_takes_its_turn(desk: Desk) -> None:
    batch = accepted(desk, 1)
    offer(desk, batch, 1, replace(new_job(), lane=Lane.BULK), result="d")
    joined = desk(scripts.submit(replace(new_job(), lane=Lane.BULK), TERMS, result="d")).job
    desk(scripts.erase_batch(batch, TENANT))
    assert desk.claim().job.id == joined.id


def test_an_erased_batch_is_forgotten_though_its_jobs_were_before(desk: Desk) -> None:
    batch = accepted(desk, 2)
    entered(desk, batch, 1)
    job = desk.draw_next()
    desk(scripts.erase_batch(batch, TENANT))
    desk.grow_old(job.id)
    desk(scripts.retire(limit=10))
    assert desk(scripts.forget_batch(None, limit=10)) == scripts.Forgotten((), is_more=False)
    assert not [key for key in desk.all_keys() if batch.encode() in key]


def test_an_ended_batch_that_is_erased_does_not_leave_by_itself_what_is_left_of_it(desk: Desk) -> None:
    batch = accepted(desk, 1)
    entered(desk, batch, 1)
    desk.draw_next()
    assert read(desk, batch).status is BatchStatus.ENDED
    desk(scripts.erase_batch(batch, TENANT))
    assert desk.client.ttl(f"{DEFAULT.prefix}line_jobs:{batch}") == -1
    assert desk.client.zcard(f"{DEFAULT.prefix}erasing") == 1


def test_batches_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    made = [accepted(desk, 1) for _ in range(3)]
    first = desk(scripts.batches(TENANT, cursor=None, limit=2))
    assert [one.id for one in first.batches] == made[:0:-1]
    rest = desk(scripts.batches(TENANT, cursor=first.next_cursor, limit=2))
    assert ([one.id for one in rest.batches], rest.next_cursor) == (made[:1], None)
    assert desk(scripts.batches(OTHER, cursor=None, limit=2)).batches == ()


def test_another_tenants_batch_is_none(desk: Desk) -> None:
    batch = accepted(desk, 1)
    for call in (
        scripts.read_batch(batch, OTHER),
        scripts.cancel_batch(batch, OTHER),
        scripts.erase_batch(batch, OTHER),
        scripts.withdraw_batch(batch, OTHER),
        scripts.batch_results(batch, OTHER, skip=0, limit=1),
    ):
        with pytest.raises(BatchNotFound):
            desk(call)
    assert read(desk, batch).status is BatchStatus.RUNNING
