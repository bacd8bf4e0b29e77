"""The page's web application: Gradio's page, the pictures beside it, and what a browser may load.

from ui.app import create_app
uvicorn.run(create_app(Client("http://127.0.0.1:8000")))
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

import gradio as gr
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.client import Client
from shared.settings import LOOPBACK
from ui import assets
from ui.fence import Fence
from ui.page import build_page
from ui.pictures import picture_routes
from ui.restore import settings_route
from ui.sign_in import sign_in_routes
from ui.styles import Styles, read_styles
from ui.theme import darkroom_theme
from ui.visitors import Visitors

HERE: Final = Path(__file__).parent

HASHED: Final = "/assets/"
"""Gradio's own scripts and styles: a file's name has its content's hash in it."""

CONTENT_POLICY: Final = (
    "default-src 'self'; "
    # Gradio's page starts from inline scripts, and compiles its templates in the browser.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Nothing comes from, or goes to, another host."""


def create_app(
    client: Client,
    *,
    styles: Styles | None = None,
    secret: str | None = None,
    loopback_only: bool = True,
    prefix: str = "",
) -> FastAPI:
    """Build the page over a gateway.

    `styles` are offered in the form, ours if none are said; `secret` signs the visitors' cookies; `loopback_only`
    refuses requests for any other host's name; `prefix` is the path under which a proxy serves it.
    """
    visitors = Visitors(client, secret, is_private=loopback_only)
    app = FastAPI(title="Darkroom", openapi_url=None)
    app.include_router(picture_routes(visitors.client))
    app.include_router(sign_in_routes(visitors))
    app.include_router(settings_route(visitors.person))
    app.mount(assets.PATH, assets.scripts())
    app.add_middleware(Greeting, visitors=visitors)
    app.add_middleware(GZipMiddleware)  # Gradio packs its assets alone; pictures and streams pass as they are
    app.add_middleware(Lasting)
    app.add_middleware(Fence)
    if loopback_only:
        # Else a foreign page could rebind its own name to this machine and press Generate here.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["*.localhost", "[::1]", *LOOPBACK], www_redirect=False)
    app.add_middleware(SafeHeaders)
    return gr.mount_gradio_app(  # pyright: ignore[reportUnknownMemberType]: an option that is not used has no type
        app,
        build_page(visitors, styles or read_styles()),
        path="/",
        root_path=prefix or None,
        theme=darkroom_theme(),
        css_paths=[HERE / "page.css", HERE / "form.css", HERE / "control_room.css", HERE / "contrast.css"],
        head_paths=[HERE / "page_head.html"],
        favicon_path=str(HERE / "favicon.svg"),
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        max_file_size=1,  # byte: this page takes no files, and `Fence` closes the routes that would
        show_error=False,
    )


class Greeting:
    """ASGI middleware that makes whoever opens the page a visitor whom it knows again."""

    def __init__(self, app: ASGIApp, visitors: Visitors) -> None:
        self._app = app
        self._visitors = visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the visitor's cookie with the page itself, and with nothing else."""
        if scope["type"] != "http" or scope["method"] != "GET" or _path(scope) not in ("", "/"):
            await self._app(scope, receive, send)
            return
        greeting = Response()
        self._visitors.greet(HTTPConnection(scope), greeting)
        cookies = greeting.headers.getlist("Set-Cookie")

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                for cookie in cookies:
                    MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_with_cookie)


class Lasting:
    """ASGI middleware that has browsers keep for good what never changes under its name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so of an asset that there is."""

        async def send_lasting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.OK:
                MutableHeaders(scope=message)["Cache-Control"] = "public, max-age=31536000, immutable"
            await send(message)

        is_asset = scope["type"] == "http" and _path(scope).startswith(HASHED)
        await self._app(scope, receive, send_lasting if is_asset else send)


class SafeHeaders:
    """ASGI middleware that sends the content policy and its kin with every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to an HTTP answer's start."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = CONTENT_POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                # A form's `Origin` is `null` under a stricter one.
                headers["Referrer-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def _path(scope: Scope) -> str:
    return scope.get("path", "").removeprefix(scope.get("root_path", ""))
