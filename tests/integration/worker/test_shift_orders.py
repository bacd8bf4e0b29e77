"""The shift under the operators' orders, and what it measures while it draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared import scripts
from shared.connection import run
from shared.jobs import JobStatus, LeaseToken, WorkerId
from shared.scripts import Mode
from tests.integration.worker.engines import DECODING_S, STEP_S, EngineThatFailsFoxes, SteadyEngine
from tests.integration.worker.workbench import CARD, LIMIT_S, Bench
from tests.servers import wait_until


def tell(bench: Bench, mode: Mode, worker: WorkerId | None = None) -> None:
    """Give an order, and wait until it is heard."""
    living = scripts.fleet()
    wait_until(lambda: run(bench.client, living).workers != (), limit_s=LIMIT_S, what="the worker lives")
    run(bench.client, scripts.direct(mode, worker))
    wait_until(lambda: bench.duty.wish.mode is mode, limit_s=LIMIT_S, what=f"{mode} is heard")


def test_a_paused_worker_ends_its_job_and_begins_no_other(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    drawn, waiting = bench.submit(), bench.submit()
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(drawn, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    tell(bench, Mode.PAUSED, WorkerId("w"))
    bench.engine.may_step.set()
    bench.end()
    assert bench.read(drawn).status is JobStatus.SUCCEEDED
    bench.shift.run()
    assert (bench.read(waiting).status, bench.read(waiting).attempt) == (JobStatus.QUEUED, 0)
    tell(bench, Mode.WORK, WorkerId("w"))
    bench.shift.run()
    assert bench.read(waiting).status is JobStatus.SUCCEEDED


def test_a_drained_worker_hands_its_job_back_uncharged(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), drain_s=0.0)
    job = bench.submit(steps=100, num_images=8)
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    tell(bench, Mode.DRAINED)
    bench.engine.may_step.set()
    bench.end()
    assert bench.engine.steps == 1
    assert bench.engine.row_ids == ()
    assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.QUEUED, 0)
    tell(bench, Mode.WORK)
    bench.shift.run()
    assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.SUCCEEDED, 1)


def test_a_drained_worker_ends_what_is_nearly_done(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), drain_s=LIMIT_S)
    drawn, waiting = bench.submit(steps=10), bench.submit()
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(drawn, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    tell(bench, Mode.DRAINED)
    bench.engine.may_step.set()
    bench.end()
    assert bench.read(drawn).status is JobStatus.SUCCEEDED
    assert bench.read(waiting).status is JobStatus.QUEUED


def test_a_paused_worker_that_is_stopped_hands_its_job_back(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), drain_s=0.0)
    job = bench.submit(steps=100, num_images=8)
    bench.engine.may_step.clear()
    bench.begin()
    bench.wait_for(job, lambda now: now.status is JobStatus.RUNNING, "the job is claimed")
    tell(bench, Mode.PAUSED)
    bench.duty.stop.ask()
    bench.engine.may_step.set()
    bench.end()
    assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.QUEUED, 0)


def test_a_shift_measures_what_it_draws(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine())
    job = bench.submit(num_images=2)
    bench.shift.run()
    (speed,) = bench.duty.pace.speeds
    assert (speed.width, speed.height, speed.guided) == (64, 64, True)
    assert (speed.step_ms, speed.picture_ms) == (1000 * STEP_S, 1000 * DECODING_S)
    assert bench.duty.pace.of_jobs * job.work_ms == pytest.approx(2 * 1000 * (4 * STEP_S + DECODING_S))


def test_a_job_that_fails_says_nothing_of_the_pace(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(EngineThatFailsFoxes())
    fox = bench.submit("a fox", num_images=2)
    bench.shift.run()
    bench.wait_for(fox, lambda now: now.status is JobStatus.FAILED, "the fox fails")
    assert (bench.duty.pace.of_jobs, bench.duty.pace.speeds) == (1.0, ())


def test_what_an_earlier_attempt_began_says_nothing_of_the_pace(bench_of: Callable[..., Bench]) -> None:
    first, second = bench_of(SteadyEngine()), bench_of(SteadyEngine())
    drawn = first.submit()
    first.shift.run()
    job = first.submit(num_images=2)
    claimed = run(first.client, scripts.claim(CARD.id, WorkerId("v"), LeaseToken("t"), lease_s=5))
    assert claimed is not None
    run(first.client, scripts.add_image(claimed.lease, first.read(drawn).images[0]))
    run(first.client, scripts.release(claimed.lease))
    second.shift.run()
    assert second.read(job).status is JobStatus.SUCCEEDED
    assert second.duty.pace.of_jobs == 1.0
    assert len(second.duty.pace.speeds) == 1  # the picture that it drew counts
