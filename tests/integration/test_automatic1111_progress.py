"""How an AUTOMATIC1111 client sees its job's progress, and interrupts it."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.integration.artist import STUDIO_CARD, Artist
from tests.integration.serving import Hand, Serving
from tests.integration.web_ui import WebUi, web_ui
from tests.servers import wait_until


@pytest.fixture(scope="module")
def worker(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, STUDIO_CARD) as one:
        yield one


@pytest.fixture
def client(gateway: Serving, hand: Hand) -> WebUi:
    del hand
    return web_ui(gateway)


def jobs(gateway: Serving) -> list[dict[str, Any]]:
    return gateway.http.get("/v1/jobs").json()["data"]


@contextmanager
def asked(client: WebUi, **fields: object) -> Generator[list[object]]:
    """Ask in a thread; what came of it is there when the block has ended."""
    came: list[object] = []

    def ask() -> None:
        try:
            came.append(client.txt2img(prompt="a red cube", **fields))
        except RuntimeError as error:
            came.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield came
    finally:
        thread.join(20)
        assert not thread.is_alive()


class TestProgress:
    def test_nothing_goes_on(self, client: WebUi) -> None:
        said = client.get_progress()

        assert (said["progress"], said["eta_relative"], said["state"]["job_count"]) == (0, 0, 0)
        client.util_wait_for_ready(0.01)

    def test_it_tells_of_the_callers_job_with_a_sketch(self, gateway: Serving, client: WebUi, hand: Hand) -> None:
        with asked(client, steps=4) as came:
            wait_until(lambda: client.get_progress()["state"]["job_count"] == 1, limit_s=20, what="it waits")
            assert client.get_progress()["progress"] == 0
            with Artist(hand) as artist:
                artist.may_go_on.clear()
                wait_until(lambda: client.get_progress()["progress"] > 0, limit_s=20, what="it runs")
                said = client.get_progress()
                bare = gateway.http.get("/sdapi/v1/progress?skip_current_image=true").json()
                artist.may_go_on.set()
                wait_until(lambda: bool(came), limit_s=20, what="it has ended")

        assert (said["progress"], said["state"]["sampling_step"], said["state"]["sampling_steps"]) == (0.25, 1, 4)
        assert said["state"]["job"] == jobs(gateway)[0]["id"]
        assert Image.open(io.BytesIO(base64.b64decode(said["current_image"]))).format == "JPEG"
        assert bare["current_image"] is None

    def test_jobs_that_came_another_way_are_not_its_affair(self, gateway: Serving, client: WebUi, hand: Hand) -> None:
        gateway.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status()
        hand.take()

        assert client.get_progress()["state"]["job_count"] == 0


class TestInterrupt:
    def test_it_ends_the_callers_jobs_of_this_dialect_alone(self, gateway: Serving, client: WebUi, hand: Hand) -> None:
        other = gateway.http.post("/v1/jobs", json={"prompt": "x"}).json()["id"]
        hand.take()
        with asked(client) as came:
            wait_until(lambda: client.get_progress()["state"]["job_count"] == 1, limit_s=20, what="it waits")
            assert client.interrupt() == {}
            wait_until(lambda: bool(came), limit_s=20, what="the caller is told")

        assert "job_canceled" in str(came[0])
        assert {job["id"]: job["status"] for job in jobs(gateway)}[other] == "running"

    def test_who_hangs_up_cancels_the_job(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with pytest.raises(httpx2.ReadTimeout):
            gateway.http.post("/sdapi/v1/txt2img", json={"prompt": "x"}, timeout=0.5)

        wait_until(lambda: [job["status"] for job in jobs(gateway)] == ["canceled"], limit_s=20, what="it ends")
