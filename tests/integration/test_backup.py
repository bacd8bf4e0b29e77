"""The drill of docs/operations/backup.md: copies of Redis and the store are taken, both are lost, the copies put back.

What was accepted before the copy goes on as if nothing had happened; what came after it is gone, but for its pictures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_py

from api.orphans import Found, Search
from shared.connection import connect
from shared.contract import JobBody
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.keyholders import bearer, guarded, make_key
from tests.integration.serving import Hand, Serving
from tests.servers import RedisServer, S3Server, wait_until

MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\n"
"""As the page has it: the copy is the first file of a new log."""


@pytest.fixture
def redis(own_redis_server: RedisServer) -> RedisServer:
    return own_redis_server


@pytest.fixture
def gateway(redis: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    with guarded(settings_for(redis, s3_server), lease_s=2.0) as served:
        yield served


@pytest.fixture
def hand(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings) as worker:
        yield worker


def saved_at(client: redis_py.Redis) -> datetime:
    return client.lastsave()  # pyright: ignore[reportUnknownMemberType]: **kwargs


def copy_of(redis: RedisServer, settings: Settings, folder: Path) -> Path:
    """Have Redis write all that it holds into one file while it serves, and take that away."""
    with connect(settings) as client:
        before = saved_at(client)
        time.sleep(1.1)  # LASTSAVE counts in seconds
        client.bgsave()  # pyright: ignore[reportUnknownMemberType]: **kwargs
        wait_until(lambda: saved_at(client) != before, limit_s=20, what="the copy is written")
    folder.mkdir()
    return Path(shutil.copy(redis.folder / "dump.rdb", folder / "redis.rdb"))


def lose(redis: RedisServer) -> None:
    redis.kill()
    shutil.rmtree(redis.folder)


def put_back(redis: RedisServer, copy: Path) -> None:
    log = redis.folder / "appendonlydir"
    log.mkdir(parents=True)
    shutil.copy(copy, log / "appendonly.aof.1.base.rdb")
    (log / "appendonly.aof.manifest").write_text(MANIFEST)
    redis.start()


def draw(hand: Hand, data: bytes, *, lease_s: float = 30.0) -> str:
    """Work one job off: its id."""
    taken = hand.take(lease_s=lease_s)
    hand.draw(taken, 0, data)
    hand.finish(taken)
    return taken.job.id


def test_a_system_whose_redis_was_lost_goes_on_from_the_copy(
    gateway: Serving, hand: Hand, redis: RedisServer, tmp_path: Path
) -> None:
    key = make_key(gateway, "ann").key

    def submit(prompt: str, once: str = "") -> JobBody:
        headers = bearer(key) | ({"Idempotency-Key": once} if once else {})
        answer = gateway.http.post("/v1/jobs", json={"prompt": prompt}, headers=headers)
        assert answer.status_code == 202, answer.text
        return JobBody.model_validate_json(answer.content)

    def read(job: JobBody) -> JobBody:
        return JobBody.model_validate_json(gateway.http.get(job.urls.get, headers=bearer(key)).content)

    done = submit("done", once="a-key")
    assert draw(hand, b"a picture") == done.id
    running = submit("running")
    assert hand.take(lease_s=2.0).job.id == running.id
    waiting = [submit(f"waits {number}") for number in range(3)]
    copy = copy_of(redis, gateway.settings, tmp_path / "copy")
    later = submit("after the copy")

    lose(redis)
    assert gateway.http.get(done.urls.get, headers=bearer(key)).status_code == 503
    put_back(redis, copy)
    wait_until(lambda: answers(gateway, key), limit_s=20, what="the gateway finds Redis again, and its key in it")

    assert read(done).status == "succeeded"
    assert gateway.http.get(f"{done.urls.get}/images/0", headers=bearer(key)).content == b"a picture"
    assert submit("done", once="a-key").id == done.id
    assert gateway.http.get(later.urls.get, headers=bearer(key)).status_code == 404
    wait_until(lambda: read(running).status == "queued", limit_s=20, what="the job whose worker is gone waits again")
    assert sorted(draw_all(hand, 4)) == sorted(job.id for job in (running, *waiting))
    assert {read(job).status for job in (running, *waiting)} == {"succeeded"}


def rclone(settings: Settings, *words: str) -> None:
    """Run rclone as the page has it, with the store as `store:`."""
    assert settings.s3_endpoint
    assert settings.s3_access_key
    assert settings.s3_secret_key
    environment = {
        "PATH": os.environ["PATH"],
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": settings.s3_endpoint,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": settings.s3_access_key.get_secret_value(),
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
    }
    binary = Path(sysconfig.get_path("scripts")) / "rclone"
    subprocess.run([binary, "--config", "", *words], check=True, timeout=60, env=environment)


def test_a_store_that_was_lost_is_filled_from_its_copy(redis: RedisServer, tmp_path: Path) -> None:
    with (
        S3Server(tmp_path / "s3") as store,
        guarded(settings_for(redis, store)) as gateway,
        Hand(gateway.settings) as hand,
    ):
        settings = gateway.settings
        key = make_key(gateway, "ann").key
        job = JobBody.model_validate_json(
            gateway.http.post("/v1/jobs", json={"prompt": "a fox"}, headers=bearer(key)).content
        )
        draw(hand, b"a picture")
        rclone(settings, "copy", f"store:{settings.s3_bucket}", str(tmp_path / "pictures"))

        store.kill()
        shutil.rmtree(store.folder)
        store.start()
        picture = f"{job.urls.get}/images/0"
        wait_until(
            lambda: gateway.http.get(picture, headers=bearer(key)).status_code == 404,
            limit_s=20,
            what="the store is there again, and has no such picture",
        )
        rclone(settings, "copy", str(tmp_path / "pictures"), f"store:{settings.s3_bucket}")
        wait_until(
            lambda: gateway.http.get(picture, headers=bearer(key)).content == b"a picture",
            limit_s=20,
            what="the picture is there again",
        )


def test_the_store_may_be_copied_after_redis_and_what_redis_does_not_know_is_found(
    gateway: Serving, hand: Hand, redis: RedisServer, tmp_path: Path
) -> None:
    key = make_key(gateway, "ann").key
    copy = copy_of(redis, gateway.settings, tmp_path / "copy")
    assert gateway.http.post("/v1/jobs", json={"prompt": "later"}, headers=bearer(key)).status_code == 202
    draw(hand, b"nobody's")

    lose(redis)
    put_back(redis, copy)

    with connect(gateway.settings) as queue:
        store = ObjectStore.from_settings(gateway.settings)
        search = Search(queue, store, stored_before=datetime.now(tz=UTC) + timedelta(minutes=5))
        assert search.count() == Found(orphans=1, num_bytes=8)
        assert search.delete() == 1


def answers(gateway: Serving, key: str) -> bool:
    return gateway.http.get("/v1/jobs", headers=bearer(key)).is_success


def draw_all(hand: Hand, number: int) -> list[str]:
    return [draw(hand, b"another") for _ in range(number)]
