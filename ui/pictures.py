"""Finished pictures on the page's own address: the gateway's bytes, untouched, never written to disk.

A browser may not reach the gateway. Job ids can't be guessed, so whoever knows one may see its pictures.
"""

from __future__ import annotations

import logging
from typing import Annotated, Final

from fastapi import APIRouter, Path, Response
from fastapi.responses import PlainTextResponse

from shared.client import Client
from shared.errors import DarkroomError, ImageNotFound, JobNotFound
from shared.generation import OutputFormat
from ui.notices import plain_words

_BY_SUFFIX: Final = {file_format.suffix: file_format for file_format in OutputFormat}
_NEVER_CHANGES: Final = {"Cache-Control": "private, max-age=31536000, immutable"}

_log = logging.getLogger(__name__)


def picture_routes(client: Client) -> APIRouter:
    """Make the route that `ui.cards.picture_path` names."""
    router = APIRouter()

    @router.get("/pictures/{job_id}/{index}.{suffix}")
    def picture(  # pyright: ignore[reportUnusedFunction] (the decorator registers it)
        job_id: str, index: Annotated[int, Path(ge=0)], suffix: Annotated[str, Path(pattern="^(png|jpg|webp)$")]
    ) -> Response:
        try:
            data = client.image(job_id, index, redirect=False)  # the store's public address is the browsers'
        except (JobNotFound, ImageNotFound) as error:
            return PlainTextResponse(str(error), status_code=404)
        except DarkroomError as error:
            _log.warning("Picture %d of %s: %s", index, job_id, error)
            return PlainTextResponse(plain_words(error), status_code=503, headers={"Retry-After": "2"})
        return Response(data, media_type=_BY_SUFFIX[suffix].media_type, headers=_NEVER_CHANGES)

    return router
