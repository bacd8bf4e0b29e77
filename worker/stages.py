"""The stages that a picture goes through at a worker, and who hears of each: metrics, traces.

    prompt ──► denoise ──► decode ──► encode ──► upload ──► record
    └──── told by the engine ─────┘   └──── timed in delivery ────┘

What lies between two of them is waiting. Knows neither meters nor the engine; for any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, final

from shared.scripts import Lease


class Stage(StrEnum):
    """What is done with a picture."""

    PROMPT = "prompt"
    """Its texts become what the UNet reads; next to nothing if they are remembered."""
    DENOISE = "denoise"
    """From the begin of its first step to the end of its last: with the rows that step beside it, and its pauses."""
    DECODE = "decode"
    """The VAE makes pixels of it, without waiting for the device."""
    ENCODE = "encode"
    """Pixels become a file."""
    UPLOAD = "upload"
    """The object store takes it: one try."""
    RECORD = "record"
    """The queue notes it, however often it has to be asked."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A picture went through a stage, or failed in it."""

    stage: Stage
    lease: Lease
    """Whose picture it is: a job's, in one attempt."""
    index: int
    """Which of the job's pictures."""
    began_at: float
    """In seconds since 1970, as `time.time()`."""
    ended_at: float
    error: Exception | None = None
    """What it failed with; None if it did not."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_at - self.began_at


Listener: TypeAlias = Callable[[Passage], None]
"""Called at the end of each stage, in the thread that it ended in: it must be quick, and raise nothing."""


@final
class Stages:
    """Tells listeners what pictures go through."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> None:
        """Tell this one as well, from now on."""
        self._listeners = (*self._listeners, listener)

    def note(self, passage: Passage) -> None:
        """Tell of a stage that is over."""
        for listener in self._listeners:
            listener(passage)

    @contextmanager
    def timed(self, stage: Stage, lease: Lease, index: int) -> Generator[None]:
        """Tell of what is done in here, also if it fails."""
        began_at, begun = time.time(), time.perf_counter()
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
            raise
        finally:
            # By a clock that nobody sets: a stage has no negative time.
            ended_at = began_at + time.perf_counter() - begun
            self.note(Passage(stage, lease, index, began_at, ended_at, error))
