"""The shift and the threads around it, on a real Redis and a real object store, with engines that fail."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from shared import scripts
from shared.connection import ANSWER_TIMEOUT_S, run
from shared.errors import GenerationFailed, ModelError, OutOfMemory
from shared.jobs import JobStatus, LeaseToken, WorkerId
from shared.lanes import Lane
from tests.integration.worker.engines import (
    EngineThatCannotDecodeFoxes,
    EngineThatChokesOnFoxes,
    EngineThatCountsPreviews,
    EngineThatDrawsNonsense,
    EngineThatFailsFoxes,
    EngineThatHangsInDecoding,
    EngineThatLosesItsDevice,
    EngineThatReadsLittle,
    EngineThatStepsAll,
    EngineWithRoomForInteractive,
    SteadyEngine,
)
from tests.integration.worker.faults import frozen
from tests.integration.worker.workbench import CARD, LIMIT_S, Bench, state
from tests.servers import RedisServer, S3Server, wait_until
from worker.engine.events import DeviceLost
from worker.news import StopAsked
from worker.shift import DECODING_S
from worker.stages import Passage, Stage


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


def test_a_slow_store_holds_up_no_step(bench_of: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(SteadyEngine())
    put, may_put = bench.store.put, threading.Event()

    def slow(key: str, data: bytes, media_type: str) -> None:
        assert may_put.wait(LIMIT_S)
        put(key, data, media_type)

    monkeypatch.setattr(bench.store, "put", slow)
    jobs = [bench.submit(num_images=2, steps=5) for _ in range(4)]
    bench.begin()
    wait_until(lambda: bench.engine.steps == 4 * 2 * 5, limit_s=LIMIT_S, what="all steps of all jobs are taken")
    assert all(bench.read(job).images == () for job in jobs)
    may_put.set()
    bench.end()
    assert all(bench.read(job).status is JobStatus.SUCCEEDED for job in jobs)


@pytest.mark.parametrize(
    ("raised", "code"), [(OutOfMemory("No room."), "out_of_memory"), (ModelError("No."), "model_error")]
)
def test_a_picture_that_cannot_be_decoded_fails_its_job_alone(
    bench_of: Callable[..., Bench], raised: GenerationFailed, code: str
) -> None:
    bench = bench_of(EngineThatCannotDecodeFoxes(raised))
    fox, cat = bench.submit("a fox"), bench.submit("a cat")
    bench.shift.run()
    failed = bench.wait_for(fox, lambda now: now.status.is_terminal, "the fox fails")
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, code)
    assert bench.read(cat).status is JobStatus.SUCCEEDED


def test_a_device_that_is_lost_while_it_decodes_ends_the_shift_and_keeps_the_attempt_charged(
    bench_of: Callable[..., Bench],
) -> None:
    bench = bench_of(EngineThatCannotDecodeFoxes(DeviceLost()))
    fox = bench.submit("a fox")
    with pytest.raises(DeviceLost):
        bench.shift.run()
    assert (bench.read(fox).status, bench.read(fox).attempt) == (JobStatus.RUNNING, 1)


def test_an_interactive_job_joins_a_worker_that_is_full_of_bulk(bench_of: Callable[..., Bench]) -> None:
    engine = EngineWithRoomForInteractive()
    engine.may_step.clear()
    bench = bench_of(engine)
    bulk = [bench.submit(lane=Lane.BULK) for _ in range(2)]
    bench.begin()
    bench.wait_for(bulk[0], lambda now: now.attempt == 1, "the first is claimed")
    other = bench.submit()
    engine.may_step.set()
    bench.wait_for(other, lambda now: now.attempt == 1, "the interactive one is claimed")
    bench.end()
    assert all(bench.read(job).status is JobStatus.SUCCEEDED for job in (*bulk, other))
    assert [row_id.split("/")[0] for row_id in engine.admitted] == [bulk[0].id, other.id, bulk[1].id]


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
    claimed = run(bench.client, scripts.claim(CARD.id, WorkerId("v"), LeaseToken("t"), lease_s=5))
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


def test_a_worker_that_hangs_stops_renewing(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), hung_step_s=0.3, lease_s=1.0)
    job = bench.submit()
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    assert bench.hung.wait(LIMIT_S)
    sweep = scripts.reap(lease_s=1.0, max_attempts=3)
    wait_until(lambda: job.id in run(bench.client, sweep).requeued, limit_s=LIMIT_S, what="the lease ends")
    wait_until(lambda: run(bench.client, scripts.fleet()).workers == (), limit_s=LIMIT_S, what="the fleet misses it")


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


@pytest.mark.parametrize(("preview_s", "asked"), [(0.0, 0), (1e-9, 7), (3600.0, 1)])
def test_previews_are_made_as_often_as_the_operator_wants(
    bench_of: Callable[..., Bench], preview_s: float, asked: int
) -> None:
    engine = EngineThatCountsPreviews()
    bench = bench_of(engine, preview_s=preview_s)
    job = bench.submit(steps=8)
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.SUCCEEDED, "it is drawn")
    assert engine.previews == asked  # after its last step a row has left the engine


def test_each_of_the_jobs_that_are_drawn_together_shows_a_preview(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatStepsAll(), max_batch=8)
    jobs = [bench.submit(f"cat {at}", steps=100, num_images=4) for at in range(2)]
    bench.engine.may_step.clear()
    bench.begin()
    wait_until(lambda: len(bench.engine.rows) == 8, limit_s=LIMIT_S, what="both jobs are held")
    bench.engine.may_step.set()
    for job in jobs:
        wait_until(
            lambda job=job: run(bench.client, scripts.preview(job.id, job.tenant)) is not None,
            limit_s=LIMIT_S,
            what="there is a preview",
        )


def test_a_decoding_that_hangs_is_no_sign_of_life(bench_of: Callable[..., Bench]) -> None:
    engine = EngineThatHangsInDecoding()
    bench = bench_of(engine, hung_step_s=1.5, lease_s=1.0)
    job = bench.submit()
    bench.begin()
    bench.wait_for(job, lambda now: now.step == now.steps, "it is drawn")
    assert not bench.hung.wait(3.0)  # the shift goes on, and waits for the picture
    engine.decoding_s = DECODING_S + 1
    assert bench.hung.wait(LIMIT_S)
    engine.may_decode.set()


def test_a_claim_that_a_freeze_left_unanswered_is_repeated(
    bench_of: Callable[..., Bench], own_redis_server: RedisServer
) -> None:
    bench = bench_of(SteadyEngine(), redis_url=SecretStr(own_redis_server.url))
    job = bench.submit()
    with frozen(own_redis_server, ANSWER_TIMEOUT_S + 1):
        bench.begin()
    bench.end()
    assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.SUCCEEDED, 1)


def test_every_stage_of_a_picture_is_told_to_who_listens(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    heard: list[Passage] = []
    bench.duty.stages.listen(heard.append)
    job = bench.submit(num_images=2)
    bench.shift.run()
    assert {(one.lease.job_id, one.index) for one in heard} == {(job.id, 0), (job.id, 1)}
    assert len({one.lease for one in heard}) == 1
    for index in range(2):
        passages = sorted((one for one in heard if one.index == index), key=lambda one: one.ended_at)
        assert {one.stage for one in passages} == set(Stage)
        assert len(passages) == len(Stage)
        assert [one.stage for one in passages][-3:] == [Stage.ENCODE, Stage.UPLOAD, Stage.RECORD]
        assert all(0 <= one.seconds < LIMIT_S and one.error is None for one in passages)


def test_a_stage_has_no_negative_time_though_the_clock_is_set_back(
    bench_of: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_of(SteadyEngine())
    heard: list[Passage] = []
    bench.duty.stages.listen(heard.append)
    bench.submit(steps=3)
    right, hours = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: right() - 3600 * next(hours))
    bench.shift.run()
    assert {one.stage for one in heard} == set(Stage)
    assert all(0 <= one.seconds < LIMIT_S for one in heard)


def test_a_stage_that_fails_is_told_with_its_error_and_is_not_counted(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatDrawsNonsense())
    heard: list[Passage] = []
    bench.duty.stages.listen(heard.append)
    bench.submit()
    bench.shift.run()
    (failed,) = [one for one in heard if one.error is not None]
    assert failed.stage is Stage.ENCODE
    counted = bench.duty.meters.untold()
    assert counted is not None
    assert not any(name.startswith("stage_seconds") and "|encode|" in name for name in counted.counts)
