"""Pictures on the page's own address: finished ones untouched, small ones, those in the making, contact sheets.

A browser may not reach the gateway. Whose pictures a request may see is the gateway's to say: each one is asked for
with the client of who asks. Nothing is written to disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse

from shared.client import Client
from shared.contract import ImageBody, JobBody
from shared.errors import DarkroomError, ImageNotFound, JobNotFound, KeyRefused, KeyRequired, ScopeMissing, TooMuch
from shared.generation import OutputFormat
from shared.jobs import JobId, image_file_name
from ui.cards import prompt_of
from ui.notices import plain_words
from ui.prints import Frame, Shelf, contact_sheet, thumbnail

SHELF_BYTES: Final = 32 * 2**20
"""Of thumbnails kept in memory: about a thousand."""

ClientOf = Callable[[Request], Client]
"""Who asks, as the gateway knows them."""

_BY_SUFFIX: Final = {file_format.suffix: file_format for file_format in OutputFormat}
_TO_BE_ASKED: Final = "private, no-cache"
"""A browser keeps it, and asks each time whether it may show it: it may be deleted, or somebody else sit there."""
_CHANGES: Final = "no-store"

_Index = Annotated[int, Path(ge=0)]

_log = logging.getLogger(__name__)


def picture_routes(client_of: ClientOf) -> APIRouter:
    """Make the routes whose paths `ui.cards` names. Each is plain blocking work, in a thread of the server's."""
    router = APIRouter()
    rooms = _Rooms(client_of)
    router.get("/pictures/{job_id}/{index}.{suffix}")(rooms.picture)
    router.get("/thumbnails/{job_id}/{index}.webp")(rooms.thumbnail)
    router.get("/previews/{job_id}")(rooms.preview)
    router.get("/sheets/{job_id}.png")(rooms.sheet)
    return router


class _Rooms:
    """What answers each route."""

    def __init__(self, client_of: ClientOf) -> None:
        self._client_of = client_of
        self._shelf = Shelf(SHELF_BYTES)

    def picture(
        self,
        request: Request,
        job_id: str,
        index: _Index,
        suffix: Annotated[str, Path(pattern="^(png|jpg|webp)$")],
    ) -> Response:
        file_format = _BY_SUFFIX[suffix]
        name = image_file_name(JobId(job_id), index, file_format)

        def whole() -> Response:
            tag = _tag(_picture(self._client_of(request).job(job_id), index))
            if _has(request, tag):
                return _unchanged(tag)
            return _file(self._image(request, job_id, index), file_format.media_type, name, tag=tag)

        return _answer(whole)

    def thumbnail(self, request: Request, job_id: str, index: _Index) -> Response:
        def small() -> Response:
            # Raises JobNotFound for anybody else's, and for one deleted since.
            tag = _tag(_picture(self._client_of(request).job(job_id), index))
            if _has(request, tag):
                return _unchanged(tag)
            data = self._shelf.get((job_id, index))
            if data is None:
                data = thumbnail(self._image(request, job_id, index))
                self._shelf.put((job_id, index), data)
            return _file(data, "image/webp", f"darkroom-{job_id}-{index}-small.webp", tag=tag)

        return _answer(small)

    def preview(self, request: Request, job_id: str) -> Response:
        def latest() -> Response:
            data = self._client_of(request).preview(job_id)
            if data is None:
                return Response(status_code=204, headers={"Cache-Control": _CHANGES})
            return _file(data, "image/jpeg", f"darkroom-{job_id}-preview.jpg")

        return _answer(latest)

    def sheet(self, request: Request, job_id: str) -> Response:
        def together() -> Response:
            job = self._client_of(request).job(job_id)
            if not job.images:
                return PlainTextResponse("None of this job's pictures is finished.", status_code=404)
            tag = _tag(job.images)
            if _has(request, tag):
                return _unchanged(tag)
            frames = [Frame(self._image(request, job_id, image.index), image.seed) for image in job.images]
            data = contact_sheet(frames, prompt_of(job))
            return _file(data, "image/png", f"darkroom-{job_id}-sheet.png", tag=tag)

        return _answer(together)

    def _image(self, request: Request, job_id: str, index: int) -> bytes:
        # The store's public address is for browsers that reach it; this one asks here.
        return self._client_of(request).image(job_id, index, redirect=False)


def _picture(job: JobBody, index: int) -> tuple[ImageBody, ...]:
    """Find a finished picture; raise ImageNotFound."""
    found = tuple(image for image in job.images if image.index == index)
    if not found:
        raise ImageNotFound
    return found


def _tag(images: Sequence[ImageBody]) -> str:
    """Name what is made of these pictures, as HTTP does: other pictures, another name."""
    digests = [image.sha256 for image in images]
    return f'"{digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()}"'


def _has(request: Request, tag: str) -> bool:
    """True if the browser has the very thing and asks whether it is still so."""
    known = request.headers.get("If-None-Match", "").split(",")
    return tag in (one.strip().removeprefix("W/") for one in known)


def _unchanged(tag: str) -> Response:
    return Response(status_code=304, headers={"Cache-Control": _TO_BE_ASKED, "ETag": tag})


def _file(data: bytes, media_type: str, name: str, *, tag: str | None = None) -> Response:
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    headers |= {"Cache-Control": _CHANGES} if tag is None else {"Cache-Control": _TO_BE_ASKED, "ETag": tag}
    return Response(data, media_type=media_type, headers=headers)


def _answer(make: Callable[[], Response]) -> Response:
    """Say what stands against it as plain text: whoever opens an address by hand reads it."""
    try:
        return make()
    except (JobNotFound, ImageNotFound, KeyRequired, KeyRefused, ScopeMissing) as error:
        return PlainTextResponse(str(error), status_code=404)
    except DarkroomError as error:
        _log.warning("Picture unanswered: %s", error)
        status, after_s = (429, error.retry_after_s) if isinstance(error, TooMuch) else (503, 2)
        return PlainTextResponse(plain_words(error), status_code=status, headers={"Retry-After": str(after_s)})
