"""Pictures over HTTP: through the gateway from a real S3 server, or by its presigned URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256

import httpx2
import pytest

from shared.contract import JobBody, Problem
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, free_port

PNG = b"\x89PNG" + os.urandom(700_000)


@pytest.fixture(scope="module")
def hand(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings) as worker:
        worker.forget_all()
        worker.arrive()
        yield worker


def drawn(gateway: Serving, hand: Hand, data: bytes = PNG, **fields: object) -> JobBody:
    """Submit a job and draw its first picture."""
    job = gateway.http.post("/v1/jobs", json={"prompt": "x", **fields}).raise_for_status().json()
    taken = hand.take()
    hand.draw(taken, 0, data)
    if taken.job.params.num_images == 1:
        hand.finish(taken)
    return JobBody.model_validate_json(gateway.http.get(job["urls"]["get"]).content)


class TestThroughTheGateway:
    def test_the_file_comes_as_it_was_stored(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand)

        response = gateway.http.get(job.images[0].url)

        assert response.content == PNG
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["Content-Length"] == str(len(PNG))
        assert response.headers["ETag"] == f'"{sha256(PNG).hexdigest()}"'
        assert response.headers["Content-Disposition"] == f'inline; filename="darkroom-{job.id}-0.png"'
        assert "immutable" in response.headers["Cache-Control"]
        assert "private" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(("output_format", "suffix"), [("jpeg", "jpg"), ("webp", "webp")])
    def test_other_formats_say_so(self, gateway: Serving, hand: Hand, output_format: str, suffix: str) -> None:
        job = drawn(gateway, hand, b"data", output_format=output_format)

        response = gateway.http.get(job.images[0].url)

        assert response.headers["Content-Type"] == f"image/{output_format}"
        assert response.headers["Content-Disposition"].endswith(f'-0.{suffix}"')

    def test_a_download_is_an_attachment(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand, b"data")

        response = gateway.http.get(job.images[0].url, params={"download": "1"})

        assert response.headers["Content-Disposition"].startswith("attachment; ")

    def test_head_tells_without_sending(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand, b"data")

        response = gateway.http.head(job.images[0].url)

        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["Content-Length"] == "4"
        assert response.headers["Content-Type"] == "image/png"

    @pytest.mark.parametrize("held", ["{}", "W/{}", '"other", {}', "*"])
    def test_what_the_reader_has_is_not_sent_again(self, gateway: Serving, hand: Hand, held: str) -> None:
        job = drawn(gateway, hand, b"data")
        tag = f'"{sha256(b"data").hexdigest()}"'

        response = gateway.http.get(job.images[0].url, headers={"If-None-Match": held.format(tag)})

        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["ETag"] == tag

    def test_another_tag_brings_the_file(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand, b"data")

        assert gateway.http.get(job.images[0].url, headers={"If-None-Match": '"other"'}).status_code == 200

    def test_many_readers_at_once(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand)

        for _ in range(3):
            with gateway.http.stream("GET", job.images[0].url) as left:
                assert next(left.iter_bytes(1000))
        assert gateway.http.get(job.images[0].url).content == PNG


class TestMissingPictures:
    def test_a_picture_that_is_not_drawn_yet(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand, b"data", num_images=2)

        first, second, third = (gateway.http.get(f"/v1/jobs/{job.id}/images/{index}") for index in range(3))

        assert first.status_code == 200
        assert (second.status_code, third.status_code) == (404, 404)
        assert "not finished yet" in Problem.model_validate_json(second.content).detail
        assert "0 to 1" in Problem.model_validate_json(third.content).detail

    def test_a_picture_that_the_store_has_lost(self, gateway: Serving, hand: Hand) -> None:
        job = drawn(gateway, hand, b"data")
        hand.store.delete([f"images/local/{job.id}/0.png"])

        response = gateway.http.get(job.images[0].url)

        assert response.status_code == 404
        assert Problem.model_validate_json(response.content).code == "image_not_found"
        assert "immutable" not in response.headers["Cache-Control"]

    @pytest.mark.parametrize("index", ["-1", "x", "1.5", "99999999999999999999"])
    def test_an_index_that_is_none(self, gateway: Serving, hand: Hand, index: str) -> None:
        job = drawn(gateway, hand, b"data")

        response = gateway.http.get(f"/v1/jobs/{job.id}/images/{index}")

        assert response.status_code == 422
        assert [error.field for error in Problem.model_validate_json(response.content).errors] == ["index"]

    def test_no_preview_before_the_first_step(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = gateway.http.post("/v1/jobs", json={"prompt": "x"}).json()

        response = gateway.http.get(job["urls"]["preview"])

        assert response.status_code == 404
        assert Problem.model_validate_json(response.content).code == "image_not_found"
        gateway.http.post(job["urls"]["cancel"])


class TestPresigned:
    def test_the_reader_is_sent_to_the_store(
        self, redis_server: RedisServer, s3_server: S3Server, hand: Hand, gateway: Serving
    ) -> None:
        job = drawn(gateway, hand)
        public = s3_server.endpoint.replace("127.0.0.1", "localhost")
        settings = gateway.settings.model_copy(update={"s3_public_endpoint": public})
        del redis_server
        with serving(settings) as served:
            response = served.http.get(job.images[0].url, params={"download": "true"})

            assert response.status_code == 307
            assert response.headers["Location"].startswith(
                f"{public}/{settings.s3_bucket}/images/local/{job.id}/0.png?"
            )
            assert response.headers["Cache-Control"] == "no-store"
            found = httpx2.get(response.headers["Location"], trust_env=False)
            assert found.content == PNG
            assert found.headers["Content-Type"] == "image/png"
            assert found.headers["Content-Disposition"] == f'attachment; filename="darkroom-{job.id}-0.png"'

    def test_who_wants_no_redirect_gets_the_file_and_head_needs_none(self, hand: Hand, gateway: Serving) -> None:
        job = drawn(gateway, hand)
        public = f"http://127.0.0.1:{free_port()}"
        with serving(gateway.settings.model_copy(update={"s3_public_endpoint": public})) as served:
            file = served.http.get(job.images[0].url, params={"redirect": "false"})
            head = served.http.head(job.images[0].url)

        assert (file.status_code, file.content) == (200, PNG)
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(PNG)))
