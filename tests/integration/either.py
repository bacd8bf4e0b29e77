"""Both of the Python client's kinds in one form, so that a test says once what both do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from shared.client import AsyncClient, Client


class Blocking:
    """An `AsyncClient` that blocks, in a loop of its own."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def call(*args: object, **said: object) -> object:
            answer = getattr(self._client, verb)(*args, **said)
            if inspect.iscoroutine(answer):
                return self._runner.run(answer)
            return self._each(cast("AsyncGenerator[object]", answer))

        return call

    def _each(self, answer: AsyncGenerator[object]) -> Iterator[object]:
        async def step() -> list[object]:
            return [one async for one in _first(answer)]

        while one := self._runner.run(step()):
            yield from one

    def stop(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


@contextmanager
def either(kind: type[Client | AsyncClient], url: str) -> Generator[Client]:
    """A client of this kind; that both have the same verbs is another test's affair."""
    if kind is Client:
        with Client(url) as client:
            yield client
        return
    blocking = Blocking(AsyncClient(url))
    try:
        yield cast("Client", blocking)
    finally:
        blocking.stop()


async def _first(answer: AsyncGenerator[object]) -> AsyncGenerator[object]:
    found = await anext(answer, None)
    if found is not None:
        yield found
