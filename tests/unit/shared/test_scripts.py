"""Every verb of the queue on a real server: what it does, to whom it says no, and that twice is safe."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast
from uuid import uuid4

import pytest
import redis

from shared import scripts
from shared.call import Call
from shared.connection import run
from shared.contract import WorkerState
from shared.errors import InvalidRequest, JobNotFound, LeaseLost, QueueFull
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, OutputFormat, Scheduler, Size
from shared.jobs import (
    Image,
    Job,
    JobError,
    JobStatus,
    JobWarning,
    LeaseToken,
    NewJob,
    Tenant,
    WorkerId,
    image_key,
    new_job_id,
)
from shared.scripts import Claimed, Lease
from tests.servers import wait_until

T = TypeVar("T")

TENANT = Tenant("ann")
OTHER = Tenant("bob")
MODEL = "segmind/SSD-1B"
WORKER = WorkerId("host-1-a")
KEEP_S = 3600
LEASE_S = 5.0


def new_job(*, tenant: Tenant = TENANT, model: str = MODEL, num_images: int = 1, prompt: str = "a fox") -> NewJob:
    params = GenerationParams(
        prompt=prompt,
        width=512,
        height=512,
        num_inference_steps=10,
        guidance_scale=7.5,
        seed=7,
        num_images=num_images,
        scheduler=Scheduler.EULER,
    )
    return NewJob(new_job_id(), tenant, model, params, {"note": "naïve"})


def submit_call(job: NewJob, *, max_waiting: int = 1000) -> Call[Job]:
    return scripts.submit(job, max_waiting=max_waiting, keep_s=KEEP_S)


def claim_call(token: str | None = None, *, lease_s: float = LEASE_S, model: str = MODEL) -> Call[Claimed | None]:
    return scripts.claim(model, WORKER, LeaseToken(token or uuid4().hex), lease_s=lease_s)


def image_of(job: Job, index: int = 0) -> Image:
    return Image(
        index=index,
        seed=job.params.seed_of(index),
        key=image_key(job.tenant, job.id, index, OutputFormat.PNG),
        size=Size(width=512, height=512),
        output_format=OutputFormat.PNG,
        num_bytes=3,
        sha256="ab" * 32,
    )


class Desk:
    """What a test says to the queue, in its shortest form."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def __call__(self, call: Call[T]) -> T:
        return run(self.client, call)

    def submit(self, *, tenant: Tenant = TENANT, model: str = MODEL, num_images: int = 1) -> Job:
        return self(submit_call(new_job(tenant=tenant, model=model, num_images=num_images)))

    def claim(self, *, lease_s: float = LEASE_S) -> Claimed:
        claimed = self(claim_call(lease_s=lease_s))
        assert claimed is not None
        return claimed

    def read(self, job: Job) -> Job:
        return self(scripts.read(job.id, job.tenant))

    def reap(self, *, lease_s: float = LEASE_S, max_attempts: int = 3) -> scripts.Sweep:
        return self(scripts.reap(lease_s=lease_s, max_attempts=max_attempts))

    def dump(self) -> dict[bytes, object]:
        """All that Redis holds, so that a test can see that nothing changed."""
        return {key: self.client.dump(key) for key in self.all_keys()}

    def all_keys(self) -> list[bytes]:
        return cast("list[bytes]", self.client.keys())  # pyright: ignore[reportUnknownMemberType]: **kwargs


@pytest.fixture
def desk(queue: redis.Redis) -> Desk:
    return Desk(queue)


def test_a_submitted_job_reads_back_as_it_was_given(desk: Desk) -> None:
    new = new_job(num_images=3)
    job = desk(submit_call(new))
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


def test_submitting_the_same_id_again_gives_the_job_that_is_there(desk: Desk) -> None:
    new = new_job()
    job = desk(submit_call(new))
    before = desk.dump()
    assert desk(submit_call(new)) == job
    assert desk.dump() == before


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
    assert desk(submit_call(new_job(), max_waiting=1)).position == 0


def test_jobs_go_in_the_order_of_their_coming(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(3)]
    assert [desk.read(job).position for job in jobs] == [0, 1, 2]
    assert [desk.claim().job.id for _ in jobs] == [job.id for job in jobs]


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


def test_progress_counts_up_and_keeps_warnings_and_the_preview(desk: Desk) -> None:
    job = desk.submit()
    lease = desk.claim().lease
    warning = JobWarning(code="prompt_truncated", message="80 of 90 tokens were read.")
    desk(scripts.progress(lease, 4, warnings=[warning, warning], jpeg=b"\xff\xd8"))
    desk(scripts.progress(lease, 3))
    now = desk.read(job)
    assert (now.step, now.warnings, now.version) == (4, (warning,), 2)
    assert desk(scripts.preview(job.id, TENANT)) == b"\xff\xd8"


def test_there_is_no_preview_before_the_first_one(desk: Desk) -> None:
    job = desk.submit()
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


def test_a_failed_job_says_why(desk: Desk) -> None:
    job = desk.submit()
    error = JobError(code="model_error", message="It did not work.")
    desk(scripts.fail(desk.claim().lease, error))
    ended = desk.read(job)
    assert (ended.status, ended.error, ended.attempt) == (JobStatus.FAILED, error, 1)


def finished(desk: Desk, job: Job, lease: Lease) -> None:
    desk(scripts.add_image(lease, image_of(job)))
    desk(scripts.finish(lease))


def failed(desk: Desk, _job: Job, lease: Lease) -> None:
    desk(scripts.fail(lease, JobError(code="model_error", message="No.")))


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


def test_a_waiting_job_is_canceled_at_once(desk: Desk) -> None:
    job = desk.submit()
    canceled = desk(scripts.cancel(job.id, TENANT))
    assert (canceled.status, canceled.version, canceled.position) == (JobStatus.CANCELED, 2, None)
    assert desk(claim_call()) is None


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


@pytest.mark.parametrize("end", [finished, failed])
def test_cancel_leaves_an_ended_job_as_it_is(desk: Desk, end: Callable[[Desk, Job, Lease], None]) -> None:
    job = desk.submit()
    end(desk, job, desk.claim().lease)
    before = desk.dump()
    assert desk(scripts.cancel(job.id, TENANT)) == desk.read(job)
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
    assert desk.reap().waiting_models == ()
    desk.submit()
    assert desk.reap().waiting_models == (MODEL,)
    desk.claim()
    assert desk.reap().waiting_models == ()


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


def test_pages_skip_expired_jobs_and_forget_them(desk: Desk) -> None:
    jobs = [desk.submit() for _ in range(4)]
    for job in jobs[1:3]:
        desk.client.delete(f"{{darkroom}}:job:{job.id}")
    page = desk(scripts.page(TENANT, cursor=None, limit=2))
    assert [job.id for job in page.jobs] == [jobs[3].id, jobs[0].id]
    assert page.next_cursor is None
    assert desk.client.zcard(f"{{darkroom}}:jobs:{TENANT}") == 2


@pytest.mark.parametrize("cursor", ["", "?", "MTI", "c-", "é", "c" * 100])
def test_a_cursor_that_was_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        scripts.page(TENANT, cursor=cursor, limit=2)


def test_only_what_has_ended_expires(desk: Desk) -> None:
    first, second = desk.submit(), desk.submit()

    def lives() -> dict[str, int]:
        return {key.decode(): desk.client.ttl(key) for key in desk.all_keys()}

    index = f"{{darkroom}}:jobs:{TENANT}"
    assert set(lives().values()) == {-1}
    desk(scripts.cancel(first.id, TENANT))
    expiring = {key for key, life in lives().items() if life >= 0}
    assert expiring == {f"{{darkroom}}:job:{first.id}"}
    desk(scripts.cancel(second.id, TENANT))
    assert 0 < lives()[index] <= KEEP_S
    desk.submit()
    assert lives()[index] == -1


CARD = ModelCard(
    id=MODEL,
    title="SSD-1B",
    revision="0" * 40,
    description="A small SDXL.",
    aspect_ratios=(AspectRatio(name="Square 1:1", size=Size(width=1024, height=1024)),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(
        size=Size(width=1024, height=1024), num_inference_steps=25, guidance_scale=9, scheduler=Scheduler.EULER
    ),
)


def state(name: str = "w1") -> WorkerState:
    return WorkerState(
        id=name, state="ready", model=MODEL, device="cpu", software_version="0.1.0", started_at_ms=1_700_000_000_000
    )


def test_the_fleet_is_the_cards_announced_and_the_workers_that_live(desk: Desk) -> None:
    assert desk(scripts.fleet()) == scripts.Fleet((), ())
    desk(scripts.announce(CARD))
    assert desk(scripts.heartbeat(state("w1"), life_s=60))
    assert desk(scripts.heartbeat(state("w2"), life_s=60))
    found = desk(scripts.fleet())
    assert found.cards == (CARD,)
    assert {worker.id for worker in found.workers} == {"w1", "w2"}
    desk(scripts.leave(WorkerId("w1")))
    assert desk(scripts.fleet()).workers == (state("w2"),)


def test_a_worker_that_falls_silent_is_forgotten(desk: Desk) -> None:
    desk(scripts.heartbeat(state(), life_s=0.001))
    wait_until(lambda: desk(scripts.fleet()).workers == (), limit_s=5, what="the worker lapses")
    assert desk.all_keys() == []


def test_a_heartbeat_tells_when_the_card_is_gone(desk: Desk) -> None:
    assert not desk(scripts.heartbeat(state(), life_s=60))
    desk(scripts.announce(CARD))
    assert desk(scripts.heartbeat(state(), life_s=60))
