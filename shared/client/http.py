"""The client's side of HTTP: one pool of connections, bounded retries, answers turned into errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from shared.contract import IDEMPOTENCY_KEY, Problem
from shared.errors import (
    DarkroomError,
    FieldError,
    GatewayUnavailable,
    InvalidRequest,
    TooMuch,
    UnexpectedAnswer,
    leaf_of,
)
from shared.network import LOOPBACK

TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
HOLD_S: Final = 15.0
"""How long the gateway may hold an answer: less than proxies bear."""
RETRY_DELAYS_S: Final = (0.1, 0.4)
"""Waits before what may be sent twice is sent again after its connection broke."""
MOST_PATIENCE_S: Final = 2
"""A 503 that asks to come back within this is obeyed once by what may be sent twice, but for reading: who reads a job
reads it again anyway."""

_BROKEN: Final = (httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError)

BodyT = TypeVar("BodyT", bound=BaseModel)


class Http:
    """Sends requests to one gateway. Raises GatewayUnavailable if nothing answers."""

    def __init__(self, base_url: str, *, timeout: httpx2.Timeout, transport: httpx2.BaseTransport | None) -> None:
        self.base_url = base_url
        self._timeout = timeout
        self._http = httpx2.Client(
            base_url=base_url,
            timeout=timeout,
            transport=transport,
            follow_redirects=True,
            # A proxy from the environment can't reach a gateway on this machine.
            trust_env=urlsplit(base_url).hostname not in LOOPBACK,
        )

    @property
    def longest_hold_s(self) -> float:
        """How long the gateway may hold an answer: well below the time-out."""
        read_s = self._timeout.read
        return HOLD_S if read_s is None else min(HOLD_S, read_s / 2)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def post(self, path: str, body: dict[str, object] | None, *, key: str | None = None) -> httpx2.Response:
        """Send `body` as JSON; raise the error that the gateway names.

        Once, but with an idempotency key again after a broken connection or a short outage: it counts once all the
        same.
        """
        try:
            content = None if body is None else to_json(body)
        except PydanticSerializationError as error:
            raise InvalidRequest((FieldError("body", f"Can't be written as JSON: {error}."),)) from error
        headers = {} if content is None else {"Content-Type": "application/json"}
        if key is not None:
            headers[IDEMPOTENCY_KEY] = key

        def send() -> httpx2.Response:
            return self._http.post(path, content=content, headers=headers)

        if key is None:
            return checked(self._send(send, ()))
        response = self._send(send, RETRY_DELAYS_S)
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and _retry_after_s(response) <= MOST_PATIENCE_S:
            time.sleep(_retry_after_s(response))
            response = self._send(send, RETRY_DELAYS_S)
        return checked(response)

    def delete(self, path: str) -> None:
        """Delete what is at `path`, sent once; raise the error that the gateway names."""
        checked(self._send(lambda: self._http.delete(path), ()))

    def get(self, path: str, query: dict[str, str | int] | None = None) -> httpx2.Response:
        """Read `path`; raise the error that the gateway names."""
        return checked(self.get_any(path, query))

    def get_once(self, path: str, query: dict[str, str | int], *, within_s: float) -> httpx2.Response:
        """Read `path` as `get` does, but not again after a broken connection; `within_s` shortens the time-out."""
        timeout = _shortened(self._timeout, within_s)
        return checked(self._send(lambda: self._http.get(path, params=query, timeout=timeout), ()))

    def get_any(self, path: str, query: dict[str, str | int] | None = None) -> httpx2.Response:
        """Read `path` as `get` does, and return the answer whatever its status."""
        return self._send(lambda: self._http.get(path, params=query), RETRY_DELAYS_S)

    def _send(self, send: Callable[[], httpx2.Response], delays_s: tuple[float, ...]) -> httpx2.Response:
        """Send, and again after each delay while the connection breaks."""
        for delay_s in (*delays_s, None):
            try:
                return send()
            except httpx2.HTTPError as error:
                if delay_s is None or not isinstance(error, _BROKEN):
                    raise self._unreachable(error) from error
                time.sleep(delay_s)
        raise AssertionError("the last try returns or raises")

    def _unreachable(self, error: httpx2.HTTPError) -> GatewayUnavailable:
        return GatewayUnavailable(
            f"The gateway at {self.base_url} does not answer ({type(error).__name__}). "
            "Check that it runs and that the address is right."
        )


def _shortened(timeout: httpx2.Timeout, limit_s: float) -> httpx2.Timeout:
    phases = timeout.as_dict().items()
    return httpx2.Timeout(**{phase: limit_s if said is None else min(said, limit_s) for phase, said in phases})


def read(body: type[BodyT], response: httpx2.Response) -> BodyT:
    """Parse an answer; raise UnexpectedAnswer if it is something else."""
    try:
        return body.model_validate_json(response.content)
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
    raise _error_of(problem_of(response), response)


def _error_of(problem: Problem, response: httpx2.Response) -> DarkroomError:
    if problem.code == InvalidRequest.code:
        return InvalidRequest(tuple(FieldError(wrong.field, wrong.message) for wrong in problem.errors))
    leaf = leaf_of(problem.code)
    if leaf is None:
        where = f" Request {problem.request_id}." if problem.request_id else ""
        return UnexpectedAnswer(f"{problem.title} ({problem.status}): {problem.detail}{where}")
    error = leaf.quoted(problem.detail)
    if isinstance(error, TooMuch):
        error.retry_after_s = _retry_after_s(response)
    return error


def _retry_after_s(response: httpx2.Response) -> int:
    after = response.headers.get("Retry-After", "")
    return int(after) if after.isdecimal() else TooMuch.retry_after_s
