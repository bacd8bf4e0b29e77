"""Fixtures for all tests: real servers, settings that point to them.

`redis_server` and `s3_server` are started once a run, and emptied for each test that asks for
`settings`. A test that kills or freezes its Redis takes `own_redis_server`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from pydantic import SecretStr

from shared.connection import connect
from shared.settings import Settings
from tests.servers import RedisServer, S3Server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def settings_for(redis_server: RedisServer, s3_server: S3Server | None = None) -> Settings:
    """Settings of a system on these servers, with a bucket of its own."""
    settings = Settings(redis_url=SecretStr(redis_server.url))
    if s3_server is None:
        return settings
    return settings.model_copy(
        update={
            "s3_endpoint": s3_server.endpoint,
            "s3_bucket": f"test-{uuid4().hex}",
            "s3_access_key": SecretStr(s3_server.access_key),
            "s3_secret_key": SecretStr(s3_server.secret_key),
        }
    )


@pytest.fixture
def redis_settings(redis_server: RedisServer) -> Settings:
    """Settings with an empty Redis and no object store."""
    settings = settings_for(redis_server)
    with connect(settings) as client:
        client.flushall()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    return settings


@pytest.fixture
def settings(redis_settings: Settings, redis_server: RedisServer, s3_server: S3Server) -> Settings:
    """Settings with an empty Redis and a bucket's name that nobody has used."""
    del redis_settings
    return settings_for(redis_server, s3_server)


@pytest.fixture
def queue(redis_settings: Settings) -> Iterator[redis.Redis]:
    """A connection to an empty Redis."""
    with connect(redis_settings) as client:
        yield client
