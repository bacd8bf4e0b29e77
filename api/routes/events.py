"""`/v1/jobs/{id}/events` and `/v1/events`: what happens to jobs, told as it happens, as Server-Sent Events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Send

from api.deps import TheGateway, TheJobId, TheTenant
from api.openapi import Responses, event_stream, problems
from api.streams import Stream
from api.telling import Event, Seen, Sign
from api.waiting import TheStay
from shared.errors import InvalidRequest, JobNotFound, QueueUnavailable
from shared.events import EVENTS, LAST_EVENT_ID, NAMES

router = APIRouter(prefix="/v1", tags=["Events"])

RETRY_MS: Final = 1000
"""After so long a reader whose connection broke comes back."""

_NUMBER = re.compile(r"[0-9]{1,15}")

_EXAMPLE = """retry: 1000
: the stream is open

event: queued
data: {"job": "5r0z9k2m4c7q8x1t6w3v0h2j9n", "version": 1, "position": 0, "reason": {"code": "behind", ...}, ...}
id: 1-0-0-0.behind

event: progress
data: {"job": "5r0z9k2m4c7q8x1t6w3v0h2j9n", "version": 2, "step": 5, "steps": 25, "images_done": 0, "images": 1, ...}
id: 2-5-0

event: image
data: {"job": "5r0z9k2m4c7q8x1t6w3v0h2j9n", "version": 2, "image": {"index": 0, ...}}
id: 2-25-1

event: end
data: {"id": "5r0z9k2m4c7q8x1t6w3v0h2j9n", "status": "succeeded", "version": 3, ...}
id: 3-25-1

"""


async def last_event_id(
    header: Annotated[
        str | None,
        Header(alias=LAST_EVENT_ID, description="The last `id` that you got: what came after it is told."),
    ] = None,
    query: Annotated[
        str | None,
        Query(alias="last_event_id", description="The same, for who can't set headers; the header counts more."),
    ] = None,
) -> str | None:
    """What the reader has seen, if they say so."""
    return query if header is None else header


TheLastEventId = Annotated[str | None, Depends(last_event_id)]


class EventStream(StreamingResponse):
    """Sends a stream, whose first sign has come; closes it when it has ended or its reader has left.

    FastAPI's own (`EventSourceResponse`) begins to answer before the first sign, so it could say neither 404 nor 204,
    and has two tasks and two queues more for each reader.
    """

    media_type = "text/event-stream"

    def __init__(self, first: Event | Sign, rest: Stream) -> None:
        super().__init__((), headers={"X-Accel-Buffering": "no"})  # else nginx would collect events
        self._first = first
        self._rest = rest

    async def stream_response(self, send: Send) -> None:
        """Send each event by itself, as it comes."""
        async with aclosing(self._rest) as rest:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            opening = format_sse_event(retry=RETRY_MS) + _encoded(self._first)
            await send({"type": "http.response.body", "body": opening, "more_body": True})
            async for one in rest:
                await send({"type": "http.response.body", "body": _encoded(one), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _encoded(one: Event | Sign) -> bytes:
    if isinstance(one, Sign):
        return format_sse_event(comment=one.said, id=one.id)
    return format_sse_event(event=NAMES[type(one.body)], data_str=one.body.model_dump_json(), id=one.id)


async def _answer(stream: Stream) -> Response:
    """Send a stream. 204 for one without anything: it keeps a browser's EventSource from coming back."""
    async for first in stream:
        return EventStream(first, stream)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _streamed(description: str) -> Responses:
    return {int(HTTPStatus.OK): {"description": description, "content": event_stream(EVENTS, _EXAMPLE)}}


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventStream,
    status_code=HTTPStatus.OK,  # said, since FastAPI looks for it in the class
    summary="Follow a job",
    responses={
        **problems(JobNotFound, InvalidRequest, QueueUnavailable),
        **_streamed("`queued`, `progress`, `image`, then `end`, or `gone`; comments while nothing happens."),
        int(HTTPStatus.NO_CONTENT): {"description": "You have seen its end."},
    },
)
async def job_events(
    job_id: TheJobId,
    gateway: TheGateway,
    tenant: TheTenant,
    *,
    stay: TheStay,
    seen: TheLastEventId,
    previews: Annotated[bool, Query(description="Send a sketch with the progress when there is a new one.")] = False,
) -> Response:
    """Tell what happens to a job as it happens, until it has ended.

    A reader whose connection broke goes on where it was with `Last-Event-ID`, at any gateway; a browser's `EventSource`
    does so by itself. What was missed meanwhile is told as it stands now: no picture and no end is ever missed.
    """
    return await _answer(gateway.streams.of_job(job_id, tenant, stay=stay, seen=Seen.of(seen), previews=previews))


@router.get(
    "/events",
    response_class=EventStream,
    status_code=HTTPStatus.OK,  # said, since FastAPI looks for it in the class
    summary="Follow all of your jobs",
    responses={
        **problems(InvalidRequest, QueueUnavailable),
        **_streamed("The events of all of your jobs, those of later too; an `id` is the number of a change."),
    },
)
async def all_events(gateway: TheGateway, tenant: TheTenant, stay: TheStay, seen: TheLastEventId) -> Response:
    """Tell what happens to your jobs as it happens, without an end.

    With `Last-Event-ID` each job that has changed since is told as it stands now, pictures again too; with `0` all that
    are kept. Without it the stream begins now. Places in the queue are told when a job begins to wait: to see them
    change, follow the job.
    """
    is_number = seen is not None and _NUMBER.fullmatch(seen)
    since = int(seen) if seen and is_number else None
    return await _answer(gateway.streams.of_tenant(tenant, stay=stay, since=since))
