"""Workers that freeze, hang, die in the middle, or whose clocks jump: the job ends, and once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from shared.jobs import JobStatus
from shared.settings import Settings
from tests.integration.worker.faults import FaultyWorker, holder_first
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import S3Server, wait_until
from worker.app import EX_HUNG
from worker.sweeper import Sweeper

pytestmark = pytest.mark.timeout(900)  # two workers import torch

HOUR_S: Final = 3600.0
ONCE: Final = 3
"""The version of a job that was submitted, claimed and finished: each move raises it."""
TWICE: Final = ONCE + 2
"""Of one that was taken back and claimed again in between."""


def two_workers(system: System, folder: Path, **changes: object) -> tuple[FaultyWorker, FaultyWorker]:
    one, other = (FaultyWorker(system, folder / name, **changes) for name in ("one", "other"))
    one.child.wait_ready()
    other.child.wait_ready()
    return one, other


def test_a_worker_that_was_frozen_past_its_lease_changes_nothing_and_goes_on_with_new_work(
    system: System, tmp_path: Path
) -> None:
    workers = two_workers(system, tmp_path)
    job = system.submit(steps=100, num_images=4)
    frozen, heir = holder_first(system.wait_drawing(job), workers)
    heir.hold()
    frozen.freeze()
    running = system.wait_for(job, lambda now: heir.child.is_the_one(now.worker), "the other one has it")
    frozen.thaw()
    lost = f"canceled, or another's by now job={job.id}"
    wait_until(lambda: lost in frozen.child.log, limit_s=LIMIT_S, what="the frozen one drops the job")
    assert system.read(job) == running
    heir.go_on()
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, ended.version) == (JobStatus.SUCCEEDED, 2, TWICE)
    assert heir.child.is_the_one(ended.worker)
    assert heir.child.stop() == 0
    after = system.wait_ended(system.submit())
    assert (after.status, after.attempt) == (JobStatus.SUCCEEDED, 1)
    assert frozen.child.is_the_one(after.worker)


def test_a_worker_whose_step_hangs_ends_and_another_takes_its_job(system: System, tmp_path: Path) -> None:
    workers = two_workers(system, tmp_path, hung_step_s=4.0)
    job = system.submit(steps=100, num_images=4)
    hung, heir = holder_first(system.wait_drawing(job), workers)
    hung.hold()
    assert hung.child.process.wait(LIMIT_S) == EX_HUNG
    assert "no step in 4 s" in hung.child.log
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, ended.version) == (JobStatus.SUCCEEDED, 2, TWICE)
    assert heir.child.is_the_one(ended.worker)


def test_a_job_whose_worker_dies_in_the_third_picture_goes_on_with_the_third(
    system: System, s3_server: S3Server, tmp_path: Path
) -> None:
    workers = two_workers(system, tmp_path)
    job = system.submit(steps=100, num_images=4)
    two_kept = system.wait_for(job, lambda now: len(now.images) >= 2, "two pictures are kept")
    doomed, heir = holder_first(two_kept, workers)
    doomed.child.kill()
    kept = system.read(job).images
    assert [image.index for image in kept[:2]] == [0, 1]
    files = [s3_server.folder / system.settings.s3_bucket / image.key for image in kept]
    written_at = [file.stat().st_mtime_ns for file in files]
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt, ended.version) == (JobStatus.SUCCEEDED, 2, TWICE)
    assert ended.images[: len(kept)] == kept
    assert [file.stat().st_mtime_ns for file in files] == written_at
    assert f"claimed job={job.id} attempt=2 pictures={4 - len(kept)}" in heir.child.log


def test_leases_hold_while_a_workers_clock_jumps(system: System, settings: Settings, tmp_path: Path) -> None:
    worker = FaultyWorker(system, tmp_path / "faulty")
    worker.child.wait_ready()
    sweeper = Sweeper(system.client, settings, system.wake_ups)  # as a gateway's, whose clock is right
    sweeper.start()
    try:
        job = system.submit(steps=100)
        system.wait_drawing(job)
        worker.hold()
        for off_s in (HOUR_S, -HOUR_S):
            worker.set_clock(off_s)
            time.sleep(1.5 * settings.lease_s)
            assert (system.read(job).status, system.read(job).version) == (JobStatus.RUNNING, ONCE - 1)
        worker.go_on()
        ended = system.wait_ended(job)
        assert (ended.status, ended.attempt, ended.version) == (JobStatus.SUCCEEDED, 1, ONCE)
        after = system.wait_ended(system.submit())
        assert after.status is JobStatus.SUCCEEDED
        claimed = next(line for line in worker.child.log.splitlines() if f"claimed job={after.id}" in line)
        logged_at = datetime.fromisoformat(claimed.split()[0])
        assert abs((datetime.now(UTC) - logged_at).total_seconds() - HOUR_S) < HOUR_S / 2  # the clock did jump
    finally:
        sweeper.close()
