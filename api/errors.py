"""Which error answers with which HTTP status, and the one body that they all have (RFC 9457).

The only place that pairs errors with statuses; docs/api.md lists them, and a test compares.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from api.context import REQUEST_ID
from shared.contract import FieldProblem, Problem
from shared.errors import (
    CheckpointUnavailable,
    DarkroomError,
    DeadlinePassed,
    FieldError,
    GatewayUnavailable,
    IdempotencyMismatch,
    ImageNotFound,
    InvalidRequest,
    JobCanceled,
    JobNotFound,
    LeaseLost,
    ModelError,
    NoModel,
    NotRetryable,
    OperatorOnly,
    OutOfMemory,
    QueueFull,
    QueueUnavailable,
    StoreUnavailable,
    TenantQueueFull,
    TooMuch,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
    WorkerLost,
    WorkerNotFound,
)

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"

STATUSES: Final[Mapping[type[DarkroomError], HTTPStatus]] = {
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    JobNotFound: HTTPStatus.NOT_FOUND,
    ImageNotFound: HTTPStatus.NOT_FOUND,
    WorkerNotFound: HTTPStatus.NOT_FOUND,
    NotRetryable: HTTPStatus.CONFLICT,
    OperatorOnly: HTTPStatus.UNAUTHORIZED,
    IdempotencyMismatch: HTTPStatus.CONFLICT,
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    TenantQueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    QueueUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    NoModel: HTTPStatus.SERVICE_UNAVAILABLE,
}

NEVER_ANSWERED: Final[frozenset[type[DarkroomError]]] = frozenset(
    {
        # In a job's `error`, which is read with 200.
        ModelError,
        OutOfMemory,
        JobCanceled,
        DeadlinePassed,
        WorkerLost,
        # Inside a worker or a client. One that came up in the gateway would be a fault of ours: 500.
        CheckpointUnavailable,
        LeaseLost,
        GatewayUnavailable,
        UnexpectedAnswer,
        WaitTimeout,
    }
)

HTTP_CODES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.FORBIDDEN: "cross_origin",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.MISDIRECTED_REQUEST: "host_not_allowed",
    HTTPStatus.INTERNAL_SERVER_ERROR: DarkroomError.code,
}
"""Codes of what goes wrong before a request reaches a route, or behind every plan."""

MAX_FIELD_ERRORS: Final = 32
MAX_FIELD_CHARS: Final = 100

_DETAILS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.NOT_FOUND: "There is nothing here. GET / lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address takes other methods: see the Allow header.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large. A request is text: keep it below 256 KiB.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong in the gateway. Its log has the rest under the request id.",
}

_MESSAGES: Final[Mapping[str, str]] = {
    "extra_forbidden": "There is no such field.",
    "missing": "Required.",
    "model_type": "Must be a JSON object.",
    "model_attributes_type": "Must be a JSON object.",
}


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with a Problem."""
    shown = [FieldProblem(field=error.field[:MAX_FIELD_CHARS], message=error.message) for error in errors]
    if len(shown) > MAX_FIELD_ERRORS:
        left_out = len(shown) - MAX_FIELD_ERRORS
        shown = [*shown[:MAX_FIELD_ERRORS], FieldProblem(field="body", message=f"And {left_out} more fields.")]
    body = Problem(
        type=f"urn:darkroom:problem:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        code=code,
        errors=tuple(shown),
        request_id=REQUEST_ID.get(),
    )
    return Response(body.model_dump_json(), status, dict(headers or {}), MEDIA_TYPE)


def http_problem(
    status: HTTPStatus, detail: str | None = None, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with the Problem of a bare status."""
    code = HTTP_CODES.get(status, status.phrase.lower().replace(" ", "_"))
    return problem(status, code, detail or _DETAILS.get(status, status.description), headers=headers)


def darkroom_problem(error: DarkroomError) -> Response:
    """Answer with the Problem of an error of ours."""
    status = STATUSES.get(type(error))
    if status is None:
        log.error("%s reached the edge", type(error).__name__, exc_info=error)
        return http_problem(HTTPStatus.INTERNAL_SERVER_ERROR)
    headers: dict[str, str] = {}
    if isinstance(error, TooMuch | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if not isinstance(error, InvalidRequest):
        return problem(status, error.code, str(error), headers=headers)
    fields = ", ".join(dict.fromkeys(wrong.field[:MAX_FIELD_CHARS] for wrong in error.errors[:MAX_FIELD_ERRORS]))
    detail = f"Nothing was accepted. Wrong: {fields}."
    return problem(status, error.code, detail, errors=error.errors, headers=headers)


def field_errors(found: Sequence[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """Say pydantic's findings (`ValidationError.errors()`) as ours, one a field and finding."""
    return tuple(FieldError(_field(one["loc"]), _message(one["type"], one["msg"])) for one in found)


def _field(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location if part != "[key]") or "body"


def _message(kind: str, text: str) -> str:
    said = _MESSAGES.get(kind, text.replace("Input should", "Must"))
    return said if said.endswith(".") else f"{said}."


def install(app: FastAPI) -> None:
    """Let every error of a route answer with a Problem."""

    async def on_darkroom_error(_: Request, error: DarkroomError) -> Response:
        return darkroom_problem(error)

    async def on_http_error(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        said = None if error.detail in {status.phrase, "Content Too Large"} else error.detail
        return http_problem(status, said, headers=error.headers)

    async def on_bad_parameters(_: Request, error: RequestValidationError) -> Response:
        found = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
        return darkroom_problem(InvalidRequest(field_errors(found)))

    # Starlette types a handler for every exception; it calls it with the one that it is registered for.
    app.add_exception_handler(DarkroomError, cast("ExceptionHandler", on_darkroom_error))
    app.add_exception_handler(HTTPException, cast("ExceptionHandler", on_http_error))
    app.add_exception_handler(RequestValidationError, cast("ExceptionHandler", on_bad_parameters))
