"""The shift and the threads around it, on a real Redis and a real object store, with engines that fail."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
import redis
from pydantic import SecretStr

from shared import scripts
from shared.broker import WakeUps
from shared.connection import connect, run
from shared.contract import WorkerState
from shared.generation import AspectRatio, Defaults, GenerationRequest, ModelCard, Scheduler, Size
from shared.jobs import LOCAL_TENANT, Job, JobError, JobStatus, LeaseToken, NewJob, WorkerId, new_job_id
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.integration.worker.engines import (
    PIXELS,
    EngineThatChokesOnFoxes,
    EngineThatDrawsNonsense,
    EngineThatFailsFoxes,
    EngineThatLosesItsDevice,
    EngineThatReadsLittle,
    SteadyEngine,
)
from tests.servers import RedisServer, S3Server, free_port, wait_until
from worker.counter import Counter
from worker.delivery import Delivery, Origin
from worker.duty import Duty
from worker.heartbeat import Heartbeat
from worker.news import StopAsked
from worker.reporter import Reporter
from worker.shift import CLAIM_PAUSE_S, Shift
from worker.storage import Storage

LIMIT_S: Final = 60.0
SIZE = Size(width=64, height=64)
CARD = ModelCard(
    id="test/grey",
    title="Grey",
    revision="0",
    description="",
    aspect_ratios=(AspectRatio(name="Square", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=4, guidance_scale=5, scheduler=Scheduler.EULER),
)


class Bench:
    """A worker without its process: the shift runs in the test's thread, or in one of its own."""

    def __init__(self, settings: Settings, engine: SteadyEngine) -> None:
        self.settings = settings
        self.engine = engine
        self.duty = Duty()
        self.client: redis.Redis = connect(settings)
        self.store = ObjectStore.from_settings(settings)
        self.storage = Storage(self.store)
        self.wake_ups = WakeUps(settings)
        self.hung = threading.Event()
        origin = Origin(CARD.id, CARD.revision, "test")
        self.delivery = Delivery(self.client, self.storage, origin, self.duty, patience_s=settings.store_patience_s)
        self.reporter = Reporter(self.client, self.duty.inbox)
        self.heartbeat = Heartbeat(self.client, settings, self.duty, card=CARD, state=state, on_hung=self.hung.set)
        counter = Counter(self.client, self.wake_ups, model=CARD.id, worker=WorkerId("w"), lease_s=settings.lease_s)
        self.shift = Shift(
            counter, engine, self.delivery, self.reporter, self.duty, max_batch=1, drain_s=settings.drain_s
        )
        self.reporter.start()
        self.heartbeat.start()
        self._thread = threading.Thread(target=self.shift.run)

    def submit(self, prompt: str = "a cat", *, steps: int = 4, num_images: int = 1) -> Job:
        request = GenerationRequest(prompt=prompt, num_inference_steps=steps, num_images=num_images)
        new = NewJob(new_job_id(), LOCAL_TENANT, CARD.id, request.resolve(CARD, drawn_seed=1), {})
        return run(self.client, scripts.submit(new, max_waiting=100, keep_s=60))

    def read(self, job: Job) -> Job:
        return run(self.client, scripts.read(job.id, job.tenant))

    def begin(self) -> None:
        """Run the shift beside the test."""
        self._thread.start()

    def end(self) -> None:
        """Wait until the shift is over."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def wait_for(self, job: Job, holds: Callable[[Job], bool], what: str) -> Job:
        wait_until(lambda: holds(self.read(job)), limit_s=LIMIT_S, what=what)
        return self.read(job)

    def close(self) -> None:
        self.engine.may_step.set()
        self.duty.stop.ask()
        self.duty.stop.ask()
        if self._thread.ident is not None:
            self._thread.join(LIMIT_S)
        self.delivery.close()
        self.storage.close()
        self.reporter.close()
        self.heartbeat.close()
        self.wake_ups.close()
        self.store.close()
        self.client.close()


def state() -> WorkerState:
    return WorkerState(id="w", state="ready", model=CARD.id, device="test", software_version="0", started_at_ms=0)


@pytest.fixture
def bench_of(settings: Settings) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(engine: SteadyEngine, **changes: object) -> Bench:
        bench = Bench(settings.model_copy(update=changes), engine)
        benches.append(bench)
        if "s3_endpoint" not in changes:
            bench.store.ensure_bucket()
        return bench

    yield make
    for bench in benches:
        bench.close()


def test_a_shift_ends_when_the_queue_is_empty(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    jobs = [bench.submit(num_images=n) for n in (1, 3)]
    bench.shift.run()
    for job in jobs:
        ended = bench.read(job)
        assert ended.status is JobStatus.SUCCEEDED
        assert all(bench.store.get(image.key) for image in ended.images)
    assert bench.duty.leases.held() == ()


def test_a_job_that_fails_leaves_the_others_alone(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatFailsFoxes())
    fox, cat = bench.submit("a fox", num_images=2), bench.submit("a cat")
    bench.shift.run()
    failed = bench.wait_for(fox, lambda now: now.status.is_terminal, "the fox fails")
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, "model_error")
    assert bench.read(cat).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("engine", [EngineThatChokesOnFoxes, EngineThatDrawsNonsense])
def test_what_nobody_foresaw_fails_that_job_alone(bench_of: Callable[..., Bench], engine: type[SteadyEngine]) -> None:
    bench = bench_of(engine())
    fox = bench.submit("a fox")
    bench.shift.run()
    failed = bench.wait_for(fox, lambda now: now.status.is_terminal, "the fox fails")
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, "internal_error")


def test_a_text_that_is_cut_is_told_even_of_a_job_of_one_step(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatReadsLittle())
    job = bench.submit("a cat", steps=1)
    bench.shift.run()
    ended = bench.read(job)
    assert ended.status is JobStatus.SUCCEEDED
    assert [(warning.code, "a cat" in warning.message) for warning in ended.warnings] == [("prompt_truncated", True)]


def test_a_text_that_is_cut_is_told_even_if_no_report_got_through(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatReadsLittle())
    bench.reporter.close()
    job = bench.submit("a cat")
    bench.shift.run()
    assert [warning.code for warning in bench.read(job).warnings] == ["prompt_truncated"]


def test_a_lost_device_ends_the_shift_and_keeps_the_attempt_charged(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatLosesItsDevice())
    job = bench.submit()
    with pytest.raises(RuntimeError, match="the device is gone"):
        bench.shift.run()
    assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.RUNNING, 1)


def test_a_cancel_is_heard_between_two_steps(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    job = bench.submit(steps=100, num_images=8)
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    run(bench.client, scripts.cancel(job.id, job.tenant))
    wait_until(lambda: not bench.duty.inbox.empty(), limit_s=LIMIT_S, what="a renewal brings the news")
    bench.engine.may_step.set()
    bench.end()
    assert bench.engine.steps == 1
    assert bench.engine.row_ids == ()


def test_a_worker_that_was_frozen_gives_way_to_another(bench_of: Callable[..., Bench]) -> None:
    frozen, other = bench_of(SteadyEngine(), lease_s=0.5), bench_of(SteadyEngine())
    job = frozen.submit(steps=100)
    frozen.engine.may_step.clear()
    frozen.begin()
    frozen.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    frozen.heartbeat.close()
    sweep = scripts.reap(lease_s=0.5, max_attempts=3)
    wait_until(lambda: job.id in run(other.client, sweep).requeued, limit_s=LIMIT_S, what="the lease ends")
    other.shift.run()
    ended = other.read(job)
    frozen.engine.may_step.set()
    frozen.end()
    assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 2)
    assert frozen.read(job) == ended


def test_pictures_that_an_earlier_attempt_kept_are_not_drawn_again(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), drain_s=0.0)
    job = bench.submit(steps=50, num_images=3)
    bench.begin()
    bench.wait_for(job, lambda now: len(now.images) >= 1, "the first picture is kept")
    bench.duty.stop.ask()
    bench.end()
    kept = {image.index for image in bench.read(job).images}
    second = bench_of(SteadyEngine())
    second.shift.run()
    assert {int(row_id.rpartition("/")[2]) for row_id in second.engine.drawn} == {0, 1, 2} - kept
    assert (second.read(job).status, second.read(job).attempt) == (JobStatus.SUCCEEDED, 1)


def test_a_job_whose_pictures_were_all_kept_is_only_finished(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    job = bench.submit()
    bench.shift.run()
    image = bench.read(job).images[0]
    again = bench.submit()
    claimed = run(bench.client, scripts.claim(CARD.id, WorkerId("v"), scripts.LeaseToken("t"), lease_s=5))
    assert claimed is not None
    run(bench.client, scripts.add_image(claimed.lease, image))
    run(bench.client, scripts.release(claimed.lease))
    steps = bench.engine.steps
    bench.shift.run()
    assert bench.read(again).status is JobStatus.SUCCEEDED
    assert bench.engine.steps == steps


def test_a_stopping_worker_waits_for_what_is_nearly_done(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), drain_s=LIMIT_S)
    job = bench.submit(steps=10)
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    bench.duty.stop.ask()
    bench.duty.inbox.put(StopAsked())
    bench.engine.may_step.set()
    bench.end()
    assert bench.read(job).status is JobStatus.SUCCEEDED


def test_a_frozen_redis_does_not_hold_up_the_engine(
    own_redis_server: RedisServer, s3_server: S3Server, bench_of: Callable[..., Bench]
) -> None:
    del s3_server
    bench = bench_of(SteadyEngine(), redis_url=SecretStr(own_redis_server.url))
    job = bench.submit(steps=100, num_images=8)
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    own_redis_server.signal(signal.SIGSTOP)
    bench.engine.may_step.set()
    wait_until(lambda: bench.engine.steps >= 100, limit_s=LIMIT_S, what="the engine goes on")
    own_redis_server.signal(signal.SIGCONT)
    ended = bench.wait_for(job, lambda now: now.status.is_terminal, "the job ends")
    assert (ended.status, ended.attempt, len(ended.images)) == (JobStatus.SUCCEEDED, 1, 8)


def test_pictures_wait_for_a_store_that_comes_back(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, **keys)
        bench.store.ensure_bucket()
        job = bench.submit()
        server.kill()
        bench.begin()
        wait_until(lambda: bench.engine.drawn != [], limit_s=LIMIT_S, what="the picture is drawn")
        server.start()
        bench.end()
        assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.SUCCEEDED, 1)


def test_a_store_that_stays_away_sends_the_job_back_uncharged(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, store_patience_s=0.0, **keys)
        bench.store.ensure_bucket()
        job = bench.submit()
        server.kill()
        bench.shift.run()
        waiting = bench.read(job)
        assert (waiting.status, waiting.attempt, waiting.images) == (JobStatus.QUEUED, 0, ())
        steps = bench.engine.steps
        bench.shift.run()
        assert bench.engine.steps == steps  # nothing is drawn in vain
        server.start()
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(job).status is JobStatus.SUCCEEDED


def test_a_store_that_answers_but_takes_no_pictures_gets_none_drawn_in_vain(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, store_patience_s=0.0, **keys)
        bench.store.ensure_bucket()
        in_the_way = tmp_path / "s3" / bench.settings.s3_bucket / "images"
        in_the_way.write_bytes(b"")  # a file where pictures need a folder
        job = bench.submit()
        bench.begin()
        bench.end()
        assert bench.engine.steps == 4
        assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.QUEUED, 0)
        bench.store.ensure_bucket()  # answers
        in_the_way.unlink()
        server.restart()  # it remembers folders for minutes
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(job).status is JobStatus.SUCCEEDED


def test_a_job_whose_pictures_the_store_refuses_for_good_fails(
    settings: Settings, bench_of: Callable[..., Bench]
) -> None:
    ObjectStore.from_settings(settings).ensure_bucket()
    wrong_key = {"s3_endpoint": settings.s3_endpoint, "s3_secret_key": SecretStr("wrong")}
    bench = bench_of(SteadyEngine(), store_patience_s=0.0, **wrong_key)
    job = bench.submit()
    bench.shift.run()
    failed = bench.wait_for(job, lambda now: now.status.is_terminal, "the job fails")
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, "store_unavailable")
    assert "DARKROOM_S3_SECRET_KEY" in failed.error.message


def test_no_job_is_claimed_from_the_first_picture_that_is_not_taken(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, store_patience_s=LIMIT_S, **keys)
        bench.store.ensure_bucket()
        drawn = bench.submit()
        server.kill()
        bench.begin()
        wait_until(lambda: bench.storage.is_away, limit_s=LIMIT_S, what="an upload fails")
        waiting = bench.submit()
        with pytest.raises(AssertionError):
            wait_until(lambda: bench.read(waiting).attempt > 0, limit_s=10 * CLAIM_PAUSE_S, what="it is claimed")
        assert bench.read(drawn).status is JobStatus.RUNNING  # its picture is kept
        server.start()
        bench.end()
        assert (bench.read(drawn).status, bench.read(drawn).attempt) == (JobStatus.SUCCEEDED, 1)
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(waiting).status is JobStatus.SUCCEEDED


def test_a_job_fails_at_once_while_the_pictures_of_another_wait_for_the_store(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), s3_endpoint=f"http://127.0.0.1:{free_port()}", store_patience_s=LIMIT_S)
    drawn, wrong = bench.submit(num_images=4), bench.submit()
    for token in ("drawn", "wrong"):
        claimed = run(bench.client, scripts.claim(CARD.id, WorkerId("w"), LeaseToken(token), lease_s=LIMIT_S))
        assert claimed is not None
        bench.duty.leases.hold(claimed.lease)
        if token == "drawn":
            bench.delivery.expect(claimed.lease, range(4))
            for index in range(4):
                bench.delivery.deliver(claimed.job, claimed.lease, index, PIXELS)
        else:
            bench.delivery.fail(claimed.lease, JobError(code="model_error", message="No."))
    wait_until(lambda: bench.read(wrong).status is JobStatus.FAILED, limit_s=LIMIT_S / 2, what="the job fails")
    assert bench.read(drawn).status is JobStatus.RUNNING


def test_no_job_is_claimed_while_the_store_that_was_away_at_the_start_stays_away(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    server = S3Server(tmp_path / "s3")
    keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
    bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, **keys)
    bench.storage.prepare()
    job = bench.submit()
    bench.shift.run()
    assert (bench.read(job).status, bench.engine.steps) == (JobStatus.QUEUED, 0)
    with server:
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(job).status is JobStatus.SUCCEEDED


def test_a_worker_that_hangs_stops_renewing(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), hung_step_s=0.3, lease_s=1.0)
    job = bench.submit()
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    assert bench.hung.wait(LIMIT_S)
    sweep = scripts.reap(lease_s=1.0, max_attempts=3)
    wait_until(lambda: job.id in run(bench.client, sweep).requeued, limit_s=LIMIT_S, what="the lease ends")


def test_a_card_that_redis_lost_is_announced_again(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    bench.client.flushdb()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    wait_until(
        lambda: run(bench.client, scripts.fleet()) == scripts.Fleet((CARD,), (state(),)),
        limit_s=LIMIT_S,
        what="card and worker are back",
    )


def test_a_running_job_shows_a_preview(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    job = bench.submit(steps=100, num_images=8)
    bench.begin()
    wait_until(
        lambda: (run(bench.client, scripts.preview(job.id, job.tenant)) or b"").startswith(b"\xff\xd8"),
        limit_s=LIMIT_S,
        what="there is a preview",
    )
    bench.end()
