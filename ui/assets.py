"""The page's own scripts, beside those that Gradio serves: plain files, asked about anew at every visit."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PATH: Final = "/studio"
"""Where `page_head.html` looks for them; `/static` is Gradio's."""

_FOLDER: Final = Path(__file__).parent / "static"


def scripts() -> StaticFiles:
    """Serve the folder `static`; a browser asks each time whether a file has changed, so that an update is seen."""
    return _Scripts(directory=_FOLDER)


class _Scripts(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve a file that browsers keep but check."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
