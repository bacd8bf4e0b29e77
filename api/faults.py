"""What a refusal says, and in which words: our own body (RFC 9457), or that of the dialect whose address was asked.

So a client of a dialect can read whatever goes wrong there, wherever it was met. Knows no error classes: which error
has which status stands in `api.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel
from starlette.responses import Response

from api.context import PATH, exchange, request_id
from shared.contract import FieldProblem, Problem
from shared.errors import FieldError


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, before it is put into words."""

    status: HTTPStatus
    code: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def sentence(self) -> str:
        """All of it in one text, for bodies that have no list of fields."""
        return "; ".join(f"{error.field}: {error.message}" for error in self.errors) or self.detail


@dataclass(frozen=True, slots=True)
class Words:
    """How errors are said at some addresses."""

    prefix: str
    """Of the addresses' paths."""
    schema: type[BaseModel]
    say: Callable[[Fault], BaseModel]
    media_type: str = "application/json"
    statuses: Mapping[HTTPStatus, HTTPStatus] = field(default_factory=dict[HTTPStatus, HTTPStatus])
    """Those that are others here than in `api.errors`."""

    def status_of(self, status: HTTPStatus) -> HTTPStatus:
        """The status with which a fault is answered."""
        return self.statuses.get(status, status)

    def answer(self, fault: Fault) -> Response:
        """Put a fault into words."""
        body = self.say(fault).model_dump_json()
        return Response(body, self.status_of(fault.status), dict(fault.headers), self.media_type)


class OpenAIError(BaseModel):
    """The inner part of OpenAI's error body."""

    code: str
    message: str
    param: str | None = None
    """The first wrong field."""
    type: str


class OpenAIErrorBody(BaseModel):
    """An error as OpenAI's clients read it."""

    error: OpenAIError


class Automatic1111ErrorBody(BaseModel):
    """An error as AUTOMATIC1111 says it (`modules/api/api.py`, `handle_exception`)."""

    error: str
    """The stable code."""
    detail: str
    body: str = ""
    errors: str
    """Each wrong field; empty if it is about none."""


OPENAI_TYPES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


def _problem(fault: Fault) -> Problem:
    return Problem(
        type=f"urn:darkroom:problem:{fault.code}",
        title=fault.status.phrase,
        status=fault.status,
        detail=fault.detail,
        code=fault.code,
        errors=tuple(FieldProblem(field=error.field, message=error.message) for error in fault.errors),
        request_id=request_id(),
    )


def openai_error(fault: Fault) -> OpenAIErrorBody:
    """Say a fault as OpenAI does, in an answer or a stream."""
    default = "server_error" if fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    kind = OPENAI_TYPES.get(fault.status, default)
    param = fault.errors[0].field if fault.errors else None
    return OpenAIErrorBody(error=OpenAIError(code=fault.code, message=fault.sentence, param=param, type=kind))


def _automatic1111_error(fault: Fault) -> Automatic1111ErrorBody:
    return Automatic1111ErrorBody(
        error=fault.code, detail=fault.sentence, errors=fault.sentence if fault.errors else ""
    )


OURS: Final = Words(prefix="/", schema=Problem, say=_problem, media_type="application/problem+json")
OPENAI: Final = Words(
    prefix="/v1/images",
    schema=OpenAIErrorBody,
    say=openai_error,
    # Its client knows a wrong request by 400.
    statuses={HTTPStatus.UNPROCESSABLE_ENTITY: HTTPStatus.BAD_REQUEST},
)
AUTOMATIC1111: Final = Words(prefix="/sdapi/", schema=Automatic1111ErrorBody, say=_automatic1111_error)


def words_of(path: str) -> Words:
    """How errors are said at an address."""
    return next((words for words in (OPENAI, AUTOMATIC1111) if path.startswith(words.prefix)), OURS)


def answer(fault: Fault) -> Response:
    """Answer with a fault, in the words of the address that is being asked."""
    exchange().code = fault.code
    return words_of(PATH.get()).answer(fault)
