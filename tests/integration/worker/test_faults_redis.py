"""A Redis that freezes or crashes: nothing that it has acknowledged is lost, and no job pays for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from shared import scripts
from shared.connection import connect
from shared.jobs import JobStatus
from tests.conftest import settings_for
from tests.desk import Desk
from tests.integration.worker.faults import FaultyWorker, frozen
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import RedisServer, wait_until
from worker.sweeper import Sweeper

pytestmark = pytest.mark.timeout(900)  # a worker imports torch

LEASE_S = 2.0


@contextmanager
def gateway_sweeping(system: System) -> Generator[None]:
    """Sweep as a gateway does beside the workers."""
    sweeper = Sweeper(system.client, system.settings, system.wake_ups)
    sweeper.start()
    try:
        yield
    finally:
        sweeper.close()


@pytest.mark.parametrize("leases", [0.9, 1.5])
def test_the_first_sweep_after_a_freeze_takes_no_lease_that_nobody_could_renew(
    own_redis_server: RedisServer, leases: float
) -> None:
    with connect(settings_for(own_redis_server)) as client:
        desk = Desk(client)
        desk.reap(lease_s=LEASE_S)
        job = desk.submit()
        lease = desk.claim(lease_s=LEASE_S).lease
        time.sleep(LEASE_S / 4)
        desk.reap(lease_s=LEASE_S)
        with frozen(own_redis_server, leases * LEASE_S):
            pass
        swept = desk.reap(lease_s=LEASE_S)
        assert (swept.requeued, desk.read(job).status) == ((), JobStatus.RUNNING)
        assert desk(scripts.renew([lease], lease_s=LEASE_S)) == frozenset()


def test_a_holder_that_is_dead_loses_its_lease_soon_after_a_freeze(own_redis_server: RedisServer) -> None:
    with connect(settings_for(own_redis_server)) as client:
        desk = Desk(client)
        desk.reap(lease_s=LEASE_S)
        job = desk.submit()
        desk.claim(lease_s=LEASE_S)
        desk.reap(lease_s=LEASE_S)
        with frozen(own_redis_server, 2 * LEASE_S):
            pass
        thawed_at = time.monotonic()
        wait_until(lambda: job.id in desk.reap(lease_s=LEASE_S).requeued, limit_s=LIMIT_S, what="the job waits again")
        assert time.monotonic() - thawed_at < 3 * LEASE_S


@pytest.mark.parametrize("leases", [0.8, 0.95, 1.6])
def test_a_running_job_is_not_charged_for_a_redis_that_freezes(
    own_redis_server: RedisServer, system_on: Callable[[RedisServer], System], tmp_path: Path, leases: float
) -> None:
    system = system_on(own_redis_server)
    worker = FaultyWorker(system, tmp_path / "faulty")
    worker.child.wait_ready()
    job = system.submit(steps=100)
    system.wait_drawing(job)
    worker.hold()
    with gateway_sweeping(system):
        with frozen(own_redis_server, leases * system.settings.lease_s):
            pass
        time.sleep(1.5 * system.settings.lease_s)  # what was not renewed would be taken by now
        worker.go_on()
        ended = system.wait_ended(job)
    assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 1)
    assert ended.version == 3  # submitted, claimed, finished: it went back to nobody's queue
    assert system.wait_ended(system.submit()).status is JobStatus.SUCCEEDED


def test_every_job_that_was_accepted_before_a_crash_of_redis_is_drawn_once(
    own_redis_server: RedisServer, system_on: Callable[[RedisServer], System], tmp_path: Path
) -> None:
    system = system_on(own_redis_server)
    worker = FaultyWorker(system, tmp_path / "faulty")
    worker.child.wait_ready()
    running = system.submit(steps=100)
    system.wait_drawing(running)
    worker.hold()
    waiting = [system.submit() for _ in range(5)]
    own_redis_server.kill()
    with pytest.raises(redis.RedisError):
        system.client.ping()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    own_redis_server.start()
    worker.go_on()
    with gateway_sweeping(system):
        for ended in map(system.wait_ended, (running, *waiting)):
            assert (ended.status, ended.attempt, ended.version) == (JobStatus.SUCCEEDED, 1, 3)
