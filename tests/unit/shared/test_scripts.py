"""The gateway's verbs on a real server: what they do, to whom they say no, and that twice is safe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis
from pydantic import SecretStr

from shared import scripts
from shared.call import Call
from shared.connection import connect
from shared.errors import InvalidRequest, JobNotFound, QueueFull
from shared.jobs import Hold, Job, JobStatus, NewJob, Submission, Submitted, Terms, new_job_id
from shared.keys import queue_of
from shared.lanes import Lane
from shared.scripts import Lease
from shared.settings import Settings
from tests.desk import MODEL, OTHER, TENANT, Desk, claim_call, failed, finished, new_job, state, submit_call


def test_a_submitted_job_reads_back_as_it_was_given(desk: Desk) -> None:
    new = new_job(num_images=3)
    job = desk(submit_call(new)).job
    assert (job.id, job.tenant, job.model, job.params, job.metadata) == (
        new.id,
        new.tenant,
        new.model,
        new.params,
        new.metadata,
    )
    assert (job.status, job.version, job.attempt, job.position) == (JobStatus.QUEUED, 1, 0, 0)
    assert (job.step, job.steps, job.images, job.warnings, job.error) == (0, 30, (), (), None)
    assert (job.worker, job.started_at_ms, job.completed_at_ms) == (None, None, None)
    assert desk.read(job) == job


def test_a_submit_tells_all_that_is_then_read(desk: Desk) -> None:
    first = desk(submit_call(new_job())).job
    desk(claim_call())
    terms = Terms(keep_s=60, max_tenant_running=1)
    tried_again = replace(new_job(num_images=2, lane=Lane.BULK, work_ms=7, cancel_after_s=60), retry_of=first.id)
    for new, result in ((new_job(), "pictures"), (new_job(), None), (tried_again, None)):
        job = desk(scripts.submit(new, terms, result=result)).job
        assert job == desk.read(job)
        assert (job.hold, job.may_reuse) == (Hold.RUNNING_LIMIT, result is not None)


def test_submitting_the_same_id_again_gives_the_job_that_is_there(desk: Desk) -> None:
    new = new_job()
    job = desk(submit_call(new)).job
    before = desk.dump()
    assert desk(submit_call(new)) == Submitted(job, Submission.KNOWN)
    assert desk.dump() == before


def test_a_submit_tells_when_as_many_wake_ups_wait_as_there_are_workers(desk: Desk, queue: redis.Redis) -> None:
    told: list[bool] = []
    for wake_ups, workers in ((0, 0), (1, 0), (1, 1), (1, 2), (2, 2)):
        queue.delete(queue_of(MODEL))
        for _ in range(wake_ups):
            queue.rpush(queue_of(MODEL), "a wake-up")
        for number in range(workers):
            desk(scripts.heartbeat(state(f"w{number}"), life_s=60))
        told.append(desk(submit_call(new_job())).all_called)

    assert told == [False, True, True, False, True]


def test_a_broker_that_is_not_as_expected_stops_no_submit(desk: Desk, queue: redis.Redis) -> None:
    queue.set(queue_of(MODEL), "no list")

    assert not desk(submit_call(new_job())).all_called


def test_several_jobs_are_read_in_their_order_each_for_who_asks(desk: Desk) -> None:
    ours, theirs = desk.submit(), desk.submit(tenant=OTHER)
    asked = [(theirs.id, OTHER), (ours.id, OTHER), (new_job_id(), TENANT), (ours.id, TENANT)]

    found = desk(scripts.read_each(asked))

    assert [found[0], found[3]] == [desk.read(theirs), desk.read(ours)]
    assert [type(one) for one in found[1:3]] == [JobNotFound] * 2


def test_an_id_of_another_tenant_is_not_given_away(desk: Desk) -> None:
    job = desk.submit()
    stranger = NewJob(job.id, OTHER, MODEL, job.params, {})
    with pytest.raises(JobNotFound):
        desk(submit_call(stranger))


def test_a_full_queue_refuses_and_keeps_nothing(desk: Desk) -> None:
    desk.submit()
    desk.submit(model="another/model")
    before = desk.dump()
    with pytest.raises(QueueFull) as refused:
        desk(submit_call(new_job(), max_waiting=2))
    assert refused.value.retry_after_s > 0
    assert desk.dump() == before


def test_a_job_that_runs_takes_no_place_in_the_queue(desk: Desk) -> None:
    desk.submit()
    desk.claim()
    assert desk(submit_call(new_job(), max_waiting=1)).job.position == 0


def test_jobs_go_in_the_order_of_their_coming(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(3)]
    assert [desk.read(job).position for job in jobs] == [0, 1, 2]
    assert [desk.claim().job.id for _ in jobs] == [job.id for job in jobs]


def test_there_is_no_preview_before_the_first_one(desk: Desk) -> None:
    job = desk.submit()
    assert desk(scripts.preview(job.id, TENANT)) is None


def test_a_waiting_job_is_canceled_at_once(desk: Desk) -> None:
    job = desk.submit()
    canceled = desk(scripts.cancel(job.id, TENANT))
    assert (canceled.status, canceled.version, canceled.position) == (JobStatus.CANCELED, 2, None)
    assert desk(claim_call()) is None


@pytest.mark.parametrize("end", [finished, failed])
def test_cancel_leaves_an_ended_job_as_it_is(desk: Desk, end: Callable[[Desk, Job, Lease], None]) -> None:
    job = desk.submit()
    end(desk, job, desk.claim().lease)
    before = desk.dump()
    assert desk(scripts.cancel(job.id, TENANT)) == desk.read(job)
    assert desk.dump() == before


def test_nobody_sees_or_cancels_anothers_job(desk: Desk) -> None:
    job = desk.submit()
    calls: tuple[Call[object], ...] = (
        scripts.read(job.id, OTHER),
        scripts.cancel(job.id, OTHER),
        scripts.preview(job.id, OTHER),
    )
    for call in calls:
        with pytest.raises(JobNotFound):
            desk(call)
    assert desk(scripts.page(OTHER, cursor=None, limit=10)).jobs == ()
    assert desk.read(job).status is JobStatus.QUEUED


def test_a_job_that_never_was_is_not_found(desk: Desk) -> None:
    job_id = new_job_id()
    calls: tuple[Call[object], ...] = (
        scripts.read(job_id, TENANT),
        scripts.cancel(job_id, TENANT),
        scripts.preview(job_id, TENANT),
    )
    for call in calls:
        with pytest.raises(JobNotFound):
            desk(call)


def test_pages_show_every_job_once_newest_first(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    for size in (2, 2, 1):
        page = desk(scripts.page(TENANT, cursor=cursor, limit=2))
        assert len(page.jobs) == size
        seen += [job.id for job in page.jobs]
        cursor = page.next_cursor
        desk.submit()  # what comes meanwhile shifts no page
    assert cursor is None
    assert seen == [job.id for job in reversed(jobs)]


@pytest.mark.parametrize("cursor", ["", "?", "MTI", "c-", "é", "c" * 100])
def test_a_cursor_that_was_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        scripts.page(TENANT, cursor=cursor, limit=2)


def test_no_part_of_a_job_expires_by_itself(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()
    desk(scripts.cancel(first.id, TENANT))
    finished(desk, second, desk.claim().lease)
    lives = {key.decode(): desk.client.ttl(key) for key in desk.all_keys()}
    passing = {key for key in lives if ":claim:" in key or ":history:" in key}
    assert {key for key, life in lives.items() if life >= 0} == passing


def test_a_user_of_redis_who_may_tell_nobody_loses_nothing(redis_settings: Settings) -> None:
    with connect(redis_settings) as owner:
        owner.acl_setuser(  # pyright: ignore[reportUnknownMemberType]: lists of anything
            "guest", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all"], reset_channels=True
        )
        url = "redis://guest:secret@" + redis_settings.redis_url.get_secret_value().rpartition("@")[2]
        try:
            with connect(redis_settings.model_copy(update={"redis_url": SecretStr(url)})) as guest:
                desk = Desk(guest)
                drawn = desk.submit()
                desk.submit()
                assert desk.read(drawn).position == 0
                finished(desk, drawn, desk.claim().lease)
                assert desk.read(drawn).status is JobStatus.SUCCEEDED
                desk(scripts.erase(drawn.id, TENANT))
                with pytest.raises(JobNotFound):
                    desk.read(drawn)
        finally:
            owner.acl_deluser("guest")  # pyright: ignore[reportUnknownMemberType]: **kwargs
