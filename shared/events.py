"""What a stream of events tells of a job: the bodies that the gateway sends and the client reads.

Each body has the name of its event; the end of a job is told by the whole `JobBody`. How they are written on the wire,
and what their ids say, is the gateway's affair (`api/`); a reader hands the last id back as it came.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from shared.contract import Body, ImageBody, JobBody, Reason, TimeLeft
from shared.jobs import JobId


class Queued(Body):
    """It waits: told when it begins to, and when its place, its reason or, noticeably, its time left have changed."""

    job: JobId
    version: int
    position: int | None
    """Place among those that wait for the model, 0 goes next; null unless it waits for a worker."""
    reason: Reason | None
    time_left: TimeLeft | None


class Progressed(Body):
    """It is being drawn: told when it begins, and with each report of its worker."""

    job: JobId
    version: int
    step: int
    """Denoising steps done over all of its pictures."""
    steps: int
    images_done: int
    images: int
    time_left: TimeLeft | None
    preview: str | None = None
    """A new sketch as a `data:image/jpeg;base64,...` URI; null unless previews were asked for and there is one."""


class Pictured(Body):
    """One of its pictures is done."""

    job: JobId
    version: int
    image: ImageBody


class Gone(Body):
    """It was deleted: nothing more comes of it."""

    job: JobId


EventBody: TypeAlias = Queued | Progressed | Pictured | JobBody | Gone

EVENTS: Final[dict[str, type[EventBody]]] = {
    "queued": Queued,
    "progress": Progressed,
    "image": Pictured,
    "end": JobBody,
    "gone": Gone,
}
"""The events by the names that they have on the wire."""

NAMES: Final[dict[type[EventBody], str]] = {body: name for name, body in EVENTS.items()}

LAST_EVENT_ID: Final = "Last-Event-ID"
"""The header by which a reader says what it has seen."""
