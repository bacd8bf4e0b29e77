"""Signing in with a key and out again: two forms that work without a script.

The key goes to the gateway, which says whose it is, and into a cookie; never into an address, a log or the page.
"""

from __future__ import annotations

import logging
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from shared.errors import DarkroomError, InvalidRequest, KeyRefused, ScopeMissing
from ui.notices import plain_words
from ui.visitors import Visitors

LONGEST_KEY: Final = 512

_log = logging.getLogger(__name__)


def sign_in_routes(visitors: Visitors) -> APIRouter:
    """Make `POST /sign-in` and `POST /sign-out`; both lead back to the page."""
    router = APIRouter()

    @router.post("/sign-in")
    def sign_in(  # pyright: ignore[reportUnusedFunction] (the decorator registers it)
        request: Request, key: Annotated[str, Form(max_length=LONGEST_KEY)]
    ) -> Response:
        if not _is_ours(request):
            return _refused(403, "This form was sent from another site.")
        key = key.strip()
        if not key:  # it would be asked about as nobody's, which is the page's own
            return _back("key-refused")
        try:
            visitors.try_key(key)
        except (KeyRefused, ScopeMissing, InvalidRequest):
            return _back("key-refused")
        except DarkroomError as error:
            _log.warning("Sign-in: %s", error)
            return _refused(503, f"{plain_words(error)} Go back and try again.")
        response = _back()
        visitors.sign_in(request, response, key)
        return response

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] (the decorator registers it)
        if not _is_ours(request):
            return _refused(403, "This form was sent from another site.")
        response = _back()
        visitors.sign_out(request, response)
        return response

    return router


def _is_ours(request: Request) -> bool:
    """True if the form that was sent is this page's own: a browser says where each POST comes from."""
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("Host")


def _back(said: str = "") -> Response:
    page = "./"  # of the two routes above, wherever a proxy serves them
    return RedirectResponse(f"{page}?{said}" if said else page, status_code=303)


def _refused(status: int, words: str) -> Response:
    return PlainTextResponse(words, status_code=status)
