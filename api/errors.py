"""Which error answers with which HTTP status. In which body is the address's affair (`api.faults`).

The only place that pairs errors with statuses; docs/api.md lists them, and a test compares.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from api.faults import OURS, Fault, answer
from shared.errors import (
    BatchNotFound,
    CheckpointUnavailable,
    DarkroomError,
    DeadlinePassed,
    DeliveryNotFound,
    FieldError,
    GatewayStopping,
    GatewayUnavailable,
    GenerationFailed,
    IdempotencyMismatch,
    ImageNotFound,
    InvalidRequest,
    JobCanceled,
    JobNotFound,
    KeyNotFound,
    KeyRefused,
    KeyRequired,
    LayoutsApart,
    LeaseLost,
    ModelError,
    ModelNotFound,
    NoModel,
    NotRetryable,
    NoVocabulary,
    OutOfMemory,
    QueueFull,
    QueueUnavailable,
    RateLimited,
    ScopeMissing,
    StoreUnavailable,
    TenantQueueFull,
    TooMuch,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
    WebhookNotFound,
    WebhookOff,
    WorkerLost,
    WorkerNotFound,
    field_errors,
)

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = OURS.media_type

STATUSES: Final[Mapping[type[DarkroomError], HTTPStatus]] = {
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    JobNotFound: HTTPStatus.NOT_FOUND,
    BatchNotFound: HTTPStatus.NOT_FOUND,
    ImageNotFound: HTTPStatus.NOT_FOUND,
    WorkerNotFound: HTTPStatus.NOT_FOUND,
    WebhookNotFound: HTTPStatus.NOT_FOUND,
    DeliveryNotFound: HTTPStatus.NOT_FOUND,
    WebhookOff: HTTPStatus.CONFLICT,
    NotRetryable: HTTPStatus.CONFLICT,
    KeyRequired: HTTPStatus.UNAUTHORIZED,
    KeyRefused: HTTPStatus.UNAUTHORIZED,
    ScopeMissing: HTTPStatus.FORBIDDEN,
    KeyNotFound: HTTPStatus.NOT_FOUND,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    IdempotencyMismatch: HTTPStatus.CONFLICT,
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    TenantQueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    QueueUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    NoModel: HTTPStatus.SERVICE_UNAVAILABLE,
    NoVocabulary: HTTPStatus.SERVICE_UNAVAILABLE,
    # Of the dialects alone.
    ModelNotFound: HTTPStatus.NOT_FOUND,
    GatewayStopping: HTTPStatus.SERVICE_UNAVAILABLE,
    JobCanceled: HTTPStatus.CONFLICT,
    ModelError: HTTPStatus.INTERNAL_SERVER_ERROR,
    OutOfMemory: HTTPStatus.INTERNAL_SERVER_ERROR,
    WorkerLost: HTTPStatus.INTERNAL_SERVER_ERROR,
}

NEVER_ANSWERED: Final[frozenset[type[DarkroomError]]] = frozenset(
    {
        # In a job's `error`, which is read with 200.
        DeadlinePassed,
        # Inside a worker or a client. One that came up in the gateway would be a fault of ours: 500.
        CheckpointUnavailable,
        LayoutsApart,
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
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.MISDIRECTED_REQUEST: "host_not_allowed",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "headers_too_large",
    HTTPStatus.INTERNAL_SERVER_ERROR: DarkroomError.code,
}
"""Codes of what goes wrong before a request reaches a route, or behind every plan."""

MAX_FIELD_ERRORS: Final = 32
MAX_FIELD_CHARS: Final = 100

_DETAILS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.BAD_REQUEST: "This is no HTTP/1.1 request that the gateway can read.",
    HTTPStatus.NOT_FOUND: "There is nothing here. GET / lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address takes other methods: see the Allow header.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to come in whole. Send it again.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large. A request is text: keep it below 256 KiB.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The address and the headers are too large: keep them below 32 KiB.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong in the gateway. Its log has the rest under the request id.",
}


def fault_of(error: DarkroomError) -> Fault:
    """Tell what an error of ours says to the caller."""
    status = STATUSES.get(type(error))
    if status is None:
        log.error("%s reached the edge", type(error).__name__, exc_info=error)
        return _http_fault(HTTPStatus.INTERNAL_SERVER_ERROR)
    headers: dict[str, str] = {}
    if isinstance(error, TooMuch | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, GenerationFailed):
        headers["X-Should-Retry"] = "false"  # OpenAI's client would have it drawn, in vain, twice more
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if not isinstance(error, InvalidRequest):
        return Fault(status, error.code, str(error), headers=headers)
    fields = ", ".join(dict.fromkeys(wrong.field[:MAX_FIELD_CHARS] for wrong in error.errors[:MAX_FIELD_ERRORS]))
    return Fault(status, error.code, f"Nothing was accepted. Wrong: {fields}.", _shown(error.errors), headers)


def darkroom_problem(error: DarkroomError) -> Response:
    """Answer with an error of ours."""
    return answer(fault_of(error))


def http_problem(
    status: HTTPStatus, detail: str | None = None, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a bare status."""
    return answer(_http_fault(status, detail, headers))


def refusal(error: HTTPException) -> Response:
    """Answer with what Starlette, or a route in its words, refuses."""
    status = HTTPStatus(error.status_code)
    said = None if error.detail in {status.phrase, "Content Too Large"} else error.detail
    return http_problem(status, said, headers=error.headers)


def _http_fault(status: HTTPStatus, detail: str | None = None, headers: Mapping[str, str] | None = None) -> Fault:
    code = HTTP_CODES.get(status, status.phrase.lower().replace(" ", "_"))
    said = detail or _DETAILS.get(status, status.description)
    return Fault(status, code, said, headers=headers or {})


def _shown(errors: Sequence[FieldError]) -> tuple[FieldError, ...]:
    """Cut what would make an answer too long."""
    shown = tuple(FieldError(error.field[:MAX_FIELD_CHARS], error.message) for error in errors[:MAX_FIELD_ERRORS])
    left_out = len(errors) - len(shown)
    return (*shown, FieldError("body", f"And {left_out} more fields.")) if left_out else shown


def _methods(app: FastAPI, path: str) -> set[str]:
    """All that an address takes; the route that refused a method knows of its own alone."""
    found = (route for route in iter_route_contexts(app.routes) if route.path_regex.match(path))
    return {method for route in found for method in route.methods or ()}


def install(app: FastAPI) -> None:
    """Let every error of a route be answered."""

    async def on_darkroom_error(_: Request, error: DarkroomError) -> Response:
        return darkroom_problem(error)

    async def on_http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(sorted(_methods(app, request.url.path)))
            error.headers = {**(error.headers or {}), "Allow": allowed}
        return refusal(error)

    async def on_bad_parameters(_: Request, error: RequestValidationError) -> Response:
        found = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
        return darkroom_problem(InvalidRequest(field_errors(found)))

    # Starlette types a handler for every exception; it calls it with the one that it is registered for.
    app.add_exception_handler(DarkroomError, cast("ExceptionHandler", on_darkroom_error))
    app.add_exception_handler(HTTPException, cast("ExceptionHandler", on_http_error))
    app.add_exception_handler(RequestValidationError, cast("ExceptionHandler", on_bad_parameters))
