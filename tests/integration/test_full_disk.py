"""The drill of docs/operations/backup.md: Redis' disk is full. Nothing is accepted, and nothing that was is lost."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.contract import JobBody, Problem
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

MIB = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder))
    with suppress(FileNotFoundError):
        if not subprocess.call(mount, stderr=subprocess.DEVNULL):
            yield folder
            subprocess.check_call(["umount", str(folder)])
            return
    pytest.skip("a disk that is full needs leave to mount one: run as root on Linux")


@pytest.fixture
def redis(small_disk: Path, tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(small_disk / "redis", log=tmp_path / "valkey.log") as server:
        yield server


@pytest.fixture
def gateway(redis: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with serving(settings_for(redis, s3_server)) as served:
        yield served


def fill(disk: Path) -> Path:
    """Leave no byte of it."""
    junk = disk / "junk"
    with junk.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return junk


def test_on_a_full_disk_nothing_is_accepted_and_nothing_that_was_is_lost(
    gateway: Serving, redis: RedisServer, small_disk: Path, tmp_path: Path
) -> None:
    def submit() -> JobBody | Problem:
        answer = gateway.http.post("/v1/jobs", json={"prompt": "a fox " * 200})
        if answer.status_code == 503:
            return Problem.model_validate_json(answer.content)
        return JobBody.model_validate_json(answer.content)

    def is_accepted(job: JobBody) -> bool:
        return gateway.http.get(job.urls.get).is_success

    accepted: list[JobBody] = []
    with Hand(gateway.settings):
        accepted += [said for said in (submit() for _ in range(5)) if isinstance(said, JobBody)]
        assert len(accepted) == 5
        junk = fill(small_disk)
        for _ in range(100):  # the file that Redis writes may have some room left
            said = submit()
            if isinstance(said, Problem):
                break
            accepted.append(said)
        else:
            pytest.fail("a full disk took a hundred jobs")
        assert said.code == "queue_unavailable"
        assert "Can't recover from AOF write error" in (tmp_path / "valkey.log").read_text()

        junk.unlink()
        redis.kill()
        redis.start()
        wait_until(lambda: is_accepted(accepted[0]), limit_s=20, what="the gateway finds Redis again")
        assert all(map(is_accepted, accepted))
        assert isinstance(submit(), JobBody)
