"""Idempotency keys and submits that were never answered: never a second job, and who was told of one keeps it."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.errors import IdempotencyMismatch, JobNotFound
from shared.jobs import NewJob, Once, Submission, Submitted
from tests.desk import OTHER, TENANT, TERMS, Desk, new_job

ONCE = Once("key", "body")
OTHER_BODY = Once("key", "other body")


def submit(desk: Desk, job: NewJob, once: Once = ONCE) -> Submitted:
    return desk(scripts.submit(job, TERMS, once=once))


def test_a_key_that_never_came_is_not_known(desk: Desk) -> None:
    assert desk(scripts.recall(TENANT, ONCE)) is None
    assert desk.all_keys() == []


def test_a_key_that_came_gives_its_job_also_once_that_has_ended(desk: Desk) -> None:
    job = submit(desk, new_job()).job
    assert desk(scripts.recall(TENANT, ONCE)) == job

    canceled = desk(scripts.cancel(job.id, TENANT))

    assert desk(scripts.recall(TENANT, ONCE)) == canceled


def test_another_body_under_the_same_key_is_told_and_counts_as_no_repetition(desk: Desk) -> None:
    job = submit(desk, new_job()).job

    with pytest.raises(IdempotencyMismatch):
        desk(scripts.recall(TENANT, OTHER_BODY))

    assert desk(scripts.withdraw(job.id, TENANT))


def test_another_tenant_has_keys_of_its_own(desk: Desk) -> None:
    submit(desk, new_job())

    assert desk(scripts.recall(OTHER, ONCE)) is None


def test_a_job_of_which_somebody_was_told_by_its_key_is_not_withdrawn(desk: Desk) -> None:
    job = submit(desk, new_job()).job
    desk(scripts.recall(TENANT, ONCE))

    assert not desk(scripts.withdraw(job.id, TENANT))

    assert desk.read(job) == job


def test_after_a_withdrawal_the_key_is_free_for_a_new_job(desk: Desk) -> None:
    first = submit(desk, new_job()).job
    assert desk(scripts.withdraw(first.id, TENANT))

    assert desk(scripts.recall(TENANT, ONCE)) is None
    again = submit(desk, new_job(), OTHER_BODY)

    assert again.how is Submission.NEW
    with pytest.raises(JobNotFound):
        desk.read(first)


def test_a_submit_that_arrives_after_its_repetition_makes_no_second_job(desk: Desk) -> None:
    late, repetition = new_job(), new_job()
    job = submit(desk, repetition).job

    assert submit(desk, late) == Submitted(job, Submission.REPEATED)

    with pytest.raises(JobNotFound):
        desk(scripts.withdraw(late.id, TENANT))
    assert desk(scripts.page(TENANT, cursor=None, limit=5)).jobs == (job,)


def test_asking_twice_changes_nothing_more(desk: Desk) -> None:
    submit(desk, new_job())
    desk(scripts.recall(TENANT, ONCE))
    before = desk.dump()

    desk(scripts.recall(TENANT, ONCE))

    assert desk.dump() == before
