"""Serve the page: `python -m ui`, set up by `DARKROOM_*`."""

from __future__ import annotations

import sys
from typing import Final

import httpx2
import uvicorn
from pydantic import ValidationError

from shared.logs import configure
from shared.network import KEEP_ALIVE_S
from shared.settings import LOOPBACK, Settings, wrong_settings
from ui.app import create_app
from ui.outage import SteadyClient
from ui.styles import WrongStyles, read_styles

GATEWAY_TIMEOUT: Final = httpx2.Timeout(10.0, connect=2.0)
"""A visitor waits for each of these requests: better to say that the gateway is away, and to look again."""

GRACE_S: Final = 5
"""For answers under way when the page is told to stop."""


def main() -> None:
    """Run until SIGINT or SIGTERM; exit with 1 and a sentence if the settings are wrong."""
    try:
        settings = Settings()
        # What Gradio prints may be what a visitor typed.
        configure("page", level=settings.log_level, form=settings.log_format, hears_prints=False)
    except ValidationError as error:
        sys.exit(f"The page does not start:\n{wrong_settings(error)}")
    if refusal := settings.open_network_refusal(settings.ui_host, "DARKROOM_UI_HOST"):
        sys.exit(refusal)
    try:
        styles = read_styles(settings.styles_file)
    except WrongStyles as error:
        sys.exit(f"The page does not start: DARKROOM_STYLES_FILE: {error}")
    key = settings.page_key.get_secret_value() if settings.page_key else None
    with SteadyClient(settings.api_url, api_key=key, timeout=GATEWAY_TIMEOUT) as client:
        uvicorn.run(
            create_app(
                client,
                styles=styles,
                secret=settings.cookie_secret,
                loopback_only=settings.ui_host in LOOPBACK,
                prefix=settings.ui_prefix,
            ),
            root_path=settings.ui_prefix,
            host=settings.ui_host,
            port=settings.ui_port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )


if __name__ == "__main__":
    main()
