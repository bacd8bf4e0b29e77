"""A client of this version before a gateway of a later one: words and fields that it doesn't know are borne."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar, Final, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

from shared import generation, jobs, tuning
from shared.cli import words
from shared.cli.doctor import table_of
from shared.client import Client
from shared.contract import Body, JobBody, JobRequest
from shared.errors import QueueFull, TooMuch, Unavailable, UnexpectedAnswer
from shared.events import Queued
from shared.keyring import KeyRequest
from shared.words import OR_NEWER, Word, newer_words
from ui.boards import fleet_board, queue_board
from ui.cards import card, words_of

ID: Final = "0123456789abcdefghjkmnpqrs"
JOB: Final[Mapping[str, Any]] = {
    "id": ID,
    "status": "resting",
    "version": 3,
    "model": "m",
    "params": {
        "prompt": "a cube",
        "width": 64,
        "height": 64,
        "num_inference_steps": 4,
        "guidance_scale": 1,
        "seed": 7,
        "scheduler": "sa_solver",
        "output_format": "avif",
        "upscaled_by": 2,
    },
    "metadata": {},
    "created_at": "2026-11-22T00:00:00Z",
    "started_at": None,
    "completed_at": None,
    "attempt": 0,
    "position": 0,
    "lane": "overnight",
    "reason": {"code": "tea_time", "message": "All have tea.", "until": "five"},
    "progress": {"step": 0, "steps": 4, "images_done": 0, "images": 1, "phase": "dreaming"},
    "images": [],
    "warnings": [{"code": "new_one", "message": "Mind."}],
    "error": None,
    "metrics": {"queue_time": 1, "predict_time": None, "total_time": 1},
    "urls": {"get": "", "cancel": "", "preview": "", "events": ""},
    "mood": "fine",
}
WORKER: Final[Mapping[str, Any]] = {
    "id": "w",
    "state": "dozing",
    "model": "m",
    "device": "cpu",
    "software_version": "9",
    "started_at_ms": 0,
    "mode": "halved",
    "drawing": [{"lane": "overnight", "step": 1, "steps": 2, "elapsed_s": 1}],
}
PROBLEM: Final[Mapping[str, Any]] = {"type": "about:blank", "title": "No", "detail": "Not now.", "code": "tea_time"}


@contextmanager
def answering(*answers: tuple[int, Mapping[str, Any]]) -> Generator[Client]:
    """Serve these answers in turn, whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        rest: ClassVar[Iterator[tuple[int, Mapping[str, Any]]]] = iter(answers)

        def do_GET(self) -> None:
            status, said = next(self.rest)
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with Client(f"http://127.0.0.1:{server.server_port}") as client:
                yield client
        finally:
            server.shutdown()
            thread.join()


def read() -> JobBody:
    with answering((200, JOB)) as client:
        return client.job(ID)


def test_a_jobs_newer_words_are_read_as_they_were_said() -> None:
    job = read()

    assert (job.status, job.lane, job.params.scheduler) == ("resting", "overnight", "sa_solver")
    assert (job.params.output_format.suffix, job.reason and job.reason.code) == ("avif", "tea_time")
    assert job.model_dump(mode="json")["status"] == "resting"


def test_known_words_are_what_they_always_were() -> None:
    with answering((200, {**JOB, "status": "queued", "lane": "bulk"})) as client:
        job = client.job(ID)

    assert type(job.status).QUEUED is job.status
    assert type(job.lane).BULK is job.lane


def test_a_job_in_a_newer_status_is_waited_for_until_it_has_ended() -> None:
    ended = {**JOB, "status": "framed", "completed_at": "2026-11-22T00:00:09Z"}
    with answering((200, JOB), (200, ended)) as client:
        assert client.wait(ID, timeout_s=30).status == "framed"


def test_a_newer_event_is_read() -> None:
    said = json.dumps({"job": ID, "version": 1, "position": 0, "reason": JOB["reason"], "time_left": None, "x": 1})
    with newer_words():
        event = Queued.model_validate_json(said)

    assert words.waiting(event.position, event.reason, event.time_left) == "goes next · All have tea."


def test_page_and_command_show_a_newer_job_in_plain_words() -> None:
    job = read()

    assert "Resting" in card(job)
    assert "sa_solver" in words_of(job)
    assert words.state(job).plain == "resting"


def test_page_shows_a_newer_fleet() -> None:
    with answering((200, {"mode": "halved", "data": [WORKER], "weather": "fair"})) as client:
        shown = fleet_board(client.workers())
    pool = {"model": "m", "waiting": {"overnight": {"jobs": 1, "work_s": 1}}, "running": 0, "workers": {"dozing": 1}}
    results = {"new": 0, "joined": 0, "reused": 0, "hit_rate": None}
    with answering((200, {"mode": "work", "models": [pool], "results": results})) as client:
        queue = queue_board(client.queue())

    assert "All workers: halved." in shown
    assert "Halved" in shown
    assert "overnight: 1 job" in queue


def test_the_doctor_shows_a_newer_grade() -> None:
    with answering((200, {"data": [{"level": "splendid", "what": "weather", "found": "The sun shines."}]})) as client:
        table = table_of(client.checks().data)

    assert [str(cell) for column in table.columns for cell in column.cells] == [
        "splendid",
        "weather",
        "The sun shines.",
    ]


def test_a_word_from_elsewhere_is_no_html() -> None:
    with answering((200, {**JOB, "status": '"><b>', "lane": "<i>"})) as client:
        assert "<b>" not in card(client.job(ID))
    with answering((200, {"mode": "<b>", "data": [{**WORKER, "mode": "<b>", "state": "ready"}]})) as client:
        assert "<b>" not in fleet_board(client.workers())


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (429, "queue_full", QueueFull),
        (429, "tea_time", TooMuch),
        (503, "tea_time", Unavailable),
        (418, "tea_time", UnexpectedAnswer),
    ],
)
def test_a_newer_error_is_told_in_the_gateways_words(status: int, code: str, raised: type[Exception]) -> None:
    with (
        answering((status, {**PROBLEM, "status": status, "code": code, "x": 1})) as client,
        pytest.raises(raised, match="Not now") as told,
    ):
        client.job(ID)

    assert type(told.value) is raised


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (JobRequest, {"prompt": "x", "scheduler": "sa_solver"}),
        (JobRequest, {"prompt": "x", "lane": "overnight"}),
        (KeyRequest, {"name": "x", "tenant": "x", "scopes": ["fly"]}),
        (JobBody, JOB),
    ],
)
def test_who_does_not_read_an_answer_takes_no_newer_word(kind: type[BaseModel], said: Mapping[str, Any]) -> None:
    with newer_words():
        kind.model_validate_json(json.dumps(said))
    with pytest.raises(ValidationError):
        kind.model_validate_json(json.dumps(said))


def test_no_answer_has_a_list_that_a_newer_gateway_could_not_lengthen() -> None:
    closed = {
        f"{body.__name__}.{field}"
        for body in answers()
        for field, info in body.model_fields.items()
        if is_closed(info.annotation, tuple(info.metadata))
    }

    assert closed == set()
    assert JobBody in set(answers())
    assert is_closed(Literal["a"], ())
    assert is_closed(tuple[Enum, ...], ())


def answers(of: type[BaseModel] = Body) -> Iterator[type[BaseModel]]:
    """Every body that is read, with the parts of a job's record that stand in it."""
    for body in of.__subclasses__():
        if body.model_config.get("extra") != "forbid":
            yield body
        yield from answers(body)
    if of is Body:  # which the client's import has brought all of
        for module in (generation, jobs, tuning):
            parts = (one for one in vars(module).values() if isinstance(one, type) and issubclass(one, BaseModel))
            yield from (part for part in parts if part.model_config.get("extra") != "forbid")


def is_closed(said: object, beside: tuple[object, ...]) -> bool:
    """True for a list of words that an unknown one would break."""
    if get_origin(said) is typing.Annotated:
        first, *more = get_args(said)
        return is_closed(first, tuple(more))
    if get_origin(said) is Literal:
        return OR_NEWER not in beside
    if get_origin(said) in {typing.Union, types.UnionType} and any(takes_any(part) for part in get_args(said)):
        return False
    if isinstance(said, type) and issubclass(said, Enum):
        return not takes_any(said)
    return any(is_closed(part, ()) for part in get_args(said) if part is not said)


def takes_any(kind: object) -> bool:
    return isinstance(kind, type) and (kind is str or issubclass(kind, Word))
