"""What a worker shows to probes on its own machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.connection import connect
from shared.contract import WorkerState
from shared.errors import QueueUnavailable
from tests.conftest import settings_for
from tests.integration.serving import CARD
from tests.servers import RedisServer
from worker.duty import Duty
from worker.heartbeat import Heartbeat


class Worker:
    """As much of one as beats."""

    def __init__(self, server: RedisServer, file: Path) -> None:
        settings = settings_for(server).model_copy(update={"state_file": file})
        self.state = "warming"
        self.client = connect(settings)
        self.heartbeat = Heartbeat(
            self.client, settings, Duty(), card=CARD, state=self.say, on_hung=lambda: pytest.fail("it does not hang")
        )

    def say(self) -> WorkerState:
        said = {"id": "w", "state": self.state, "model": CARD.id, "device": "cpu"}
        return WorkerState.model_validate({**said, "software_version": "0", "started_at_ms": 0})


def test_its_file_says_how_it_is_with_each_heartbeat(redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "state"
    worker = Worker(redis_server, file)
    with worker.client:
        for state in ("warming", "ready", "draining"):
            worker.state = state
            worker.heartbeat.beat()
            assert file.read_text() == f"{state}\n"


def test_it_shows_that_it_lives_while_redis_is_away(own_redis_server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "state"
    worker = Worker(own_redis_server, file)
    with worker.client:
        own_redis_server.kill()
        worker.state = "ready"
        with pytest.raises(QueueUnavailable):
            worker.heartbeat.beat()
        assert file.read_text() == "ready\n"


def test_a_file_that_can_not_be_written_does_not_keep_it_from_work(redis_server: RedisServer, tmp_path: Path) -> None:
    worker = Worker(redis_server, tmp_path / "nowhere" / "state")
    with worker.client:
        worker.heartbeat.beat()
        worker.heartbeat.beat()
