"""What those who watch processes are told of a worker: by its own name, of the process that runs now."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr

import deploy
from deploy.health import has_heartbeat, takes_calls
from deploy.probe import has_warmed_up
from shared import scripts
from shared.connection import connect, run
from shared.contract import WorkerState
from shared.settings import Settings
from shared.worker_id import is_on_this_host, new_worker_id
from tests.servers import free_port, wait_until

OTHER_PID = 1
"""Never a test's own."""


def say(settings: Settings, state: Literal["warming", "ready", "draining"], worker: str) -> None:
    """Send a worker's heartbeat."""
    said = WorkerState(id=worker, state=state, model="m", device="cpu", software_version="0", started_at_ms=0)
    with connect(settings) as client:
        run(client, scripts.heartbeat(said, life_s=60))


def test_a_process_is_ready_when_its_worker_says_so_and_only_its_own(redis_settings: Settings) -> None:
    worker = new_worker_id()
    assert not has_warmed_up(redis_settings, os.getpid())

    say(redis_settings, "warming", worker)
    assert not has_warmed_up(redis_settings, os.getpid())

    say(redis_settings, "ready", worker)
    assert has_warmed_up(redis_settings, os.getpid())
    assert not has_warmed_up(redis_settings, OTHER_PID)


@pytest.mark.parametrize("state", ["warming", "ready", "draining"])
def test_a_container_is_healthy_while_its_worker_lives(
    redis_settings: Settings, state: Literal["warming", "ready", "draining"]
) -> None:
    say(redis_settings, state, "elsewhere-7-abc")
    assert has_heartbeat(redis_settings) == "No worker on this host has sent a heartbeat lately."

    say(redis_settings, state, new_worker_id())
    assert has_heartbeat(redis_settings) is None


def test_a_container_is_healthy_while_its_courier_takes_calls(
    redis_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(redis_settings) as client:
        run(client, scripts.attend("elsewhere-7-abc"))
        assert takes_calls(redis_settings) == "No courier on this host has sent a heartbeat lately."

        run(client, scripts.attend(new_worker_id()))
    assert takes_calls(redis_settings) is None
    monkeypatch.setattr("deploy.health.COURIER_LIFE_S", 0.1)
    wait_until(lambda: takes_calls(redis_settings) is not None, limit_s=5, what="it has fallen silent")


def test_each_image_of_ours_says_how_it_is_seen_to_be_well() -> None:
    stages = (Path(deploy.__file__).parent / "docker" / "Dockerfile").read_text().split("\nFROM base AS ")[1:]

    assert [stage.split()[0] for stage in stages] == ["gateway", "page", "courier", "worker"]
    for stage in stages:
        assert re.search(r'^HEALTHCHECK .* CMD \["python", "-m", "deploy.health", "[^"]+"\]$', stage, re.MULTILINE)


def test_without_redis_nothing_is_ready_and_a_sentence_says_so() -> None:
    nowhere = Settings(redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"))
    assert not has_warmed_up(nowhere, os.getpid())
    assert has_heartbeat(nowhere) == "The queue does not answer. Try again shortly."
    assert takes_calls(nowhere) == "The queue does not answer. Try again shortly."


def test_a_name_of_a_longer_process_id_is_another_process() -> None:
    host = new_worker_id().rpartition(f"-{os.getpid()}-")[0]
    assert is_on_this_host(f"{host}-12-abc", 12)
    assert not is_on_this_host(f"{host}-123-abc", 12)
