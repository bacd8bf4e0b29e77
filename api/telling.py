"""What is told of a job to one reader: events made of how it stands and of what the reader has seen. Pure: no I/O.

No events are stored. An id says what has been seen, so any gateway goes on from it by looking at the job's record:
nothing expires, nothing that was seen comes again, no picture and no end is lost, and what came and went between two
looks is one event.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self, final

from api.outlook import Prospect
from shared.contract import TimeLeft, image_body, job_body
from shared.events import EventBody, Pictured, Progressed, Queued
from shared.jobs import Job, JobStatus

NOTICED_S: Final = 2.0
NOTICED_SHARE: Final = 0.2
"""A reader counts the time left down; it is told anew when it is off by more than this, and by this part of it."""

_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,9})-([0-9a-f]{1,16})(?:-([0-9]{0,9}\.[a-z_]{0,30}))?")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a reader is told."""

    body: EventBody
    id: str | None = None
    """What has been seen with this; None if it says no more than the last one."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Nothing has happened; the stream is there."""

    said: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """How a job stands and what it has before it, as of a look."""

    job: Job
    prospect: Prospect
    at_s: float
    """When, by the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader has seen of a job: `<version>-<step>-<pictures>`, and `-<place>.<reason>` of one that waits."""

    version: int = 0
    step: int = 0
    images: int = 0
    """A bit for each picture, by its index."""
    waits: str = ""

    def __str__(self) -> str:
        return f"{self.version}-{self.step}-{self.images:x}" + (f"-{self.waits}" if self.waits else "")

    @classmethod
    def of(cls, event_id: str | None) -> Self:
        """Read an event's id; nothing has been seen by whoever has none, or one that is none of ours."""
        match = _ID.fullmatch(event_id or "")
        if match is None:
            return cls()
        version, step, images, waits = match.groups("")
        return cls(int(version), int(step), int(images, 16), waits)

    def has_end_of(self, job: Job) -> bool:
        """True if nothing more can come."""
        return job.status.is_terminal and self.version == job.version


NOTHING: Final = Seen()


@final
class Telling:
    """What one reader has been told of a job, and what is news to them."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._last: View | None = None
        """The last view that was told, or came first."""
        self._jpeg: bytes | None = None

    def news(self, view: View, jpeg: bytes | None = None) -> Iterator[Event]:
        """Tell what is new since the last view: pictures by their index, then how the job stands.

        `jpeg`: its latest preview, if the reader wants those and there is one.
        """
        job = view.job
        for image in job.images:
            if not self.seen.images >> image.index & 1:
                self.seen = replace(self.seen, images=self.seen.images | 1 << image.index)
                body = Pictured(job=job.id, version=job.version, image=image_body(job, image))
                yield Event(body, str(self.seen))
        match job.status:
            case JobStatus.QUEUED:
                yield from self._queued(view)
            case JobStatus.RUNNING:
                yield from self._progressed(view, jpeg)
            case _ if not self.seen.has_end_of(job):
                yield self._event(view, job_body(job, now_ms=time.time_ns() // 1_000_000))
            case _:
                pass

    def _queued(self, view: View) -> Iterator[Event]:
        job, prospect = view.job, view.prospect
        place = "" if job.position is None else str(job.position)
        waits = f"{place}.{prospect.reason.code if prospect.reason else ''}"
        if (job.version, waits) != (self.seen.version, self.seen.waits) or _is_noticed(self._last or view, view):
            body = Queued(
                job=job.id,
                version=job.version,
                position=job.position,
                reason=prospect.reason,
                time_left=prospect.time_left,
            )
            yield self._event(view, body, waits)
        self._last = self._last or view

    def _progressed(self, view: View, jpeg: bytes | None) -> Iterator[Event]:
        job = view.job
        is_further = (job.version, job.step) != (self.seen.version, self.seen.step)
        # Who comes back to where they were had this preview before.
        is_new = jpeg is not None and jpeg != self._jpeg and (self._last is not None or is_further)
        self._jpeg = jpeg or self._jpeg
        if is_further or is_new:
            body = Progressed(
                job=job.id,
                version=job.version,
                step=job.step,
                steps=job.steps,
                images_done=len(job.images),
                images=job.params.num_images,
                time_left=view.prospect.time_left,
                preview=_data_uri(jpeg) if jpeg and is_new else None,
            )
            yield self._event(view, body)
        self._last = self._last or view

    def _event(self, view: View, body: EventBody, waits: str = "") -> Event:
        self._last = view
        self.seen = Seen(view.job.version, view.job.step, self.seen.images, waits)
        return Event(body, str(self.seen))


def _is_noticed(told: View, view: View) -> bool:
    """True if the time left is another than what the one told has become by now."""
    before, now = told.prospect.time_left, view.prospect.time_left
    if before is None or now is None:
        return before is not now
    return _off_s(before, now, view.at_s - told.at_s) > max(NOTICED_S, NOTICED_SHARE * now.seconds)


def _off_s(before: TimeLeft, now: TimeLeft, elapsed_s: float) -> float:
    return abs(now.seconds - max(0.0, before.seconds - elapsed_s))


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
