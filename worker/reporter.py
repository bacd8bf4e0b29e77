"""Tells the queue how far the jobs are, from a thread of its own, so that a slow Redis never holds up a step.

Of each job only the latest report is kept: when Redis is slower than the engine, steps are skipped,
not queued. The answers bring the news that a job was canceled or lost.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import Final, final

import redis

from shared.connection import run
from shared.errors import LeaseLost, QueueUnavailable
from shared.generation import Size
from shared.jobs import Notes
from shared.scripts import Lease, progress
from worker.engine.events import Picture
from worker.images import encode_preview
from worker.news import Inbox, Lost

PAUSE_AFTER_ERROR_S: Final = 0.5

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """A preview that is not computed yet, and the size of the picture that it shows."""

    picture: Picture
    size: Size


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """How far a job is."""

    lease: Lease
    step: int
    notes: Notes
    sketch: Sketch | None = None


@final
class Reporter:
    """Sends the latest report of each job, one at a time."""

    def __init__(self, client: redis.Redis, inbox: Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._latest: dict[Lease, Report] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def report(self, report: Report) -> None:
        """Have this told soon; replaces what was not yet told of the job."""
        with self._changed:
            untold = self._latest.get(report.lease)
            if untold is not None and report.sketch is None:
                report = replace(report, sketch=untold.sketch)
            self._latest[report.lease] = report
            self._changed.notify()

    def close(self) -> None:
        """Send no more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while (report := self._next()) is not None:
            try:
                self._send(report)
            except LeaseLost:
                self._inbox.put(Lost(report.lease))
            except QueueUnavailable:
                with self._changed:
                    self._latest.setdefault(report.lease, report)  # unless there is newer news
                    self._changed.wait_for(lambda: self._closing, PAUSE_AFTER_ERROR_S)
            except Exception:
                _logger.exception("a report was not sent", extra={"job": report.lease.job_id})

    def _next(self) -> Report | None:
        with self._changed:
            self._changed.wait_for(lambda: self._latest or self._closing)
            if self._closing:
                return None
            return self._latest.pop(next(iter(self._latest)))

    def _send(self, report: Report) -> None:
        call = progress(report.lease, report.step, notes=report.notes, jpeg=_jpeg(report.sketch))
        run(self._client, call)


def _jpeg(sketch: Sketch | None) -> bytes:
    """Compute and encode a preview; nothing if it can't be: no picture fails for want of one."""
    if sketch is None:
        return b""
    try:
        return encode_preview(sketch.picture.pixels(), sketch.size)
    except Exception as error:  # noqa: BLE001 (a model may raise anything)
        _logger.warning("no preview: %r", error)
        return b""
