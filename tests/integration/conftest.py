"""One gateway for each module of tests, one worker of hand's at it, and who asks there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.client import Client
from tests.conftest import settings_for
from tests.integration import keyholders
from tests.integration.command import Command
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with serving(settings_for(redis_server, s3_server)) as served:
        yield served


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings) as one:
        yield one


@pytest.fixture
def hand(worker: Hand) -> Hand:
    """The worker, ready, with nothing to do."""
    worker.forget_all()
    worker.arrive()
    return worker


@pytest.fixture(scope="module")
def client(gateway: Serving) -> Iterator[Client]:
    with Client(gateway.url) as one:
        yield one


@pytest.fixture(scope="module")
def guarded(gateway: Serving) -> Iterator[Serving]:
    """A gateway that asks for keys, on the same queue."""
    with keyholders.guarded(gateway.settings) as served:
        yield served


@pytest.fixture
def darkroom(gateway: Serving, hand: Hand, tmp_path: Path) -> Command:
    """The command, in a folder of its own."""
    del hand
    return Command(gateway, tmp_path)
