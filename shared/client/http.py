"""How the client asks: bounded retries, answers turned into errors. Does no I/O: each function is a flow (`steps`)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, TypeVar
from uuid import uuid4

import httpx2
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from shared.client.steps import Flow, Open, Pause, Send, sent
from shared.contract import IDEMPOTENCY_KEY, Problem, checked_key
from shared.errors import (
    DarkroomError,
    FieldError,
    GatewayUnavailable,
    InvalidRequest,
    TooMuch,
    Unavailable,
    UnexpectedAnswer,
    leaf_of,
)
from shared.words import newer_words

TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
RETRY_DELAYS_S: Final = (0.1, 0.4)
"""Waits before what may be sent twice is sent again after its connection broke."""
MOST_PATIENCE_S: Final = 2
"""A 503 that asks to come back within this is obeyed once by what may be sent twice, but for reading: who reads a job
reads it again anyway."""

_BEHIND_A_PROXY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""With a page of its own, a proxy's words for a gateway that is away."""
_BY_STATUS: Final[Mapping[int, type[DarkroomError]]] = {
    HTTPStatus.TOO_MANY_REQUESTS: TooMuch,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
}
"""What a code that this version doesn't know comes to, where that says what to do: to come back."""
_BROKEN: Final = (httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError)

BodyT = TypeVar("BodyT", bound=BaseModel)
Query = Mapping[str, str | int]


def post(path: str, body: Mapping[str, object] | None, *, key: str | None = None) -> Flow[httpx2.Response]:
    """Send `body` as JSON; raise the error that the gateway names.

    Once, but with an idempotency key again after a broken connection or a short outage: it counts once all the same.
    """
    if key is None:
        return checked((yield from send(Send("POST", path, None, *_as_json(body, {})))))
    return (yield from post_once(Send("POST", path, None, *_as_json(body, {IDEMPOTENCY_KEY: key}))))


def ask(path: str, body: Mapping[str, object]) -> Flow[httpx2.Response]:
    """Send `body` to what only answers and changes nothing, again when the connection breaks, as `get` does."""
    return checked((yield from send(Send("POST", path, None, *_as_json(body, {})), RETRY_DELAYS_S)))


def post_once(step: Send) -> Flow[httpx2.Response]:
    """Send what has an idempotency key, and send it again as `post` does; raise the error that the gateway names."""
    response = yield from send(step, RETRY_DELAYS_S)
    if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and _retry_after_s(response) <= MOST_PATIENCE_S:
        yield Pause(_retry_after_s(response))
        response = yield from send(step, RETRY_DELAYS_S)
    return checked(response)


def once(said: str | None) -> str:
    """Draw an idempotency key unless there is one. Raises InvalidRequest."""
    return uuid4().hex if said is None else checked_key(said)


def put(path: str, body: Mapping[str, object]) -> Flow[httpx2.Response]:
    """Put `body`, as JSON, in the place of what is at `path`; raise the error that the gateway names."""
    return checked((yield from send(Send("PUT", path, None, *_as_json(body, {})))))


def patch(path: str, body: Mapping[str, object]) -> Flow[httpx2.Response]:
    """Change what is at `path` by what `body` names, as JSON; raise the error that the gateway names."""
    return checked((yield from send(Send("PATCH", path, None, *_as_json(body, {})))))


def delete(path: str) -> Flow[httpx2.Response]:
    """Delete what is at `path`, sent once; raise the error that the gateway names."""
    return checked((yield from send(Send("DELETE", path))))


def said(**query: str | int | None) -> Query:
    """What of a query was given."""
    return {name: value for name, value in query.items() if value is not None}


def get(path: str, query: Query | None = None) -> Flow[httpx2.Response]:
    """Read `path`, again when the connection breaks; raise the error that the gateway names."""
    return checked((yield from get_any(path, query)))


def get_any(path: str, query: Query | None = None) -> Flow[httpx2.Response]:
    """Read `path` as `get` does, and return the answer whatever its status."""
    return (yield from send(Send("GET", path, query), RETRY_DELAYS_S))


def send(step: Send | Open, delays_s: tuple[float, ...] = ()) -> Flow[httpx2.Response]:
    """Send, and again after each delay while the connection breaks. Raises GatewayUnavailable if nothing answers."""
    for delay_s in (*delays_s, None):
        try:
            return (yield from sent(step))
        except httpx2.HTTPError as error:
            if delay_s is None or not isinstance(error, _BROKEN):
                raise unreachable(error) from error
            yield Pause(delay_s)
    raise AssertionError("the last try returns or raises")


def unreachable(error: httpx2.HTTPError) -> GatewayUnavailable:
    """Say that nothing answers, and where."""
    url = error.request.url
    return GatewayUnavailable(
        f"The gateway at {url.scheme}://{url.netloc.decode()} does not answer ({type(error).__name__}). "
        "Check that it runs and that the address is right."
    )


def shortened(timeout: httpx2.Timeout, limit_s: float) -> httpx2.Timeout:
    """Bound each phase of a time-out."""
    phases = timeout.as_dict().items()
    return httpx2.Timeout(**{phase: limit_s if said is None else min(said, limit_s) for phase, said in phases})


def read(body: type[BodyT], response: httpx2.Response) -> BodyT:
    """Parse an answer; raise UnexpectedAnswer if it is something else."""
    return parsed(body, response.content, response)


def parsed(body: type[BodyT], content: bytes, response: httpx2.Response) -> BodyT:
    """Parse an answer or a part of one, with newer words if need be; raise UnexpectedAnswer if it is something else."""
    try:
        with newer_words():
            return body.model_validate_json(content)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"{response.url} answered {response.status_code} with something that is no {body.__name__}. "
            "Check the address, and that client and gateway are of the same version."
        ) from error


def problem_of(response: httpx2.Response) -> Problem:
    """Parse an error's answer."""
    return read(Problem, response)


def checked(response: httpx2.Response) -> httpx2.Response:
    """Return a successful answer; raise the error that any other one names."""
    if response.is_success:
        return response
    try:
        problem = problem_of(response)
    except UnexpectedAnswer as error:
        if response.status_code in _BEHIND_A_PROXY:
            raise GatewayUnavailable(
                f"A proxy at {response.url.host} answers {response.status_code}: the gateway behind it is away."
            ) from error
        raise
    raise _error_of(problem, response)


def _as_json(body: Mapping[str, object] | None, headers: dict[str, str]) -> tuple[bytes | None, dict[str, str]]:
    """What to send for `body`, and with which headers."""
    if body is None:
        return None, headers
    try:
        return to_json(body), {**headers, "Content-Type": "application/json"}
    except PydanticSerializationError as error:
        raise InvalidRequest((FieldError("body", f"Can't be written as JSON: {error}."),)) from error


def _error_of(problem: Problem, response: httpx2.Response) -> DarkroomError:
    if problem.code == InvalidRequest.code:
        return InvalidRequest(tuple(FieldError(wrong.field, wrong.message) for wrong in problem.errors))
    kind = leaf_of(problem.code) or _BY_STATUS.get(response.status_code)
    if kind is None:
        where = f" Request {problem.request_id}." if problem.request_id else ""
        return UnexpectedAnswer(f"{problem.title} ({problem.status}): {problem.detail}{where}")
    error = kind.quoted(problem.detail)
    if isinstance(error, TooMuch):
        error.retry_after_s = _retry_after_s(response)
    return error


def _retry_after_s(response: httpx2.Response) -> int:
    after = response.headers.get("Retry-After", "")
    return int(after) if after.isdecimal() else TooMuch.retry_after_s
