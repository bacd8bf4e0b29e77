"""Workers that die, stop, or lose their Redis: every job still ends, once."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from shared import scripts
from shared.jobs import JobStatus
from shared.settings import Settings
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import RedisServer, wait_until
from worker.sweeper import Sweeper

EX_HUNG: Final = 70

pytestmark = pytest.mark.timeout(900)  # two workers import torch


def test_a_job_of_a_killed_worker_is_ended_by_another_once(system: System) -> None:
    doomed, other = system.start_worker(), system.start_worker()
    doomed.wait_ready()
    other.wait_ready()
    job = system.submit(steps=100, num_images=4, seed=3)
    first = system.wait_for(job, lambda now: len(now.images) >= 1, "the first picture is kept").worker
    victim, heir = (doomed, other) if f"-{doomed.process.pid}-" in str(first) else (other, doomed)
    victim.kill()
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, len(ended.images)) == (JobStatus.SUCCEEDED, 2, 4)
    # claim, reap, claim, finish: each move raised the version, and none came twice
    assert ended.version == 5
    assert f"-{heir.process.pid}-" in str(ended.worker)
    claimed = next(line for line in heir.log.splitlines() if f"claimed job={job.id}" in line)
    assert int(claimed.rpartition("pictures=")[2]) < 4  # what was kept is not drawn again
    wait_until(lambda: len(system(scripts.fleet()).workers) == 1, limit_s=LIMIT_S, what="the dead one lapses")


def test_a_stopped_worker_hands_its_job_on_uncharged(system: System) -> None:
    first = system.ready_worker(drain_s=0)
    job = system.submit(steps=100, num_images=4)
    system.wait_drawing(job)
    assert first.stop() == 0
    waiting = system.read(job)
    assert (waiting.status, waiting.attempt, waiting.position) == (JobStatus.QUEUED, 0, 0)
    found = system(scripts.fleet())
    assert (found.workers, found.lost) == ((), {})
    system.ready_worker()
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 1)


def test_a_stopped_worker_ends_what_is_nearly_done(system: System) -> None:
    worker = system.ready_worker(drain_s=60)
    job = system.submit(steps=10)
    system.wait_drawing(job)
    assert worker.stop() == 0
    assert system.read(job).status is JobStatus.SUCCEEDED


def test_a_second_signal_ends_a_worker_that_would_finish_first(system: System) -> None:
    worker = system.ready_worker(drain_s=3600)
    job = system.submit(steps=100, num_images=8)
    system.wait_drawing(job, step=3)
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: system(scripts.fleet()).workers[0].state == "draining", limit_s=LIMIT_S, what="it drains")
    assert worker.stop() == 0
    assert system.read(job).status is JobStatus.QUEUED


def test_a_job_that_kills_its_workers_fails_as_worker_lost(system: System, settings: Settings) -> None:
    worker = system.ready_worker(max_attempts=1)
    job = system.submit(steps=100, num_images=4)
    system.wait_drawing(job)
    worker.kill()
    sweeper = Sweeper(system.client, settings.model_copy(update={"max_attempts": 1}), system.wake_ups)
    sweeper.start()
    ended = system.wait_ended(job)
    sweeper.close()
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error.code == "worker_lost"


def test_a_worker_that_hangs_ends_as_failed(system: System) -> None:
    worker = system.ready_worker(hung_step_s=0.001)
    system.submit(steps=100, num_images=8)
    assert worker.process.wait(LIMIT_S) == EX_HUNG
    found = system(scripts.fleet())
    assert (found.workers, list(found.lost.values())) == ((), [1])


def test_a_job_outlives_a_crash_of_redis(
    own_redis_server: RedisServer, system_on: Callable[[RedisServer], System]
) -> None:
    system = system_on(own_redis_server)
    worker = system.ready_worker()
    job = system.submit(steps=100, num_images=3)
    waiting = system.submit()
    system.wait_drawing(job)
    own_redis_server.kill()
    wait_until(lambda: "the queue does not answer" in worker.log, limit_s=LIMIT_S, what="the worker notices")
    own_redis_server.start()
    for ended in (system.wait_ended(job), system.wait_ended(waiting)):
        assert ended.status is JobStatus.SUCCEEDED
        assert ended.attempt == 1
    assert system.wait_ended(system.submit()).status is JobStatus.SUCCEEDED


def test_the_same_seed_draws_the_same_bytes_after_a_restart(system: System) -> None:
    pictures: list[bytes] = []
    for _ in range(2):
        worker = system.ready_worker()
        ended = system.wait_ended(system.submit(seed=11))
        pictures.append(system.store.get(ended.images[0].key))
        assert worker.stop() == 0
    assert pictures[0] == pictures[1]


def test_a_worker_without_its_model_says_what_to_do(system: System) -> None:
    worker = system.start_worker(model="./nowhere")
    assert worker.process.wait(LIMIT_S) == 1
    assert "DARKROOM_MODEL" in worker.log.splitlines()[-1]


def test_a_worker_whose_model_is_broken_says_so_and_leaves(
    system: System, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    for weights in (broken / "vae").glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:100])
    worker = system.start_worker(model=str(broken))
    assert worker.process.wait(LIMIT_S) == 1
    assert "CRITICAL" in worker.log
    found = system(scripts.fleet())
    assert (found.workers, list(found.lost.values())) == ((), [1])
