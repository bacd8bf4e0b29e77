"""One gateway for each module of these tests, whose jobs are drawn as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.app import create_app
from shared.settings import Settings
from tests.contract.asking import Operation, operations_of
from tests.contract.stage import stage
from tests.integration.serving import Serving
from tests.servers import RedisServer, S3Server

DOCUMENT = create_app(Settings()).openapi()


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with stage(redis_server, s3_server) as served:
        yield served


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    return DOCUMENT


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes an `operation` once for each of the document's."""
    if "operation" in metafunc.fixturenames:
        operations: list[Operation] = operations_of(DOCUMENT)
        metafunc.parametrize("operation", operations, ids=str)
