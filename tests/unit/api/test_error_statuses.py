from __future__ import annotations

import json
import re
from http import HTTPStatus
from pathlib import Path

import pytest

from api.errors import HTTP_CODES, NEVER_ANSWERED, STATUSES, darkroom_problem, http_problem
from shared.errors import (
    DarkroomError,
    FieldError,
    InvalidRequest,
    LeaseLost,
    NoModel,
    QueueFull,
    StoreUnavailable,
    leaves,
)

DOCUMENT = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")


def test_each_error_has_a_status_or_a_reason_to_have_none() -> None:
    assert set(STATUSES) | NEVER_ANSWERED == set(leaves())
    assert not set(STATUSES) & NEVER_ANSWERED


@pytest.mark.parametrize(("error", "status"), STATUSES.items())
def test_the_document_lists_each_error_with_its_status(error: type[DarkroomError], status: HTTPStatus) -> None:
    assert re.search(rf"^\| `{error.code}` \| {int(status)} \|", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize(("status", "code"), HTTP_CODES.items())
def test_the_document_lists_each_bare_status(status: HTTPStatus, code: str) -> None:
    assert re.search(rf"^\| `{code}` \| {int(status)} \|", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize("code", sorted(error.code for error in NEVER_ANSWERED))
def test_the_document_lists_what_is_never_answered(code: str) -> None:
    assert f"`{code}`" in DOCUMENT


def test_the_document_lists_nothing_else() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \| [45]\d\d \|", DOCUMENT, re.MULTILINE))

    assert listed == {error.code for error in STATUSES} | set(HTTP_CODES.values())


@pytest.mark.parametrize(
    ("error", "seconds"), [(StoreUnavailable(), "2"), (NoModel(), "5"), (QueueFull(waiting=3, retry_after_s=10), "10")]
)
def test_what_passes_says_when_to_come_back(error: DarkroomError, seconds: str) -> None:
    assert darkroom_problem(error).headers["Retry-After"] == seconds


def test_an_error_that_should_not_get_here_is_our_fault_and_tells_nothing() -> None:
    response = darkroom_problem(LeaseLost("secret"))

    assert response.status_code == 500
    assert b"secret" not in bytes(response.body)
    assert json.loads(bytes(response.body))["code"] == "internal_error"


def test_a_long_list_of_fields_is_cut_and_long_names_too() -> None:
    errors = tuple(FieldError("f" * 1000, "There is no such field.") for _ in range(1000))

    body = bytes(darkroom_problem(InvalidRequest(errors)).body)

    assert len(body) < 10_000
    assert json.loads(body)["errors"][-1] == {"field": "body", "message": "And 968 more fields."}


def test_any_other_status_gets_a_problem_too() -> None:
    problem = json.loads(bytes(http_problem(HTTPStatus.IM_A_TEAPOT).body))

    assert (problem["status"], problem["code"]) == (418, "i'm_a_teapot")
