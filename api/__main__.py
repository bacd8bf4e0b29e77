"""Serve the gateway: `python -m api`, set up by `DARKROOM_*`."""

from __future__ import annotations

import logging.config
import sys
from typing import Any

import uvicorn
from pydantic import ValidationError

from api.app import create_app
from shared.settings import Settings, wrong_settings

GRACE_S = 10
"""For answers under way when the gateway is told to stop."""


def log_config(level: str) -> dict[str, Any]:
    """Log to stderr, a line an event, each with its request's id."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "api.context.RequestIdFilter"}},
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]},
        },
        "root": {"level": level, "handlers": ["stderr"]},
    }


def main() -> None:
    """Run until SIGINT or SIGTERM; exit with 1 and a sentence if the settings are wrong."""
    try:
        settings = Settings()
        logging.config.dictConfig(log_config(settings.log_level))
        app = create_app(settings)
    except ValidationError as error:
        sys.exit(f"The gateway does not start:\n{wrong_settings(error)}")
    except ValueError as error:
        sys.exit(f"The gateway does not start: {error}")
    uvicorn.run(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


if __name__ == "__main__":
    main()
