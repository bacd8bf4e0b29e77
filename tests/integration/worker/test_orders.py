"""Worker processes under the operators' orders: they pause, drain and go on, and no job is lost or forgotten."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.jobs import JobStatus, WorkerId
from shared.keys import queue_of
from shared.scripts import Mode
from tests.integration.worker.system import LIMIT_S, System, WorkerProcess
from tests.servers import wait_until

pytestmark = pytest.mark.timeout(900)  # workers import torch


def id_of(system: System, worker: WorkerProcess) -> WorkerId:
    ids = (WorkerId(state.id) for state in system(scripts.fleet()).workers)
    return next(worker_id for worker_id in ids if f"-{worker.process.pid}-" in worker_id)


def tell(system: System, mode: Mode, *hearers: WorkerProcess, worker: WorkerId | None = None) -> None:
    """Give an order, and wait until it is heard."""
    before = [hearer.log.count("told by the operators") for hearer in hearers]
    system(scripts.direct(mode, worker))
    for hearer, count in zip(hearers, before, strict=True):
        wait_until(lambda: hearer.log.count("told by the operators") > count, limit_s=LIMIT_S, what=f"{mode} is heard")  # noqa: B023 (called at once)


def is_subscribed(system: System) -> bool:
    clients = system.client.client_list()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    return any(int(client["sub"]) + int(client["psub"]) > 0 for client in clients)


def wait_left_alone(system: System) -> None:
    """Wait until nobody takes wake-ups: then they pile up."""
    model = system.card.id

    def pile_up() -> bool:
        system.wake_ups.send(model)
        return system.client.llen(queue_of(model)) >= 5

    wait_until(pile_up, limit_s=LIMIT_S, what="wake-ups are left alone")


def test_a_paused_worker_ends_its_job_and_goes_on_when_told(system: System) -> None:
    worker = system.ready_worker()
    drawn = system.submit(steps=100)
    system.wait_drawing(drawn)
    waiting = system.submit()
    tell(system, Mode.PAUSED, worker, worker=id_of(system, worker))
    assert system.wait_ended(drawn).status is JobStatus.SUCCEEDED
    wait_left_alone(system)
    assert (system.read(waiting).status, system.read(waiting).attempt) == (JobStatus.QUEUED, 0)
    tell(system, Mode.WORK, worker, worker=id_of(system, worker))
    assert system.wait_ended(waiting).status is JobStatus.SUCCEEDED
    wait_until(lambda: system.client.llen(queue_of(system.card.id)) == 0, limit_s=LIMIT_S, what="no wake-up is left")
    # Its wake-up gets lost while it is paused: the sweep makes it good.
    tell(system, Mode.PAUSED, worker)
    waiting = system.submit(wake=False)
    wait_left_alone(system)
    system.client.delete(queue_of(system.card.id))
    tell(system, Mode.WORK, worker)
    assert system.wait_ended(waiting).attempt == 1
    assert worker.stop() == 0


def test_a_drained_worker_hands_its_job_back_and_stays(system: System) -> None:
    worker = system.ready_worker(drain_s=0)
    job = system.submit(steps=100, num_images=8)
    system.wait_drawing(job)
    tell(system, Mode.DRAINED, worker)
    waiting = system.wait_for(job, lambda now: now.status is JobStatus.QUEUED, "it is handed back")
    assert (waiting.attempt, waiting.position) == (0, 0)
    wait_until(lambda: system(scripts.fleet()).workers[0].jobs == 0, limit_s=LIMIT_S, what="it says that it has none")
    wait_left_alone(system)
    assert worker.process.poll() is None
    tell(system, Mode.WORK, worker)
    ended = system.wait_ended(job)
    assert (ended.status, ended.attempt) == (JobStatus.SUCCEEDED, 1)


def test_what_a_paused_worker_leaves_another_draws(system: System) -> None:
    paused, other = system.start_worker(), system.start_worker()
    paused.wait_ready()
    other.wait_ready()
    tell(system, Mode.PAUSED, paused, worker=id_of(system, paused))
    jobs = [system.submit(seed=seed) for seed in range(5)]
    assert {system.wait_ended(job).worker for job in jobs} == {id_of(system, other)}
    assert "claimed" not in paused.log
    assert system(scripts.fleet()).mode_of(id_of(system, paused)) is Mode.PAUSED


def test_a_worker_that_starts_while_all_are_paused_waits(system: System) -> None:
    system(scripts.direct(Mode.PAUSED))
    worker = system.ready_worker()
    job = system.submit()
    wait_left_alone(system)
    assert (system.read(job).status, system.read(job).attempt) == (JobStatus.QUEUED, 0)
    tell(system, Mode.WORK, worker)
    assert system.wait_ended(job).status is JobStatus.SUCCEEDED


def test_a_paused_worker_still_leaves_wake_ups_alone_after_redis_was_away(system: System) -> None:
    worker = system.ready_worker()
    tell(system, Mode.PAUSED, worker)
    wait_left_alone(system)
    for kind in ("normal", "pubsub"):
        system.client.client_kill_filter(_type=kind, skipme=True)  # pyright: ignore[reportUnknownMemberType]: **kwargs
    wait_until(lambda: "Connection to broker lost" in worker.log, limit_s=LIMIT_S, what="the connection is lost")
    # Celery listens for its own commands, and for wake-ups at the same time if it wants any.
    wait_until(lambda: is_subscribed(system), limit_s=LIMIT_S, what="the connection is back")
    job = system.submit()
    wait_left_alone(system)
    assert system.read(job).status is JobStatus.QUEUED
    tell(system, Mode.WORK, worker)
    assert system.wait_ended(job).status is JobStatus.SUCCEEDED
