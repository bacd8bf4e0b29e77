"""`python -m ui`: serve the page at `DARKROOM_UI_HOST:DARKROOM_UI_PORT`."""

from __future__ import annotations

import logging
from typing import Final

import httpx2
import uvicorn

from shared.client import Client
from shared.settings import Settings
from ui.app import create_app

GATEWAY_TIMEOUT: Final = httpx2.Timeout(10.0, connect=2.0)
"""A visitor waits for these requests: better to say that the gateway is away and look again."""


def main() -> None:
    """Serve until interrupted."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each look of each visitor otherwise
    settings.require_loopback_or_consent(settings.ui_host)
    with Client(settings.api_url, timeout=GATEWAY_TIMEOUT) as client:
        app = create_app(client, loopback_only=not settings.allow_open_network)
        uvicorn.run(app, host=settings.ui_host, port=settings.ui_port, access_log=False)


if __name__ == "__main__":
    main()
