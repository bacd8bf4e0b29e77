"""What a verb of the client does, step by step, as values: taken by blocking or by awaiting (`drivers`).

A flow is a generator. It yields a step, is sent what came of it, or has the step's `httpx2.HTTPError` thrown in, and
returns the verb's value. So what is sent, when it is sent again and how long an outage is borne stands once. A flow
that is iterated, or saved, also yields what it `Emit`s.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import httpx2

T = TypeVar("T")
E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; its answer is read whole."""

    method: str
    path: str
    query: Mapping[str, str | int] | None = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: httpx2.Timeout | None = None
    """None: the client's own."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open a stream in place of the one that is open; any answer but 200 is read whole."""

    path: str
    query: Mapping[str, str | int]
    headers: Mapping[str, str]
    timeout: httpx2.Timeout
    is_of_events: bool = True
    """False: its parts are bytes, as they come."""


@dataclass(frozen=True, slots=True)
class Next:
    """Wait for the stream's next part; None comes at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[E_co]):
    """Hand something to who iterates."""

    value: E_co


Step: TypeAlias = Send | Open | Next | Pause
Answer: TypeAlias = httpx2.Response | httpx2.ServerSentEvent | bytes | None
Flow: TypeAlias = Generator[Step, Answer, T]
Emitting: TypeAlias = Generator[Step | Emit[T], Answer, None]
"""A flow that hands on one `T` after another."""


class Course:
    """A flow under way: its present step, None at its end."""

    def __init__(self, flow: Generator[Step | Emit[Any], Answer, Any]) -> None:
        self._flow = flow
        self.value: Any = None
        """What the flow returned, at its end."""
        self.step: Step | Emit[Any] | None = self._moved(lambda: next(flow))

    def go_on(self, answer: Answer) -> None:
        """Say what came of the step."""
        self.step = self._moved(lambda: self._flow.send(answer))

    def fail(self, error: httpx2.HTTPError) -> None:
        """Say that the step failed."""
        self.step = self._moved(lambda: self._flow.throw(error))

    def _moved(self, move: Callable[[], Step | Emit[Any]]) -> Step | Emit[Any] | None:
        try:
            return move()
        except StopIteration as end:
            self.value = end.value
            return None


def sent(step: Send | Open) -> Flow[httpx2.Response]:
    """Take a step that brings an answer."""
    answer = yield step
    if not isinstance(answer, httpx2.Response):
        raise TypeError(f"an answer was expected, not {answer!r}")
    return answer


def next_event() -> Flow[httpx2.ServerSentEvent | None]:
    """Take the next event of the open stream."""
    answer = yield Next()
    if answer is None or isinstance(answer, httpx2.ServerSentEvent):
        return answer
    raise TypeError(f"an event was expected, not {answer!r}")


def next_chunk() -> Flow[bytes | None]:
    """Take the next bytes of the open stream."""
    answer = yield Next()
    if answer is None or isinstance(answer, bytes):
        return answer
    raise TypeError(f"bytes were expected, not {answer!r}")
