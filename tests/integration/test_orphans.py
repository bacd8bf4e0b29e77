"""Pictures of no job: which are found, which are deleted, and when that is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.orphans import Found, Search, refusal
from shared.connection import connect
from shared.errors import ImageNotFound
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

ORPHAN = "images/local/00000000000000000000000000/0.png"


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Serving]:
    with serving(settings.model_copy(update={"keep_finished_s": 3600})) as gateway:
        yield gateway


@pytest.fixture
def hand(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings) as hand:
        yield hand


def draw(gateway: Serving, hand: Hand, prompt: str, **fields: object) -> tuple[str, str]:
    """A job that succeeded with one picture: its id, and the picture's key."""
    job_id = gateway.http.post("/v1/jobs", json={"prompt": prompt, **fields}).json()["id"]
    taken = hand.take()
    assert taken.job.id == job_id
    key = hand.draw(taken, 0, b"a picture").key
    hand.finish(taken)
    return job_id, key


def count(settings: Settings, *, stored_before: datetime | None = None) -> Found:
    with connect(settings) as queue:
        soon = datetime.now(tz=UTC) + timedelta(minutes=5)
        store = ObjectStore.from_settings(settings)
        return Search(queue, store, stored_before=stored_before or soon).count()


def delete(settings: Settings) -> int:
    with connect(settings) as queue:
        soon = datetime.now(tz=UTC) + timedelta(minutes=5)
        return Search(queue, ObjectStore.from_settings(settings), stored_before=soon).delete()


def test_a_picture_without_a_job_is_found_and_deleted_and_all_others_stay(gateway: Serving, hand: Hand) -> None:
    _, kept = draw(gateway, hand, "a fox")
    hand.store.put(ORPHAN, b"nobody's", "image/png")
    hand.store.put("images/readme.txt", b"not ours", "text/plain")
    hand.store.put("other/file", b"not ours either", "text/plain")

    assert count(gateway.settings) == Found(owned=1, strange=1, orphans=1, num_bytes=8)
    assert delete(gateway.settings) == 1

    assert hand.store.get(kept) == b"a picture"
    assert hand.store.get("images/readme.txt") == b"not ours"
    assert hand.store.get("other/file") == b"not ours either"
    with pytest.raises(ImageNotFound):
        hand.store.get(ORPHAN)
    assert count(gateway.settings) == Found(owned=1, strange=1)


def test_what_was_stored_lately_is_left_alone(gateway: Serving, hand: Hand) -> None:
    hand.store.put(ORPHAN, b"nobody's", "image/png")

    assert count(gateway.settings, stored_before=datetime.now(tz=UTC) - timedelta(hours=1)) == Found(young=1)


def test_a_picture_that_another_job_shows_has_an_owner_though_its_own_was_deleted(gateway: Serving, hand: Hand) -> None:
    first, key = draw(gateway, hand, "a fox", seed=1)
    again = gateway.http.post("/v1/jobs", json={"prompt": "a fox", "seed": 1}).json()
    assert again["reused"]
    assert gateway.http.delete(f"/v1/jobs/{first}").is_success

    assert delete(gateway.settings) == 0
    assert hand.store.get(key) == b"a picture"


def test_a_running_jobs_picture_has_an_owner(gateway: Serving, hand: Hand) -> None:
    gateway.http.post("/v1/jobs", json={"prompt": "a fox", "num_images": 2})
    key = hand.draw(hand.take(), 0, b"a picture").key

    assert delete(gateway.settings) == 0
    assert hand.store.get(key) == b"a picture"


def test_more_pictures_than_a_page_of_the_store_are_all_looked_at(settings: Settings, s3_server: S3Server) -> None:
    ObjectStore.from_settings(settings).ensure_bucket()
    for number in range(1100):
        folder = s3_server.folder / settings.s3_bucket / "images" / "local" / f"{number:026d}"
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(b"x")

    wait_until(lambda: count(settings).orphans == 1100, limit_s=10, what="the store lists them")
    assert delete(settings) == 1100
    assert count(settings) == Found()


def test_a_redis_that_knows_no_picture_at_all_is_taken_for_the_wrong_one() -> None:
    assert "the right one" in (refusal(Found(orphans=3)) or "")
    assert refusal(Found(orphans=3, owned=1)) is None
    assert refusal(Found()) is None


def command(settings: Settings, redis: RedisServer, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "DARKROOM_REDIS_URL": redis.url,
        "DARKROOM_S3_ENDPOINT": settings.s3_endpoint or "",
        "DARKROOM_S3_BUCKET": settings.s3_bucket,
        "DARKROOM_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value() if settings.s3_access_key else "",
        "DARKROOM_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else "",
    }
    return subprocess.run(
        [sys.executable, "-m", "api.orphans", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[2],
    )


def test_the_command_counts_first_and_deletes_when_told_to(
    gateway: Serving, hand: Hand, redis_server: RedisServer
) -> None:
    draw(gateway, hand, "a fox")
    hand.store.put(ORPHAN, b"nobody's", "image/png")

    counted = command(gateway.settings, redis_server, "--older-than", "0")
    assert (counted.returncode, counted.stderr) == (0, "")
    assert counted.stdout.startswith("1 pictures of no job, 0.0 MiB\n1 of jobs that are there\n")
    assert hand.store.get(ORPHAN) == b"nobody's"

    assert command(gateway.settings, redis_server, "--delete", "--older-than", "0").stdout.endswith("\n1 deleted\n")
    with pytest.raises(ImageNotFound):
        hand.store.get(ORPHAN)


def test_the_command_deletes_nothing_while_redis_knows_no_job_unless_told_so(
    gateway: Serving, hand: Hand, redis_server: RedisServer
) -> None:
    _, key = draw(gateway, hand, "a fox")
    hand.forget_all()

    refused = command(gateway.settings, redis_server, "--delete", "--older-than", "0")
    assert refused.returncode == 1
    assert "Nothing was deleted. Redis knows none of the pictures' jobs." in refused.stderr
    assert hand.store.get(key) == b"a picture"

    assert command(gateway.settings, redis_server, "--delete", "--all", "--older-than", "0").stdout.endswith(
        "1 deleted\n"
    )


def test_the_command_says_what_is_wrong_and_exits_with_one(
    gateway: Serving, hand: Hand, own_redis_server: RedisServer
) -> None:
    hand.store.put(ORPHAN, b"nobody's", "image/png")
    own_redis_server.kill()
    failed = command(gateway.settings, own_redis_server, "--older-than", "0")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "The queue does not answer. Try again shortly.\n"
    assert command(gateway.settings, own_redis_server, "--older-than", "-1").returncode == 2
