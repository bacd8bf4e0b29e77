"""The client's I/O: one pool of connections, and the steps of a flow taken over it, by blocking or by awaiting.

Raw HTTP goes no further than here; what is asked and what an answer means stands in the flows.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2

from shared.client.steps import Answer, Course, Emit, Emitting, Flow, Next, Open, Pause, Send, Step
from shared.contract import KEY_IS, REQUIRED, VISITOR
from shared.errors import FieldError, InvalidRequest
from shared.network import LOOPBACK

T = TypeVar("T")

_PRINTABLE = re.compile(r"[ -~]+")


class _Options(TypedDict):
    """What both of httpx2's clients are made with."""

    base_url: str
    timeout: httpx2.Timeout
    follow_redirects: bool
    trust_env: bool


def _options(base_url: str, timeout: httpx2.Timeout) -> _Options:
    return {
        "base_url": base_url,
        "timeout": timeout,
        "follow_redirects": True,
        # A proxy from the environment can't reach a gateway on this machine.
        "trust_env": urlsplit(base_url).hostname not in LOOPBACK,
    }


class Driver:
    """Takes steps by blocking. Serves many threads."""

    def __init__(self, http: httpx2.Client, identity: Mapping[str, str]) -> None:
        self._http = http
        self._identity = identity

    @classmethod
    def to(cls, base_url: str, timeout: httpx2.Timeout, transport: httpx2.BaseTransport | None) -> Self:
        """Make one for a gateway, as nobody."""
        return cls(httpx2.Client(**_options(base_url, timeout), transport=transport), {})

    def asking_as(self, api_key: str | None, visitor: str | None, *, must_know: bool = False) -> Self:
        """Give one over the same connections that says who asks. Raises InvalidRequest for what no header can hold."""
        return type(self)(self._http, {**self._identity, **_identity(api_key, visitor, must_know=must_know)})

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Take a flow to its end."""
        course = Course(flow)
        for _ in self._emitted(course):
            raise TypeError("a flow that emits is iterated")
        return course.value

    def each(self, flow: Emitting[T]) -> Generator[T]:
        """Take a flow to its end and hand on what it emits."""
        return self._emitted(Course(flow))

    def save(self, flow: Emitting[bytes], path: Path) -> Path:
        """Take a flow to its end and write what it emits to a file, which is there once it is whole. Raises OSError."""
        with _part_of(path) as part:
            with part.open("wb") as file:
                for chunk in self.each(flow):
                    file.write(chunk)
            part.replace(path)
        return path

    def _emitted(self, course: Course) -> Generator[Any]:
        with _Stream(self._http, self._identity) as stream:
            while (step := course.step) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    course.go_on(None)
                    continue
                try:
                    answer = self._take(step, stream)
                except httpx2.HTTPError as error:
                    course.fail(error)
                else:
                    course.go_on(answer)

    def _take(self, step: Step, stream: _Stream) -> Answer:
        match step:
            case Send():
                return self._http.send(_request(self._http, step, self._identity))
            case Open():
                return stream.open(step)
            case Next():
                return stream.next()
            case Pause():
                time.sleep(step.seconds)
                return None


class AsyncDriver:
    """Takes steps by awaiting, in one event loop."""

    def __init__(self, http: httpx2.AsyncClient, identity: Mapping[str, str]) -> None:
        self._http = http
        self._identity = identity

    @classmethod
    def to(cls, base_url: str, timeout: httpx2.Timeout, transport: httpx2.AsyncBaseTransport | None) -> Self:
        """Make one for a gateway, as nobody."""
        return cls(httpx2.AsyncClient(**_options(base_url, timeout), transport=transport), {})

    def asking_as(self, api_key: str | None, visitor: str | None, *, must_know: bool = False) -> Self:
        """Give one over the same connections that says who asks. Raises InvalidRequest for what no header can hold."""
        return type(self)(self._http, {**self._identity, **_identity(api_key, visitor, must_know=must_know)})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Take a flow to its end."""
        course = Course(flow)
        async for _ in self._emitted(course):
            raise TypeError("a flow that emits is iterated")
        return course.value

    def each(self, flow: Emitting[T]) -> AsyncGenerator[T]:
        """Take a flow to its end and hand on what it emits."""
        return self._emitted(Course(flow))

    async def save(self, flow: Emitting[bytes], path: Path) -> Path:
        """Take a flow to its end and write what it emits to a file, which is there once it is whole. Raises OSError."""
        with _part_of(path) as part:
            with await asyncio.to_thread(part.open, "wb") as file:
                async with aclosing(self.each(flow)) as chunks:
                    async for chunk in chunks:
                        await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(part.replace, path)
        return path

    async def _emitted(self, course: Course) -> AsyncGenerator[Any]:
        async with _AsyncStream(self._http, self._identity) as stream:
            while (step := course.step) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    course.go_on(None)
                    continue
                try:
                    answer = await self._take(step, stream)
                except httpx2.HTTPError as error:
                    course.fail(error)
                else:
                    course.go_on(answer)

    async def _take(self, step: Step, stream: _AsyncStream) -> Answer:
        match step:
            case Send():
                return await self._http.send(_request(self._http, step, self._identity))
            case Open():
                return await stream.open(step)
            case Next():
                return await stream.next()
            case Pause():
                await asyncio.sleep(step.seconds)
                return None


class _Stream(ExitStack):
    """The stream that is open now, if one is."""

    def __init__(self, http: httpx2.Client, identity: Mapping[str, str]) -> None:
        super().__init__()
        self._http = http
        self._identity = identity
        self._parts: Iterator[httpx2.ServerSentEvent | bytes] = iter(())

    def open(self, step: Open) -> httpx2.Response:
        self.close()
        response = self._http.send(_request(self._http, step, self._identity), stream=True)
        self.callback(response.close)
        if response.status_code != HTTPStatus.OK:
            response.read()
            return response
        self._parts = iter(httpx2.EventSource(response)) if step.is_of_events else response.iter_bytes()
        return response

    def next(self) -> httpx2.ServerSentEvent | bytes | None:
        return next(self._parts, None)


class _AsyncStream(AsyncExitStack):
    """The stream that is open now, if one is."""

    def __init__(self, http: httpx2.AsyncClient, identity: Mapping[str, str]) -> None:
        super().__init__()
        self._http = http
        self._identity = identity
        self._parts: AsyncIterator[httpx2.ServerSentEvent | bytes] | None = None

    async def open(self, step: Open) -> httpx2.Response:
        await self.aclose()
        response = await self._http.send(_request(self._http, step, self._identity), stream=True)
        self.push_async_callback(response.aclose)
        if response.status_code != HTTPStatus.OK:
            await response.aread()
            return response
        self._parts = aiter(httpx2.EventSource(response)) if step.is_of_events else response.aiter_bytes()
        return response

    async def next(self) -> httpx2.ServerSentEvent | bytes | None:
        return None if self._parts is None else await anext(self._parts, None)


@contextmanager
def _part_of(path: Path) -> Generator[Path]:
    """Where a file is written until it is whole: beside its place, and gone if it never is."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _identity(api_key: str | None, visitor: str | None, *, must_know: bool) -> dict[str, str]:
    said = {
        "Authorization": api_key and f"Bearer {api_key}",
        VISITOR: visitor,
        KEY_IS: REQUIRED if must_know else None,
    }
    headers = {name: value for name, value in said.items() if value}
    if wrong := [name for name, value in headers.items() if not _PRINTABLE.fullmatch(value)]:
        raise InvalidRequest(tuple(FieldError(name, "Must be visible ASCII characters.") for name in wrong))
    return headers


def _request(
    http: httpx2.Client | httpx2.AsyncClient, step: Send | Open, identity: Mapping[str, str]
) -> httpx2.Request:
    said: dict[str, Any] = {} if step.timeout is None else {"timeout": step.timeout}
    headers = {**identity, **step.headers}
    if isinstance(step, Open):
        return http.build_request("GET", step.path, params=step.query, headers=headers, **said)
    return http.build_request(step.method, step.path, params=step.query, content=step.content, headers=headers, **said)
