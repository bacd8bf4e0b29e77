"""The worker's verbs and the sweep on a real server: claims, fences, ends, and that twice is safe."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from shared import scripts
from shared.call import Call
from shared.errors import LeaseLost
from shared.jobs import Job, JobError, JobStatus, JobWarning, LeaseToken, Notes, Reading, TextReading, new_job_id
from shared.scripts import Lease
from tests.desk import LEASE_S, MODEL, TENANT, WORKER, Desk, claim_call, failed, finished, image_of
from tests.servers import wait_until


def test_a_claim_takes_no_job_of_another_model(desk: Desk) -> None:
    desk.submit(model="another/model")
    assert desk(claim_call()) is None


def test_a_claimed_job_runs_under_a_charged_attempt(desk: Desk) -> None:
    job = desk.submit()
    claimed = desk.claim()
    assert claimed.job == desk.read(job)
    assert (claimed.job.status, claimed.job.version, claimed.job.attempt) == (JobStatus.RUNNING, 2, 1)
    assert (claimed.job.worker, claimed.job.position) == (WORKER, None)
    assert claimed.job.started_at_ms is not None


def test_a_claim_sent_twice_gets_the_same_job(desk: Desk) -> None:
    desk.submit()
    desk.submit()
    first = desk(claim_call("token"))
    before = desk.dump()
    assert desk(claim_call("token")) == first
    assert desk.dump() == before


def test_a_claim_sent_again_after_its_job_was_lost_gets_none(desk: Desk) -> None:
    job = desk.submit()
    desk(claim_call("token"))
    desk(scripts.cancel(job.id, TENANT))
    desk.submit()
    assert desk(claim_call("token")) is None


def test_racing_workers_never_share_a_job(desk: Desk) -> None:
    jobs = {desk.submit().id for _ in range(60)}
    taken: list[str] = []

    def work() -> None:
        while (claimed := desk(claim_call())) is not None:
            taken.append(claimed.job.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(jobs)
    assert set(taken) == jobs


WARNING = JobWarning(code="prompt_truncated", message="It did not see: the end.")
READING = Reading(prompt=TextReading(tokens=310, window=75, windows=4, cut="the end"))


def test_progress_counts_up_and_keeps_notes_and_the_preview(desk: Desk) -> None:
    job = desk.submit()
    lease = desk.claim().lease
    assert desk.read(job).reading is None
    desk(scripts.progress(lease, 4, notes=Notes(READING, (WARNING, WARNING)), jpeg=b"\xff\xd8"))
    desk(scripts.progress(lease, 3))
    now = desk.read(job)
    assert (now.step, now.reading, now.warnings, now.version) == (4, READING, (WARNING,), 2)
    assert desk(scripts.preview(job.id, TENANT)) == b"\xff\xd8"


def requeued(desk: Desk, _job: Job, lease: Lease) -> None:
    desk(scripts.release(lease))


def canceled(desk: Desk, job: Job, _lease: Lease) -> None:
    desk(scripts.cancel(job.id, job.tenant))


@pytest.mark.parametrize("stop", [finished, failed, canceled, requeued])
def test_a_job_that_runs_no_more_has_no_preview(desk: Desk, stop: Callable[[Desk, Job, Lease], None]) -> None:
    job = desk.submit()
    lease = desk.claim().lease
    desk(scripts.progress(lease, 1, jpeg=b"\xff\xd8"))
    stop(desk, job, lease)
    assert desk(scripts.preview(job.id, TENANT)) is None


def test_a_job_is_finished_when_all_its_pictures_are_recorded(desk: Desk) -> None:
    job = desk.submit(num_images=2)
    lease = desk.claim().lease
    images = tuple(image_of(job, index) for index in range(2))
    desk(scripts.add_image(lease, images[1]))
    with pytest.raises(RuntimeError, match="missing"):
        desk(scripts.finish(lease))
    desk(scripts.add_image(lease, images[0]))
    desk(scripts.add_image(lease, images[0]))
    desk(scripts.finish(lease))
    ended = desk.read(job)
    assert (ended.status, ended.version, ended.images, ended.step) == (JobStatus.SUCCEEDED, 3, images, ended.steps)
    assert ended.completed_at_ms is not None


def test_a_finished_job_keeps_notes_that_no_progress_brought(desk: Desk) -> None:
    job = desk.submit()
    lease = desk.claim().lease
    desk(scripts.add_image(lease, image_of(job)))
    notes = Notes(READING, (WARNING,))
    desk(scripts.finish(lease, notes=notes))
    ended = desk.read(job)
    assert (ended.reading, ended.warnings) == (READING, (WARNING,))
    before = desk.dump()
    desk(scripts.finish(lease, notes=notes))
    assert desk.dump() == before


def test_a_failed_job_says_why(desk: Desk) -> None:
    job = desk.submit()
    error = JobError(code="model_error", message="It did not work.")
    desk(scripts.fail(desk.claim().lease, error))
    ended = desk.read(job)
    assert (ended.status, ended.error, ended.attempt) == (JobStatus.FAILED, error, 1)


@pytest.mark.parametrize("end", [finished, failed])
def test_an_end_sent_twice_changes_nothing_more(desk: Desk, end: Callable[[Desk, Job, Lease], None]) -> None:
    job = desk.submit()
    lease = desk.claim().lease
    end(desk, job, lease)
    before = desk.dump()
    if end is finished:
        desk(scripts.finish(lease))
    else:
        end(desk, job, lease)
    assert desk.dump() == before


def test_a_running_job_is_canceled_at_once_and_its_worker_is_fenced_off(desk: Desk) -> None:
    job = desk.submit()
    lease = desk.claim().lease
    assert desk(scripts.cancel(job.id, TENANT)).status is JobStatus.CANCELED
    before = desk.dump()
    assert desk(scripts.renew([lease], lease_s=LEASE_S)) == {lease}
    for call in worker_calls(job, lease):
        with pytest.raises(LeaseLost, match="canceled"):
            desk(call)
    assert desk.dump() == before


def worker_calls(job: Job, lease: Lease) -> list[Call[None]]:
    return [
        scripts.progress(lease, 9, jpeg=b"late"),
        scripts.add_image(lease, image_of(job)),
        scripts.finish(lease),
        scripts.fail(lease, JobError(code="model_error", message="late")),
        scripts.release(lease),
    ]


def test_a_released_job_goes_next_and_is_not_charged(desk: Desk) -> None:
    job, later = desk.submit(), desk.submit()
    lease = desk.claim().lease
    desk(scripts.release(lease))
    now = desk.read(job)
    assert (now.status, now.version, now.attempt, now.position) == (JobStatus.QUEUED, 3, 0, 0)
    assert now.worker is None
    assert desk.read(later).position == 1
    with pytest.raises(LeaseLost):
        desk(scripts.release(lease))


def test_a_worker_whose_job_went_to_another_is_fenced_off(desk: Desk) -> None:
    job = desk.submit()
    late = desk.claim().lease
    desk(scripts.release(late))
    desk.claim()
    before = desk.dump()
    assert desk(scripts.renew([late], lease_s=LEASE_S)) == {late}
    for call in worker_calls(job, late):
        with pytest.raises(LeaseLost, match="lost"):
            desk(call)
    assert desk.dump() == before


def test_a_lease_for_a_job_that_never_was_is_lost(desk: Desk) -> None:
    lease = Lease(new_job_id(), LeaseToken("token"))
    assert desk(scripts.renew([lease], lease_s=LEASE_S)) == {lease}
    with pytest.raises(LeaseLost, match="missing"):
        desk(scripts.progress(lease, 1))


def test_an_expired_lease_goes_back_to_the_front_with_its_pictures(desk: Desk) -> None:
    job, later = desk.submit(num_images=2), desk.submit()
    desk.reap()
    lease = desk.claim(lease_s=0.001).lease
    desk(scripts.add_image(lease, image_of(job, 1)))
    desk(scripts.progress(lease, 17))
    wait_until(lambda: job.id in desk.reap().requeued, limit_s=5, what="the lease expires")
    now = desk.read(job)
    assert (now.status, now.position, now.attempt, now.step) == (JobStatus.QUEUED, 0, 1, 10)
    assert [image.index for image in now.images] == [1]
    assert desk.read(later).position == 1


def test_a_lease_that_is_renewed_stays(desk: Desk) -> None:
    job = desk.submit()
    desk.reap()
    lease = desk.claim(lease_s=0.001).lease
    assert desk(scripts.renew([lease], lease_s=LEASE_S)) == frozenset()
    assert desk.reap().requeued == ()
    assert desk.read(job).status is JobStatus.RUNNING


def test_a_job_whose_workers_all_died_fails_as_worker_lost(desk: Desk) -> None:
    job = desk.submit()
    desk.reap()
    for _ in range(2):
        desk.claim(lease_s=0.001)
        wait_until(lambda: job.id in desk.reap(max_attempts=3).requeued, limit_s=5, what="an attempt is lost")
    desk.claim(lease_s=0.001)
    wait_until(lambda: job.id in desk.reap(max_attempts=3).failed, limit_s=5, what="the last attempt is lost")
    ended = desk.read(job)
    assert ended.status is JobStatus.FAILED
    assert ended.attempt == 3
    assert ended.error is not None
    assert ended.error.code == "worker_lost"


def test_the_first_sweep_after_a_pause_grants_grace(desk: Desk) -> None:
    job = desk.submit()
    desk.claim(lease_s=0.001)
    assert desk.reap(lease_s=0.2).requeued == ()
    assert desk.read(job).status is JobStatus.RUNNING
    wait_until(lambda: job.id in desk.reap(lease_s=0.2).requeued, limit_s=5, what="the term of grace ends")


def test_a_sweep_names_the_models_that_jobs_wait_for(desk: Desk) -> None:
    assert desk.reap().waiting_pools == ()
    desk.submit()
    assert desk.reap().waiting_pools == (MODEL,)
    desk.claim()
    assert desk.reap().waiting_pools == ()
