"""What each answer has, whatever was asked and whoever answers: its id, the headers, one body for errors."""

from __future__ import annotations

import logging
import re

import httpx2
import pytest

from api.edge import BATCHES, MAX_BATCH_BYTES, MAX_BODY_BYTES, MAX_HEAD_BYTES, SECURITY_HEADERS
from api.errors import MEDIA_TYPE
from shared.contract import Problem
from shared.jobs import new_job_id
from tests.contract.asking import Operation, operations_of
from tests.contract.conftest import DOCUMENT
from tests.integration.serving import Serving
from tests.servers import wait_until

REQUEST_ID = "contract-7"
UNKNOWN = (
    "GET /nothing",
    "POST /v1",
    "DELETE /",
    "PUT /v1/jobs",
    "TRACE /v1/jobs",
    "BREW /v1/jobs",
    "OPTIONS /v1/jobs",
)


def is_well_dressed(answer: httpx2.Response) -> None:
    """Check what every answer has."""
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", answer.headers["X-Request-ID"])
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value, name
    assert answer.headers["Cache-Control"]
    assert "Server" not in answer.headers


def is_refused(operation: Operation, answer: httpx2.Response, status: int, code: str) -> None:
    """Check the one body of errors; at a dialect's address, that it is the dialect's."""
    is_well_dressed(answer)
    assert answer.status_code == status, answer.text
    (media_type,) = operation.described["responses"]["500"]["content"]
    assert answer.headers["Content-Type"] == media_type
    if media_type != MEDIA_TYPE:
        assert f'"{code}"' in answer.text
        return
    problem = Problem.model_validate_json(answer.content)
    assert (problem.status, problem.code, problem.request_id) == (status, code, answer.headers["X-Request-ID"])


class TestEachOperation:
    def test_answers_with_an_id_and_the_headers(self, gateway: Serving, operation: Operation) -> None:
        answer = operation.ask(gateway.http, headers={"X-Request-ID": REQUEST_ID})

        is_well_dressed(answer)
        assert answer.headers["X-Request-ID"] == REQUEST_ID
        assert str(answer.status_code) in operation.described["responses"]
        assert answer.status_code < 500

    def test_replaces_an_id_that_is_none(self, gateway: Serving, operation: Operation) -> None:
        answer = operation.ask(gateway.http, headers={"X-Request-ID": "a b"})

        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])

    def test_names_the_request_in_the_log(
        self, gateway: Serving, operation: Operation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="api.edge")
        asked = f"{operation.method} {operation.address(job_id=new_job_id())} "

        status = operation.ask(gateway.http).status_code

        # A line may come after its answer; the job's id is another each time.
        pattern = re.compile(re.sub(r"[0-9a-hjkmnp-tv-z]{26}", "[^/]+", re.escape(asked)) + f"{status} ")
        wait_until(lambda: any(map(pattern.match, caplog.messages)), limit_s=10, what="the request is told")

    def test_is_for_this_machine_s_names(self, gateway: Serving, operation: Operation) -> None:
        is_refused(operation, operation.ask(gateway.http, headers={"Host": "evil.example"}), 421, "host_not_allowed")

    def test_refuses_a_page_of_another_origin(self, gateway: Serving, operation: Operation) -> None:
        if operation.method != "GET":
            answer = operation.ask(gateway.http, headers={"Origin": "https://evil.example"})
            is_refused(operation, answer, 403, "cross_origin")

    def test_refuses_a_head_that_is_too_large(self, gateway: Serving, operation: Operation) -> None:
        answer = operation.ask(gateway.http, headers={"X-Long": "x" * MAX_HEAD_BYTES})

        is_refused(operation, answer, 431, "headers_too_large")

    def test_refuses_a_body_that_is_too_large(self, gateway: Serving, operation: Operation) -> None:
        limit = MAX_BATCH_BYTES if operation.address() == BATCHES and operation.method == "POST" else MAX_BODY_BYTES

        answer = gateway.http.request(
            operation.method, operation.address(job_id=new_job_id()), content=b"x" * (limit + 1)
        )

        is_refused(operation, answer, 413, "body_too_large")

    def test_takes_no_body_it_does_not_ask_for(self, gateway: Serving, operation: Operation) -> None:
        if operation.method == "GET":
            chunked = gateway.http.request("GET", operation.address(job_id=new_job_id()), content=iter([b"x"]))
            is_refused(operation, chunked, 413, "body_too_large")
            is_refused(operation, operation.ask(gateway.http, content=b"x"), 413, "body_too_large")

    def test_refuses_a_method_that_it_has_not_and_names_those_that_it_has(
        self, gateway: Serving, operation: Operation
    ) -> None:
        served = {other.method for other in operations_of(DOCUMENT) if other.path == operation.path}
        other = next(method for method in ("PATCH", "PUT", "DELETE", "POST") if method not in served)

        answer = gateway.http.request(other, operation.address(job_id=new_job_id()))

        is_refused(operation, answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == served

    def test_wants_json_where_it_takes_any(self, gateway: Serving, operation: Operation) -> None:
        if operation.takes_body and "application/json" in operation.described["requestBody"]["content"]:
            address = operation.address(job_id=new_job_id())
            sent = gateway.http.request(
                operation.method, address, content=b"<a/>", headers={"Content-Type": "text/xml"}
            )
            is_refused(operation, sent, 415, "unsupported_media_type")
            zipped = operation.ask(gateway.http, headers={"Content-Encoding": "gzip"})
            is_refused(operation, zipped, 415, "unsupported_media_type")
            assert zipped.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("asked", UNKNOWN)
@pytest.mark.parametrize("more", [{}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_what_no_route_serves_is_a_problem_too(gateway: Serving, asked: str, more: dict[str, str]) -> None:
    method, path = asked.split()

    answer = gateway.http.request(method, path, headers=more)

    is_well_dressed(answer)
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert answer.status_code in ({400} if method == "BREW" else {403, 404, 405, 421})


def test_head_is_answered_as_get_is(gateway: Serving, operation: Operation) -> None:
    if operation.method != "GET":
        return
    answer = gateway.http.head(operation.address(job_id=new_job_id()))

    is_well_dressed(answer)
    assert not answer.content
