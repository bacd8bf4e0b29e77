"""Serve the gateway: `python -m api`, set up by `DARKROOM_*`."""

from __future__ import annotations

import logging.config
import resource
import socket
import sys
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.config import STARTUP_FAILURE

from api.app import create_app
from api.deps import gateway_of
from api.wire import server_config
from shared.connection import connect, run
from shared.errors import LayoutsApart, QueueUnavailable
from shared.scripts import join
from shared.settings import Settings, wrong_settings


class Server(uvicorn.Server):
    """Lets those go who wait for a job when it is told to stop: their answers would hold it up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and end what is under way."""
        gateway_of(self._app).changes.close()
        await super().shutdown(sockets)


def log_config(level: str) -> dict[str, Any]:
    """Log to stderr, a line an event, each with its request's id; nothing is found out that no line says."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]: documented in logging's HOWTO
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


def allow_open_files() -> None:
    """Raise the limit of open files to what the system allows: each stream of events is one, and 1024 are soon gone."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def join_others(settings: Settings, app: FastAPI) -> None:
    """Say that this gateway lives; while Redis is away that is left for later. Raises LayoutsApart."""
    with connect(settings) as client, suppress(QueueUnavailable):
        run(client, join(app.state.part))


def main() -> None:
    """Run until SIGINT or SIGTERM; exit with 1 and a sentence if the settings are wrong, or what works on Redis."""
    try:
        settings = Settings()
        logging.config.dictConfig(log_config(settings.log_level))
        app = create_app(settings)
        join_others(settings, app)
    except ValidationError as error:
        sys.exit(f"The gateway does not start:\n{wrong_settings(error)}")
    except (ValueError, LayoutsApart) as error:
        sys.exit(f"The gateway does not start: {error}")
    allow_open_files()
    server = Server(server_config(app, host=settings.api_host, port=settings.api_port), app)
    with suppress(KeyboardInterrupt):  # raised by uvicorn itself once it has ended what it had
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
