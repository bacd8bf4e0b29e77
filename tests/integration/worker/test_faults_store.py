"""A store that goes away under a worker process: its pictures wait on disk, and no job pays for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from shared.jobs import Job, JobStatus
from shared.lanes import Lane
from shared.settings import Settings
from tests.integration.worker.system import LIMIT_S, WORKER, System, WorkerProcess
from tests.servers import S3Server, wait_until
from worker.spool import PREFIX

pytestmark = pytest.mark.timeout(900)  # a worker imports torch

LEASE_S: Final = 3.0
SMALL_DISK: Final = 'mkdir -p "$DARKROOM_SPOOL" && mount -t tmpfs -o size=32k none "$DARKROOM_SPOOL" && exec "$@"'
ON_A_SMALL_DISK: Final = ("unshare", "--mount", "sh", "-c", SMALL_DISK, "sh")
"""Runs a command whose spool is a disk of 32 kB, in a mount namespace that ends with it."""


@pytest.fixture
def own_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def system(
    redis_settings: Settings, own_s3_server: S3Server, tiny_checkpoint: Path, tmp_path: Path
) -> Iterator[System]:
    """A system on a store that the test will hurt."""
    store = {
        "s3_endpoint": own_s3_server.endpoint,
        "s3_access_key": SecretStr(own_s3_server.access_key),
        "s3_secret_key": SecretStr(own_s3_server.secret_key),
        "lease_s": LEASE_S,
    }
    made = System(redis_settings.model_copy(update=store), tiny_checkpoint, tmp_path)
    yield made
    made.close()


def spooled(system: System) -> list[Path]:
    return list(system.spool.glob(f"{PREFIX}*/*"))


def spooled_of(system: System, worker: WorkerProcess) -> list[Path]:
    """What lies on a disk that the worker alone has mounted."""
    return list(Path(f"/proc/{worker.process.pid}/root{system.spool}").glob(f"{PREFIX}*/*"))


def assert_drawn_once(system: System, job: Job) -> None:
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, len(ended.images)) == (JobStatus.SUCCEEDED, 1, job.params.num_images)
    assert ended.version == 3  # submitted, claimed, finished: the lease was held throughout
    for image in ended.images:
        assert hashlib.sha256(system.store.get(image.key)).hexdigest() == image.sha256


def test_pictures_wait_on_disk_while_the_store_is_away_and_all_go_out_when_it_is_back(
    system: System, own_s3_server: S3Server
) -> None:
    worker = system.ready_worker()
    jobs: list[Job] = []
    for lane in (Lane.BULK, Lane.INTERACTIVE):  # the second overtakes the first
        jobs.append(system.submit(steps=60, num_images=6, lane=lane))
        system.wait_drawing(jobs[-1])
    own_s3_server.kill()
    wait_until(lambda: len(spooled(system)) == 12, limit_s=LIMIT_S, what="all wait on disk")
    late = system.submit()
    time.sleep(2 * LEASE_S)
    for job in jobs:
        now = system.read(job)
        assert (now.status, now.images) == (JobStatus.RUNNING, ())
    assert system.read(late).attempt == 0
    own_s3_server.start()
    for job in (*jobs, late):
        assert_drawn_once(system, job)
    wait_until(lambda: spooled(system) == [], limit_s=LIMIT_S, what="the disk is free")
    assert worker.stop() == 0
    assert list(system.spool.iterdir()) == []


def test_a_store_that_freezes_and_thaws_costs_no_attempt(system: System, own_s3_server: S3Server) -> None:
    system.ready_worker()
    job = system.submit(steps=30, num_images=2)
    system.wait_drawing(job)
    own_s3_server.signal(signal.SIGSTOP)
    time.sleep(2 * LEASE_S)
    assert system.read(job).status is JobStatus.RUNNING
    own_s3_server.signal(signal.SIGCONT)
    assert_drawn_once(system, job)


def test_a_job_that_outwaits_the_patience_of_its_worker_goes_back_uncharged(
    system: System, own_s3_server: S3Server
) -> None:
    worker = system.ready_worker(store_patience_s=1.0)
    job = system.submit(steps=30, num_images=2)
    system.wait_drawing(job)
    own_s3_server.kill()
    waiting = system.wait_for(job, lambda now: now.status is JobStatus.QUEUED, "it waits again")
    assert (waiting.attempt, waiting.images) == (0, ())
    wait_until(lambda: spooled(system) == [], limit_s=LIMIT_S, what="its pictures go")
    own_s3_server.start()
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, ended.version) == (JobStatus.SUCCEEDED, 1, 5)
    assert worker.stop() == 0


def test_a_worker_that_stops_while_its_pictures_wait_hands_their_job_back_and_leaves_no_file(
    system: System, own_s3_server: S3Server
) -> None:
    worker = system.ready_worker(drain_s=0.5)
    job = system.submit(steps=30, num_images=2)
    system.wait_drawing(job)
    own_s3_server.kill()
    wait_until(lambda: len(spooled(system)) == 2, limit_s=LIMIT_S, what="the pictures wait")
    assert worker.stop() == 0
    assert (system.read(job).status, system.read(job).attempt) == (JobStatus.QUEUED, 0)
    assert list(system.spool.iterdir()) == []


def test_pictures_that_waited_on_the_disk_of_a_killed_worker_are_drawn_again(
    system: System, own_s3_server: S3Server
) -> None:
    killed = system.ready_worker()
    job = system.submit(steps=30, num_images=2)
    system.wait_drawing(job)
    own_s3_server.kill()
    wait_until(lambda: len(spooled(system)) == 2, limit_s=LIMIT_S, what="the pictures wait")
    killed.kill()
    own_s3_server.start()
    system.ready_worker()
    assert spooled(system) == []
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, len(ended.images)) == (JobStatus.SUCCEEDED, 2, 2)


def test_pictures_that_a_full_disk_does_not_take_wait_in_memory(system: System, own_s3_server: S3Server) -> None:
    can_mount = shutil.which("unshare") is not None and not subprocess.call(
        (*ON_A_SMALL_DISK, "true"),
        env=os.environ | {"DARKROOM_SPOOL": str(system.spool)},
        stderr=subprocess.DEVNULL,
    )
    if not can_mount:  # a full disk is a real, small one, mounted for the worker: no write is made to fail by hand
        pytest.skip("a disk that is full needs `unshare` and leave to mount one: run as root on Linux")
    worker = system.ready_worker((*ON_A_SMALL_DISK, *WORKER))
    job = system.submit(steps=30, num_images=8)
    system.wait_drawing(job)
    own_s3_server.kill()
    drawn = system.wait_for(job, lambda now: now.step == now.steps, "all pictures are drawn")
    wait_until(lambda: "No space left on device" in worker.log, limit_s=LIMIT_S, what="the disk is full")
    time.sleep(2 * LEASE_S)
    assert 0 < len(spooled_of(system, worker)) < 8
    assert (system.read(job).status, system.read(job).version) == (JobStatus.RUNNING, drawn.version)
    assert worker.log.count("they wait in memory") == 1
    own_s3_server.start()
    assert_drawn_once(system, job)
    wait_until(lambda: spooled_of(system, worker) == [], limit_s=LIMIT_S, what="the disk is free")
    assert worker.stop() == 0
