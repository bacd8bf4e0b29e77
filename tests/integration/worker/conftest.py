"""A system a test, or one for all tests of a module that leave its worker alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.worker.engines import SteadyEngine
from tests.integration.worker.system import System
from tests.integration.worker.workbench import Bench
from tests.servers import RedisServer, S3Server


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real class of pipeline with tiny random weights, for worker processes."""
    from tests.tiny_checkpoint import make_tiny_checkpoint  # noqa: PLC0415 (imports torch: seconds)

    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def system(settings: Settings, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[System]:
    """An empty queue and store; the test starts its workers itself."""
    made = System(settings, tiny_checkpoint, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(s3_server: S3Server, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with one ready worker, on a Redis of its own; no test may end it."""
    folder = tmp_path_factory.mktemp("served")
    with RedisServer(folder / "redis") as redis_server:
        made = System(settings_for(redis_server, s3_server), tiny_checkpoint, folder)
        try:
            made.ready_worker()
            yield made
        finally:
            made.close()


@pytest.fixture
def system_on(s3_server: S3Server, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Callable[[RedisServer], System]]:
    """Makes a system on a Redis that the test will hurt."""
    made: list[System] = []

    def make(server: RedisServer) -> System:
        made.append(System(settings_for(server, s3_server), tiny_checkpoint, tmp_path))
        return made[-1]

    yield make
    for system in made:
        system.close()


@pytest.fixture
def bench_of(settings: Settings) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(engine: SteadyEngine, **changes: object) -> Bench:
        bench = Bench(settings.model_copy(update={"max_batch": 1, **changes}), engine)
        benches.append(bench)
        if "s3_endpoint" not in changes:
            bench.store.ensure_bucket()
        return bench

    yield make
    for bench in benches:
        bench.close()
