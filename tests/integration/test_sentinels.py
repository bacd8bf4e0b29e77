"""How often sentinels are asked: once by a burst of connections, and at once by whoever has lost one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final

import pytest
from pydantic import SecretStr

from deploy.keys import new_key
from shared import scripts
from shared.connection import connect, connect_async, run, run_async
from shared.errors import QueueUnavailable
from shared.settings import Settings
from tests.servers import RedisServer
from tests.watched import NAME, SentinelServer, asker

LONG_S: Final = 3600.0
MANY: Final = 10


@pytest.fixture
def sentinel(own_redis_server: RedisServer, tmp_path: Path) -> Iterator[SentinelServer]:
    with SentinelServer(tmp_path / "sentinel", own_redis_server.port, own_redis_server.password, new_key()) as one:
        yield one


@pytest.fixture
def settings(own_redis_server: RedisServer, sentinel: SentinelServer) -> Settings:
    login = f":{own_redis_server.password}@127.0.0.1:{sentinel.port}"
    return Settings(redis_url=SecretStr(f"redis+sentinel://{login}/{NAME}/0?sentinel_password={sentinel.password}"))


@final
class Questions:
    """Counts what a sentinel is asked: each question comes by a connection of its own, and so does each look."""

    def __init__(self, sentinel: SentinelServer) -> None:
        self._sentinel = sentinel
        self._seen = self._connections()

    def since(self) -> int:
        """How many have come since this was asked last."""
        before, self._seen = self._seen, self._connections()
        return self._seen - before - 1

    def _connections(self) -> int:
        with asker(self._sentinel.port, self._sentinel.password) as client:
            return client.info("stats")["total_connections_received"]  # pyright: ignore[reportUnknownMemberType]


def lose_all(server: RedisServer) -> None:
    with asker(server.port, server.password) as operator:
        operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # pyright: ignore[reportUnknownMemberType]


def test_threads_that_connect_together_ask_once_and_again_after_a_loss(
    settings: Settings, sentinel: SentinelServer, own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sentinels.REMEMBER_S", LONG_S)
    questions = Questions(sentinel)
    with connect(settings) as client, ExitStack() as held:
        each = [held.enter_context(client.client()) for _ in range(MANY)]
        for one in each:
            run(one, scripts.fleet())
        together = questions.since()
        lose_all(own_redis_server)
        run(each[0], scripts.fleet())

        assert (together, questions.since()) == (1, 1)


def test_a_loop_asks_once_and_again_after_a_loss(
    settings: Settings, sentinel: SentinelServer, own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sentinels.REMEMBER_S", LONG_S)
    questions = Questions(sentinel)

    async def main() -> tuple[int, int]:
        client = connect_async(settings)
        try:
            await run_async(client, scripts.fleet())
            await asyncio.gather(*(run_async(client, scripts.fleet()) for _ in range(MANY)))
            together = questions.since()
            lose_all(own_redis_server)
            await run_async(client, scripts.fleet())
            return together, questions.since()
        finally:
            await client.aclose()

    assert asyncio.run(main()) == (1, 1)


def test_an_answer_is_good_for_a_moment_alone(
    settings: Settings, sentinel: SentinelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sentinels.REMEMBER_S", 0.0)
    questions = Questions(sentinel)
    with connect(settings) as client, ExitStack() as held:
        for _ in range(3):
            run(held.enter_context(client.client()), scripts.fleet())

        assert questions.since() == 3


def test_who_was_not_reached_is_not_remembered(
    sentinel: SentinelServer, settings: Settings, own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sentinels.REMEMBER_S", LONG_S)
    with connect(settings) as client:
        run(client, scripts.fleet())
        own_redis_server.kill()
        questions = Questions(sentinel)
        for _ in range(2):
            with pytest.raises(QueueUnavailable):
                run(client, scripts.fleet())
            assert questions.since() > 0
