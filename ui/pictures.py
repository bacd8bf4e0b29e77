"""Pictures on the page's own address: finished ones untouched, small ones, those in the making, contact sheets.

A browser may not reach the gateway. Whose pictures a request may see is the gateway's to say: each one is asked for
with the client of who asks. Nothing is written to disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse

from shared.client import Client
from shared.errors import DarkroomError, ImageNotFound, JobNotFound, KeyRefused, KeyRequired, ScopeMissing
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
_NEVER_CHANGES: Final = "private, max-age=31536000, immutable"
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
        return _answer(lambda: _file(self._image(request, job_id, index), file_format.media_type, name, _NEVER_CHANGES))

    def thumbnail(self, request: Request, job_id: str, index: _Index) -> Response:
        def small() -> Response:
            data = self._shelf.get((job_id, index))
            if data is None:
                data = thumbnail(self._image(request, job_id, index))
                self._shelf.put((job_id, index), data)
            else:
                self._client_of(request).job(job_id)  # raises JobNotFound for anybody else's, and for one deleted since
            return _file(data, "image/webp", f"darkroom-{job_id}-{index}-small.webp", _NEVER_CHANGES)

        return _answer(small)

    def preview(self, request: Request, job_id: str) -> Response:
        def latest() -> Response:
            data = self._client_of(request).preview(job_id)
            if data is None:
                return Response(status_code=204, headers={"Cache-Control": _CHANGES})
            return _file(data, "image/jpeg", f"darkroom-{job_id}-preview.jpg", _CHANGES)

        return _answer(latest)

    def sheet(self, request: Request, job_id: str) -> Response:
        def together() -> Response:
            job = self._client_of(request).job(job_id)
            if not job.images:
                return PlainTextResponse("None of this job's pictures is finished.", status_code=404)
            frames = [Frame(self._image(request, job_id, image.index), image.seed) for image in job.images]
            data = contact_sheet(frames, prompt_of(job))
            caching = _NEVER_CHANGES if job.status.is_terminal else _CHANGES
            return _file(data, "image/png", f"darkroom-{job_id}-sheet.png", caching)

        return _answer(together)

    def _image(self, request: Request, job_id: str, index: int) -> bytes:
        # The store's public address is for browsers that reach it; this one asks here.
        return self._client_of(request).image(job_id, index, redirect=False)


def _file(data: bytes, media_type: str, name: str, caching: str) -> Response:
    headers = {"Cache-Control": caching, "Content-Disposition": f'inline; filename="{name}"'}
    return Response(data, media_type=media_type, headers=headers)


def _answer(make: Callable[[], Response]) -> Response:
    """Say what stands against it as plain text: whoever opens an address by hand reads it."""
    try:
        return make()
    except (JobNotFound, ImageNotFound, KeyRequired, KeyRefused, ScopeMissing) as error:
        return PlainTextResponse(str(error), status_code=404)
    except DarkroomError as error:
        _log.warning("Picture unanswered: %s", error)
        return PlainTextResponse(plain_words(error), status_code=503, headers={"Retry-After": "2"})
