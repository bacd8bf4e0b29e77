"""A courier's heartbeat, beaten by what it stands for: Celery's loop, as long as it takes calls from the queue.

The loop's timers run on no other thread. While the connection to Redis is lost the loop is not, nor its timers; a shift
that hangs keeps them from beating too. So whoever hears it knows more than that a process lives.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol, cast, final

from celery import Celery, bootsteps  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from redis import Redis

from shared.connection import run
from shared.errors import LayoutsApart, QueueUnavailable
from shared.parts import PartKind, this_part
from shared.scripts import attend, join

_logger = logging.getLogger(__name__)

PERIOD_S: Final = 5.0
HANGS_AFTER_S: Final = 60.0
"""A shift looks for more several times a second; one that has not for so long does nothing any more."""


@final
class Heartbeat:
    """Says in Redis that a courier takes calls."""

    def __init__(self, courier: str, redis: Redis) -> None:
        self._courier = courier
        self._part = this_part(PartKind.COURIER, courier)
        self._redis = redis
        self._moved_at: float | None = None
        self._told: str | None = None
        """Why it does not beat, once that was said; None while it beats."""

    def begin(self, app: Celery) -> None:
        """Have the app's worker beat."""
        cast("Any", app).steps["consumer"].add(_step_of(self))

    def join(self) -> None:
        """Say which version this courier is. Raises QueueUnavailable, LayoutsApart."""
        run(self._redis, join(self._part))

    def move(self) -> None:
        """Note that the shift goes on. Called from its thread."""
        self._moved_at = time.monotonic()

    def rest(self) -> None:
        """Note that the shift has ended."""
        self._moved_at = None

    def beat(self) -> None:
        """Beat, unless the shift hangs; never raises."""
        moved_at = self._moved_at
        if moved_at is not None and time.monotonic() - moved_at > HANGS_AFTER_S:
            self._note("the shift hangs")
            return
        try:
            self.join()
            run(self._redis, attend(self._courier))
        except QueueUnavailable:
            self._note("the queue does not answer")
        except LayoutsApart as error:  # Redis was away when we started, or has lost what it knew of us
            self._note(str(error))
        except Exception:
            _logger.exception("no heartbeat; it goes on")
        else:
            self._told = None

    def _note(self, trouble: str) -> None:
        if trouble != self._told:
            _logger.warning("no heartbeat: %s", trouble, extra={"courier": self._courier})
        self._told = trouble


class _Timer(Protocol):
    """The part of Celery's that is used here; it has no types of its own."""

    def call_repeatedly(self, secs: float, fun: Callable[[], object]) -> object: ...
    def cancel(self, tref: object) -> None: ...


class _Consumer(Protocol):
    timer: _Timer


def _step_of(heartbeat: Heartbeat) -> type:
    """Make what Celery starts when it begins to take calls, and stops when it no longer does."""

    class Beating(cast("Any", bootsteps).StartStopStep):
        requires: ClassVar = {"celery.worker.consumer.tasks:Tasks"}

        def __init__(self, consumer: _Consumer, **more: object) -> None:
            super().__init__(consumer, **more)  # pyright: ignore[reportUnknownMemberType]: celery's
            self._beats: object = None

        def start(self, consumer: _Consumer) -> None:
            heartbeat.beat()
            self._beats = consumer.timer.call_repeatedly(PERIOD_S, heartbeat.beat)

        def stop(self, consumer: _Consumer) -> None:
            if self._beats is not None:
                consumer.timer.cancel(self._beats)
                self._beats = None

        shutdown = stop

    return Beating
