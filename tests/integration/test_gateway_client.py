"""The Python client against a real gateway."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import httpx2
import pytest

from shared.client import Client
from shared.contract import JobBody, JobRequest
from shared.errors import (
    GatewayUnavailable,
    ImageNotFound,
    InvalidRequest,
    JobCanceled,
    JobNotFound,
    NoModel,
    OutOfMemory,
    QueueFull,
    QueueUnavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from shared.generation import Size
from shared.jobs import new_job_id
from tests.conftest import settings_for
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, free_port, wait_until


class Draws(threading.Thread):
    """Works one job off as soon as there is one: two steps, then its pictures."""

    def __init__(self, client: Client, hand: Hand) -> None:
        super().__init__()
        self._client = client
        self._hand = hand

    def run(self) -> None:
        wait_until(lambda: bool(self._client.jobs().data), limit_s=20, what="a job was submitted")
        taken = self._hand.take()
        self._hand.show(taken, 1, b"\xff\xd8")
        for index in range(taken.job.params.num_images):
            self._hand.draw(taken, index, f"picture {index}".encode())
        self._hand.finish(taken)


class Interrupted(httpx2.HTTPTransport):
    """Loses the first requests to the paths that a pattern fits."""

    def __init__(self, pattern: str, times: int) -> None:
        super().__init__()
        self._pattern = pattern
        self.left = times

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.left and re.search(self._pattern, request.url.path):
            self.left -= 1
            raise httpx2.ConnectTimeout("lost", request=request)
        return super().handle_request(request)


class TestGenerate:
    def test_one_picture_into_a_file(self, client: Client, hand: Hand, tmp_path: Path) -> None:
        seen: list[JobBody] = []
        drawing = Draws(client, hand)
        drawing.start()

        result = client.generate("a red cube", seed=7, timeout_s=30, on_progress=seen.append)
        drawing.join()

        assert result.save(tmp_path / "cube.png") == (tmp_path / "cube.png",)
        assert (tmp_path / "cube.png").read_bytes() == b"picture 0"
        assert result.job.params.seed == 7
        assert seen[-1].status == "succeeded"
        assert len({(job.version, job.position, job.progress) for job in seen}) == len(seen)

    def test_several_pictures_into_a_folder(self, client: Client, hand: Hand, tmp_path: Path) -> None:
        drawing = Draws(client, hand)
        drawing.start()

        result = client.generate(JobRequest(prompt="a red cube", num_images=2), timeout_s=30)
        drawing.join()

        saved = result.save(tmp_path / "cubes")
        assert [path.read_bytes() for path in saved] == [b"picture 0", b"picture 1"]
        assert {path.parent for path in saved} == {tmp_path / "cubes"}

    def test_a_gateway_that_is_away_when_the_pictures_are_done_is_waited_for(
        self, gateway: Serving, client: Client, hand: Hand
    ) -> None:
        drawing = Draws(client, hand)
        drawing.start()
        lossy = Interrupted("/images/1$", times=2)

        with Client(gateway.url, transport=lossy) as unlucky:
            result = unlucky.generate("a red cube", num_images=2, timeout_s=30)
        drawing.join()

        assert [picture.data for picture in result.pictures] == [b"picture 0", b"picture 1"]
        assert lossy.left == 0

    @pytest.mark.parametrize("pattern", [r"/jobs/\w+$", "/images/0$"], ids=["of_the_job", "of_its_picture"])
    def test_a_long_outage_tells_which_job_to_wait_for(
        self, gateway: Serving, client: Client, hand: Hand, monkeypatch: pytest.MonkeyPatch, pattern: str
    ) -> None:
        monkeypatch.setattr("shared.client.patience.OUTAGE_S", 0.1)
        drawing = Draws(client, hand)
        drawing.start()

        with (
            Client(gateway.url, transport=Interrupted(pattern, times=999)) as unlucky,
            pytest.raises(GatewayUnavailable) as caught,
        ):
            unlucky.generate("a red cube", timeout_s=30)
        drawing.join()

        assert client.jobs().data[0].id in str(caught.value)

    def test_a_failure_comes_as_its_own_class(self, client: Client, hand: Hand) -> None:
        def fail() -> None:
            wait_until(lambda: bool(client.jobs().data), limit_s=20, what="a job was submitted")
            hand.fail(hand.take(), "out_of_memory", "Ask for a smaller one.")

        failing = threading.Thread(target=fail)
        failing.start()
        with pytest.raises(OutOfMemory, match="Ask for a smaller one"):
            client.generate("a red cube", timeout_s=30)
        failing.join()

    def test_a_canceled_job_has_no_pictures(self, client: Client, hand: Hand) -> None:
        del hand

        def cancel() -> None:
            wait_until(lambda: bool(client.jobs().data), limit_s=20, what="a job was submitted")
            client.cancel(client.jobs().data[0].id)

        canceling = threading.Thread(target=cancel)
        canceling.start()
        with pytest.raises(JobCanceled):
            client.generate("a red cube", timeout_s=30)
        canceling.join()


class TestVerbs:
    def test_a_job_is_submitted_read_listed_and_canceled(self, client: Client, hand: Hand) -> None:
        del hand
        job = client.submit("a red cube", num_images=2, output_size=Size(width=32, height=32), metadata={"a": "b"})

        assert client.job(job.id).params == job.params
        assert [one.id for one in client.jobs(limit=1).data] == [job.id]
        assert client.cancel(job.id).status == "canceled"
        assert job.metadata == {"a": "b"}

    def test_pages_follow_one_another(self, client: Client, hand: Hand) -> None:
        del hand
        ids = [client.submit("x").id for _ in range(3)]

        first = client.jobs(limit=2)
        second = client.jobs(limit=2, cursor=first.next_cursor)

        assert [job.id for job in (*first.data, *second.data)] == ids[::-1]

    def test_models_and_readiness(self, client: Client, hand: Hand) -> None:
        del hand
        (model,) = client.models()

        assert (model.id, model.ready_workers, model.is_default) == (CARD.id, 1, True)
        assert client.ready().ready

    def test_a_model_that_a_worker_loads_is_told_from_one_that_nobody_serves(self, client: Client, hand: Hand) -> None:
        hand.arrive(ready=False)

        (model,) = client.models()

        assert (model.ready_workers, model.warming_workers) == (0, 1)

    def test_a_preview_is_none_until_there_is_one(self, client: Client, hand: Hand) -> None:
        job = client.submit("x")
        assert client.preview(job.id) is None

        hand.show(hand.take(), 1, b"\xff\xd8")

        assert client.preview(job.id) == b"\xff\xd8"

    def test_waiting_ends_in_time_and_the_job_goes_on(self, client: Client, hand: Hand) -> None:
        del hand
        job = client.submit("x")

        with pytest.raises(WaitTimeout):
            client.wait(job.id, timeout_s=0.3)

        assert client.job(job.id).status == "queued"

    def test_waiting_ends_in_time_though_nothing_is_answered(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            Client(f"http://127.0.0.1:{silent.getsockname()[1]}") as client,
            pytest.raises(WaitTimeout),
        ):
            client.wait(new_job_id(), timeout_s=0.3)


class TestErrors:
    def test_wrong_fields_come_back_each(self, client: Client, hand: Hand) -> None:
        del hand
        with pytest.raises(InvalidRequest) as caught:
            client.submit(" ", num_images=99, scheduler="magic")

        assert {error.field for error in caught.value.errors} == {"prompt", "num_images", "scheduler"}

    def test_a_prompt_that_is_no_text(self, client: Client) -> None:
        with pytest.raises(InvalidRequest, match="JSON"):
            client.submit("\ud800")

    def test_a_prompt_that_is_too_large_to_be_read(self, client: Client) -> None:
        with pytest.raises((UnexpectedAnswer, GatewayUnavailable)):
            client.submit("x" * 300_000)

    @pytest.mark.parametrize("job_id", [new_job_id(), "nonsense", "../models", "", "a/b", "x?y"])
    def test_an_unknown_job(self, client: Client, job_id: str) -> None:
        for ask in (client.job, client.cancel, client.preview):
            with pytest.raises(JobNotFound):
                ask(job_id)
        with pytest.raises(JobNotFound):
            client.image(job_id, 0)

    def test_a_picture_that_is_not_drawn_yet(self, client: Client, hand: Hand) -> None:
        del hand
        with pytest.raises(ImageNotFound, match="not finished yet"):
            client.image(client.submit("x").id, 0)

    def test_no_model(self, client: Client, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.outlook.FRESH_S", 0.0)
        monkeypatch.setattr("api.outlook.MOST_S", 0.0)
        hand.forget_all()

        with pytest.raises(NoModel):
            client.submit("x")

    def test_a_full_queue_says_when_to_come_back(self, gateway: Serving, hand: Hand) -> None:
        del hand
        with serving(gateway.settings.model_copy(update={"max_waiting": 1})) as full, Client(full.url) as client:
            client.submit("x")
            with pytest.raises(QueueFull) as caught:
                client.submit("x")

        assert caught.value.retry_after_s == 1  # one worker, and a second's work

    def test_nobody_answers(self) -> None:
        with Client(f"http://127.0.0.1:{free_port()}") as client:
            for ask in (client.models, client.ready, lambda: client.submit("x")):
                with pytest.raises(GatewayUnavailable, match="Check that it runs"):
                    ask()


def test_an_outage_of_redis_is_waited_out(own_redis_server: RedisServer, s3_server: S3Server) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with serving(settings) as served, Hand(settings) as hand, Client(served.url) as client:
        job = client.submit("x")
        taken = hand.take()
        hand.draw(taken, 0, b"data")
        hand.finish(taken)
        own_redis_server.kill()
        with pytest.raises(QueueUnavailable):
            client.job(job.id)
        starting = threading.Timer(1.0, own_redis_server.start)
        starting.start()

        assert client.wait(job.id, timeout_s=30).status == "succeeded"
        starting.join()
