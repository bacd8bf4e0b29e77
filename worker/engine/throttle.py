"""Keeps the engine one step ahead of the device, not more: a row that comes must not wait behind steps in its queue.

On CUDA a step is queued by the host and done by the device later. So what a step took is known one step after, by the
device's own clock. Elsewhere it is done, and known, when the call returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast, final

import torch

T = TypeVar("T")


class Mark(Protocol):
    """A point in the device's work: `torch.cuda.Event`, as far as it is used here."""

    def record(self) -> None:
        """Be the point behind all that is queued by now."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has come to it."""
        ...

    def elapsed_time(self, end: Mark) -> float:
        """Milliseconds from this point to a later one, both come to."""
        ...


def cuda_mark() -> Mark:
    """Make a mark of CUDA's, to be recorded on the stream that is current then."""
    return cast("Mark", torch.cuda.Event(enable_timing=True))


@dataclass(frozen=True, slots=True)
class _Queued(Generic[T]):
    step: T
    begin: Mark
    end: Mark


@final
class Throttle(Generic[T]):
    """Told when a step begins and when all of it is queued; tells which steps are done. Not yet measured on a GPU."""

    def __init__(self, *, is_queued: bool, mark: Callable[[], Mark] = cuda_mark) -> None:
        """`is_queued`: the device works behind the host's back, as CUDA does."""
        self._is_queued = is_queued
        self._make_mark = mark
        self._begin: Mark | None = None
        self._begun_at = 0.0
        self._before: _Queued[T] | None = None

    @property
    def is_ahead(self) -> bool:
        """True while the device has a step whose end nobody has been told."""
        return self._before is not None

    def begin(self) -> None:
        """A step begins."""
        self._begun_at = time.monotonic()
        if self._is_queued:
            self._begin = self._marked()

    def queued(self, step: T) -> tuple[T, float] | None:
        """All of a step is queued: wait until the one before it is done, and return that one and its seconds."""
        if self._begin is None:
            return step, time.monotonic() - self._begun_at
        before, self._before = self._before, _Queued(step, self._begin, self._marked())
        return None if before is None else _done(before)

    def last(self) -> tuple[T, float] | None:
        """Nothing is to be queued: wait for the step that the device still has, if it has one."""
        before, self._before = self._before, None
        return None if before is None else _done(before)

    def _marked(self) -> Mark:
        mark = self._make_mark()
        mark.record()
        return mark


def _done(queued: _Queued[T]) -> tuple[T, float]:
    queued.end.synchronize()
    return queued.step, queued.begin.elapsed_time(queued.end) / 1000
