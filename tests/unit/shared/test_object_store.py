"""The object store against a real S3 server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from shared.errors import ImageNotFound, StoreUnavailable
from shared.object_store import CHUNK_BYTES, ObjectStore, is_refusal
from shared.settings import Settings
from tests.conftest import settings_for
from tests.servers import RedisServer, S3Server

DATA = os.urandom(CHUNK_BYTES * 2 + 1)


@pytest.fixture
def s3_settings(redis_server: RedisServer, s3_server: S3Server) -> Settings:
    return settings_for(redis_server, s3_server)


@pytest.fixture
def store(s3_settings: Settings) -> Iterator[ObjectStore]:
    one = ObjectStore.from_settings(s3_settings)
    one.ensure_bucket()
    yield one
    one.close()


class TestObjects:
    def test_what_was_put_comes_back(self, store: ObjectStore) -> None:
        store.put("images/a/0.png", DATA, "image/png")

        assert store.get("images/a/0.png") == DATA

    def test_in_chunks_too(self, store: ObjectStore) -> None:
        store.put("a.png", DATA, "image/png")

        with store.open("a.png") as found:
            chunks = list(found)

        assert found.num_bytes == len(DATA)
        assert b"".join(chunks) == DATA
        assert max(map(len, chunks)) <= CHUNK_BYTES

    def test_a_second_attempt_replaces_the_first(self, store: ObjectStore) -> None:
        store.put("a.png", b"one", "image/png")
        store.put("a.png", b"two", "image/png")

        assert store.get("a.png") == b"two"

    def test_a_reader_that_goes_away_leaves_its_connection_free(self, store: ObjectStore) -> None:
        store.put("a.png", DATA, "image/png")

        for _ in range(40):
            store.open("a.png").close()

        assert store.get("a.png") == DATA

    def test_what_is_deleted_is_gone_and_twice_is_fine(self, store: ObjectStore) -> None:
        store.put("a.png", b"one", "image/png")

        store.delete(["a.png", "never.png"])
        store.delete(["a.png"])

        with pytest.raises(ImageNotFound):
            store.get("a.png")

    def test_many_threads_share_one(self, store: ObjectStore) -> None:
        def put_and_get(number: int) -> bytes:
            store.put(f"{number}.png", str(number).encode(), "image/png")
            return store.get(f"{number}.png")

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(put_and_get, range(24))) == [str(number).encode() for number in range(24)]


class TestBucket:
    def test_it_is_made_once_by_many_at_once(self, s3_settings: Settings) -> None:
        stores = [ObjectStore.from_settings(s3_settings) for _ in range(4)]

        with pytest.raises(StoreUnavailable, match="Create it") as caught:
            stores[0].put("a.png", DATA, "image/png")
        assert not is_refusal(caught.value)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(ObjectStore.ensure_bucket, stores))
        stores[0].ensure_bucket()

        for store in stores:
            store.put("a.png", DATA, "image/png")
            store.close()


class TestPresignedUrls:
    def test_whoever_holds_one_may_read(self, store: ObjectStore, s3_settings: Settings, s3_server: S3Server) -> None:
        public = s3_server.endpoint.replace("127.0.0.1", "localhost")
        signer = ObjectStore.from_settings(s3_settings.model_copy(update={"s3_public_endpoint": public}))
        store.put("a.png", DATA, "application/octet-stream")

        url = signer.presigned_url("a.png", media_type="image/png", disposition="inline", expires_s=60)

        assert url.startswith(f"{public}/{s3_settings.s3_bucket}/a.png?")
        answer = httpx2.get(url, trust_env=False)
        assert answer.content == DATA
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == "inline"

    def test_nobody_else_may(self, store: ObjectStore) -> None:
        store.put("a.png", DATA, "image/png")
        url = store.presigned_url("a.png", media_type="image/png", disposition="inline", expires_s=60)

        assert httpx2.get(url.split("?")[0], trust_env=False).status_code in {400, 403}
        assert httpx2.get(url.replace("a.png", "b.png"), trust_env=False).status_code == 403


class TestTrouble:
    def test_a_wrong_key_is_told_with_the_setting_to_look_at(self, store: ObjectStore, s3_settings: Settings) -> None:
        del store
        stranger = ObjectStore.from_settings(s3_settings.model_copy(update={"s3_secret_key": SecretStr("wrong")}))

        for ask in (stranger.ensure_bucket, lambda: stranger.put("a", b"", "image/png")):
            with pytest.raises(StoreUnavailable, match="DARKROOM_S3_SECRET_KEY") as caught:
                ask()
            assert is_refusal(caught.value)

    def test_a_store_that_is_away_and_comes_back(self, redis_server: RedisServer, tmp_path: Path) -> None:
        with S3Server(tmp_path / "s3") as server:
            store = ObjectStore.from_settings(settings_for(redis_server, server))
            store.ensure_bucket()
            store.put("a.png", DATA, "image/png")
            server.kill()
            for ask in (
                store.ensure_bucket,
                lambda: store.put("b.png", DATA, "image/png"),
                lambda: store.get("a.png"),
                lambda: store.delete(["a.png"]),
            ):
                with pytest.raises(StoreUnavailable, match="does not answer") as caught:
                    ask()
                assert not is_refusal(caught.value)

            server.start()

            assert store.get("a.png") == DATA

    def test_the_question_for_the_bucket_to_a_store_that_hangs_ends_in_time(self, s3_settings: Settings) -> None:
        """192.0.2.0/24 is for documentation: nothing answers there, or the network says so at once."""
        away = ObjectStore.from_settings(s3_settings.model_copy(update={"s3_endpoint": "http://192.0.2.1:9000"}))
        began = time.monotonic()

        with pytest.raises(StoreUnavailable):
            away.ensure_bucket()

        assert time.monotonic() - began < 6
