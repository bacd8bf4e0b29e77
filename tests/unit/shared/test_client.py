"""The client's own manners: retries, odd answers, files. tests/integration has it against a real gateway."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import run

import httpx2
import pytest

from shared.client import Client, Picture, Result, failure_of
from shared.client.http import TIMEOUT
from shared.client.verbs import Params
from shared.contract import ImageBody, JobBody, JobRequest, job_body
from shared.errors import (
    DeadlinePassed,
    GatewayUnavailable,
    GenerationFailed,
    InvalidRequest,
    JobCanceled,
    QueueUnavailable,
    RateLimited,
    UnexpectedAnswer,
    WorkerLost,
)
from shared.generation import GenerationParams, OutputFormat, Scheduler
from shared.jobs import DEADLINE_PASSED, LOCAL_TENANT, Job, JobError, JobStatus, new_job_id


class AnswersOddly(BaseHTTPRequestHandler):
    """A gateway that fails as the test says: `script` holds what to do with each request in turn."""

    script: list[tuple[int, bytes] | None]
    asked: list[str]

    def _answer(self) -> None:
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Idempotency-Key', '-')}")
        step = self.script.pop(0)
        if step is None:
            # Break the connection without a word.
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = step
        self.send_response(status)
        if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
            self.send_header("Retry-After", "0" if status == HTTPStatus.SERVICE_UNAVAILABLE else "7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the base's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep quiet."""


@contextmanager
def odd_gateway(
    *script: tuple[int, bytes] | None, timeout: httpx2.Timeout = TIMEOUT
) -> Generator[tuple[Client, list[str]]]:
    class Handler(AnswersOddly):
        pass

    Handler.script, Handler.asked = list(script), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}", timeout=timeout) as client:
                yield client, Handler.asked
        finally:
            server.shutdown()
            thread.join()


JOB = Job(
    id=new_job_id(),
    tenant=LOCAL_TENANT,
    pool="m",
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

ACCEPTED = (HTTPStatus.ACCEPTED, job_body(JOB, now_ms=1).model_dump_json().encode())
MODELS = (HTTPStatus.OK, b'{"data": []}')


def test_reading_is_tried_again_when_a_connection_breaks() -> None:
    with odd_gateway(None, None, MODELS) as (client, asked):
        assert client.models() == ()
    assert asked == ["GET /v1/models -"] * 3


def test_but_not_for_ever() -> None:
    with odd_gateway(None, None, None, MODELS) as (client, asked):
        with pytest.raises(GatewayUnavailable, match="Check that it runs"):
            client.models()
        assert len(asked) == 3


def problem(code: str, status: HTTPStatus) -> bytes:
    said = {"type": "t", "title": status.phrase, "status": status, "detail": "Look.", "code": code}
    return json.dumps(said).encode()


def test_a_submit_is_sent_again_under_the_same_key_when_a_connection_breaks() -> None:
    with odd_gateway(None, None, ACCEPTED) as (client, asked):
        assert client.submit("x").id == JOB.id
    assert [line.split()[:2] for line in asked] == [["POST", "/v1/jobs"]] * 3
    assert len({line.split()[2] for line in asked}) == 1


def test_but_each_submit_has_a_key_of_its_own_unless_it_is_given_one() -> None:
    with odd_gateway(*[ACCEPTED] * 4) as (client, asked):
        client.submit("x")
        client.submit("x")
        client.submit("x", idempotency_key="mine")
        client.retry(JOB.id)
    keys = [line.split()[2] for line in asked]
    assert len(set(keys)) == 4
    assert keys[2] == "mine"


def test_a_short_outage_is_waited_out_once_by_a_submit() -> None:
    away = (HTTPStatus.SERVICE_UNAVAILABLE, problem("queue_unavailable", HTTPStatus.SERVICE_UNAVAILABLE))
    with odd_gateway(away, ACCEPTED, away, away) as (client, asked):
        assert client.submit("x").id == JOB.id
        with pytest.raises(QueueUnavailable):
            client.submit("x")
    keys = [line.split()[2] for line in asked]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_what_has_no_key_is_sent_once() -> None:
    with odd_gateway(None, None) as (client, asked):
        for ask in (client.cancel, client.delete):
            with pytest.raises(GatewayUnavailable):
                ask(JOB.id)
    assert asked == [f"POST /v1/jobs/{JOB.id}/cancel -", f"DELETE /v1/jobs/{JOB.id} -"]


@pytest.mark.parametrize("key", ["", "two words", "ünlaut", "x" * 256, "line\nbreak"])
def test_a_key_that_no_header_can_carry_is_told_before_it_is_sent(key: str) -> None:
    with odd_gateway() as (client, asked), pytest.raises(InvalidRequest, match="Idempotency-Key"):
        client.submit("x", idempotency_key=key)
    assert asked == []


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>some other service</html>"),
        (200, b'{"data": 5}'),
        (404, b"<html>not here</html>"),
        (500, b'{"title": "x", "status": 500, "detail": "y", "code": "from_the_future", "type": "z"}'),
    ],
)
def test_what_is_no_answer_of_ours_is_told_as_that(answer: tuple[int, bytes]) -> None:
    for ask in _ASKS:
        with odd_gateway(answer) as (client, _), pytest.raises(UnexpectedAnswer):
            ask(client)


def test_a_proxys_page_for_a_gateway_that_is_away_is_an_outage() -> None:
    for ask in _ASKS:
        answer = (502, b"<html>Bad Gateway</html>")
        with odd_gateway(answer) as (client, _), pytest.raises(GatewayUnavailable, match=r"A proxy at .* answers 502"):
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


def body_of(error: JobError | None, status: JobStatus = JobStatus.FAILED) -> JobBody:
    return job_body(JOB, now_ms=1).model_copy(update={"error": error, "status": status})


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


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (JobStatus.CANCELED, None, JobCanceled),
        (JobStatus.CANCELED, DEADLINE_PASSED, DeadlinePassed),
        (JobStatus.EXPIRED, DEADLINE_PASSED, DeadlinePassed),
    ],
)
def test_a_job_that_its_deadline_ended_says_so(
    status: JobStatus, error: JobError | None, kind: type[GenerationFailed]
) -> None:
    assert type(failure_of(body_of(error, status))) is kind


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


def running(step: int) -> tuple[HTTPStatus, bytes]:
    job = replace(JOB, status=JobStatus.RUNNING, version=2, started_at_ms=0, completed_at_ms=None, steps=4, step=step)
    return HTTPStatus.OK, job_body(job, now_ms=1).model_dump_json().encode()


ENDED = (HTTPStatus.OK, ACCEPTED[1])


def test_the_gateway_holds_its_answer_until_the_end() -> None:
    with odd_gateway(ENDED) as (client, asked):
        assert client.wait(JOB.id).status is JobStatus.FAILED
    assert asked == [f"GET /v1/jobs/{JOB.id}?wait=15.000 -"]


def test_it_holds_no_longer_than_half_of_the_time_out() -> None:
    with odd_gateway(ENDED, timeout=httpx2.Timeout(8)) as (client, asked):
        client.wait(JOB.id)
    assert asked == [f"GET /v1/jobs/{JOB.id}?wait=4.000 -"]


def test_who_follows_the_progress_looks_at_it_now_and_then_and_hears_of_moves_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("shared.client.drivers.time.sleep", pauses.append)
    steps: list[int] = []
    with odd_gateway(running(0), running(1), running(2), ENDED) as (client, asked):
        client.wait(JOB.id, on_progress=lambda job: steps.append(job.progress.step))
    path = f"GET /v1/jobs/{JOB.id}"
    assert asked == [f"{path} -", *[f"{path}?wait=0.250&version=2 -"] * 3]
    assert steps == [0, 1, 2, 0]
    assert pauses == []


def test_a_gateway_that_holds_nothing_is_not_asked_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("shared.client.drivers.time.sleep", pauses.append)
    with odd_gateway(running(0), running(0), running(0), ENDED) as (client, _):
        client.wait(JOB.id)
    assert len(pauses) == 2  # the first look is news
    assert all(0 < pause <= 0.25 for pause in pauses)


def test_a_pause_that_is_longer_than_a_hold_is_held_in_turns() -> None:
    with odd_gateway(running(0), ENDED) as (client, asked):
        client.wait(JOB.id, on_progress=lambda _: None, poll_s=90)
    assert asked[1] == f"GET /v1/jobs/{JOB.id}?wait=15.000&version=2 -"


class Clock:
    """The client's, which stands still but for its pauses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr("shared.client.following.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("shared.client.drivers.time.sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_hold_that_breaks_off_is_asked_for_anew_with_what_is_left_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Clock(monkeypatch)
    with odd_gateway(None, None, ENDED) as (client, asked):
        client.wait(JOB.id, timeout_s=3, poll_s=1)
    assert asked == [f"GET /v1/jobs/{JOB.id}?wait={left}.000 -" for left in (3, 2, 1)]


def test_an_outage_counts_from_the_first_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with odd_gateway(running(0), None, None, None, ENDED) as (client, asked):
        client.wait(JOB.id, on_progress=lambda _: clock.sleep(60), poll_s=14)
    assert len(asked) == 5
    with odd_gateway(*[None] * 4) as (client, asked), pytest.raises(GatewayUnavailable, match=JOB.id):
        client.wait(JOB.id, poll_s=14)
    assert len(asked) == 4


def test_who_waits_bears_a_limit_of_requests_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    limited = (HTTPStatus.TOO_MANY_REQUESTS, problem("rate_limited", HTTPStatus.TOO_MANY_REQUESTS))
    with odd_gateway(*[limited] * 9, ENDED) as (client, asked):
        assert client.wait(JOB.id).status is JobStatus.FAILED
    assert (len(asked), clock.now_s) == (10, 9 * 7)


def test_who_submits_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    limited = (HTTPStatus.TOO_MANY_REQUESTS, problem("rate_limited", HTTPStatus.TOO_MANY_REQUESTS))
    with odd_gateway(limited) as (client, _), pytest.raises(RateLimited) as caught:
        client.submit("x")
    assert caught.value.retry_after_s == 7


def test_what_may_be_said_beside_the_prompt_is_what_a_request_may_say() -> None:
    assert set(Params.__annotations__) == set(JobRequest.model_fields) - {"prompt"}
