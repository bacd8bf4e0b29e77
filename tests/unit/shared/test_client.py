"""The client's own manners: retries, odd answers, files. tests/integration has it against a real gateway."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import run

import pytest

from shared.client import Client, Picture, Result, failure_of
from shared.contract import ImageBody, JobBody, job_body
from shared.errors import GatewayUnavailable, GenerationFailed, UnexpectedAnswer, WorkerLost
from shared.generation import GenerationParams, OutputFormat, Scheduler
from shared.jobs import LOCAL_TENANT, Job, JobError, JobStatus, new_job_id


class AnswersOddly(BaseHTTPRequestHandler):
    """A gateway that fails as the test says: `script` holds what to do with each request in turn."""

    script: list[tuple[int, bytes] | None]
    asked: list[str]

    def _answer(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        step = self.script.pop(0)
        if step is None:
            # Break the connection without a word.
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = step
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - the base's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep quiet."""


@contextmanager
def odd_gateway(*script: tuple[int, bytes] | None) -> Generator[tuple[Client, list[str]]]:
    class Handler(AnswersOddly):
        pass

    Handler.script, Handler.asked = list(script), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(f"http://127.0.0.1:{server.server_port}") as client:
            yield client, Handler.asked
        server.shutdown()
        thread.join()


MODELS = (HTTPStatus.OK, b'{"data": []}')


def test_reading_is_tried_again_when_a_connection_breaks() -> None:
    with odd_gateway(None, None, MODELS) as (client, asked):
        assert client.models() == ()
    assert asked == ["GET /v1/models"] * 3


def test_but_not_for_ever() -> None:
    with odd_gateway(None, None, None, MODELS) as (client, asked):
        with pytest.raises(GatewayUnavailable, match="Check that it runs"):
            client.models()
        assert len(asked) == 3


def test_a_submit_is_sent_once() -> None:
    with odd_gateway(None) as (client, asked):
        with pytest.raises(GatewayUnavailable):
            client.submit("x")
        assert asked == ["POST /v1/jobs"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>some other service</html>"),
        (200, b'{"data": 5}'),
        (404, b"<html>not here</html>"),
        (502, b"bad gateway"),
        (500, b'{"title": "x", "status": 500, "detail": "y", "code": "from_the_future", "type": "z"}'),
    ],
)
def test_what_is_no_answer_of_ours_is_told_as_that(answer: tuple[int, bytes]) -> None:
    for ask in _ASKS:
        with odd_gateway(answer) as (client, _), pytest.raises(UnexpectedAnswer):
            ask(client)


_ASKS: tuple[Callable[[Client], object], ...] = (
    Client.models,
    lambda client: client.submit("x"),
    lambda client: client.job("a"),
)


def test_our_fault_is_told_with_the_request_to_look_for() -> None:
    fault = {"type": "t", "title": "Internal Server Error", "status": 500, "detail": "Look.", "code": "internal_error"}
    with (
        odd_gateway((500, json.dumps(fault | {"request_id": "req-7"}).encode())) as (client, _),
        pytest.raises(UnexpectedAnswer, match="req-7"),
    ):
        client.models()


JOB = Job(
    id=new_job_id(),
    tenant=LOCAL_TENANT,
    model="m",
    params=GenerationParams(
        prompt="x", width=8, height=8, num_inference_steps=1, guidance_scale=1, seed=0, scheduler=Scheduler.EULER
    ),
    metadata={},
    status=JobStatus.FAILED,
    version=1,
    created_at_ms=0,
    started_at_ms=None,
    completed_at_ms=1,
    attempt=0,
    worker=None,
    step=0,
    steps=1,
    images=(),
    warnings=(),
    error=None,
    position=None,
)


def body_of(error: JobError | None) -> JobBody:
    return job_body(JOB, now_ms=1).model_copy(update={"error": error})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (JobError(code="worker_lost", message="Gone."), WorkerLost),
        (JobError(code="from_the_future", message="Gone."), GenerationFailed),
        (JobError(code="queue_full", message="Gone."), GenerationFailed),  # no way for a job to fail
        (None, GenerationFailed),
    ],
)
def test_a_failure_is_told_by_the_closest_class(error: JobError | None, kind: type[GenerationFailed]) -> None:
    failure = failure_of(body_of(error))

    assert type(failure) is kind
    assert error is None or str(failure) == "Gone."


def picture(index: int) -> Picture:
    info = ImageBody(
        index=index, seed=0, url="", width=1, height=1, output_format=OutputFormat.JPEG, num_bytes=1, sha256=""
    )
    return Picture(JOB.id, info, str(index).encode())


def test_one_picture_goes_into_a_folder_that_is_there(tmp_path: Path) -> None:
    (saved,) = Result(body_of(None), (picture(0),)).save(tmp_path)

    assert saved == tmp_path / f"darkroom-{JOB.id}-0.jpg"
    assert saved.read_bytes() == b"0"


def test_several_go_into_a_folder_that_is_made(tmp_path: Path) -> None:
    saved = Result(body_of(None), (picture(0), picture(1))).save(tmp_path / "new" / "folder")

    assert [path.read_bytes() for path in saved] == [b"0", b"1"]


def test_the_client_needs_none_of_the_services_frameworks() -> None:
    check = (
        "import sys, shared.client;"
        "unwanted = {'torch', 'fastapi', 'gradio', 'celery', 'boto3', 'redis', 'pydantic_settings'};"
        "print(unwanted & set(sys.modules))"
    )

    assert run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout == "set()\n"
