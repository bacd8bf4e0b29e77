"""Serve the gateway: `python -m api`, set up by `DARKROOM_*`."""

from __future__ import annotations

import resource
import socket
import sys
from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from uvicorn.config import STARTUP_FAILURE

from api.app import create_app
from api.deps import gateway_of
from api.wire import server_config
from shared.connection import connect, refusal, run
from shared.errors import LayoutsApart, QueueUnavailable
from shared.logs import configure
from shared.scripts import join
from shared.settings import Settings, Telemetry, wrong_settings
from shared.tracing import start_tracing


class Server(uvicorn.Server):
    """Lets those go who wait for a job when it is told to stop: their answers would hold it up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and end what is under way."""
        gateway_of(self._app).changes.close()
        await super().shutdown(sockets)


def allow_open_files() -> None:
    """Raise the limit of open files to what the system allows: each stream of events is one, and 1024 are soon gone."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def join_others(settings: Settings, app: FastAPI) -> str | None:
    """Say that this gateway lives; while Redis is away that is left for later. Why it may not, or None."""
    try:
        with connect(settings) as client, suppress(QueueUnavailable):
            run(client, join(app.state.part))
    except LayoutsApart as error:
        return str(error)
    return None


def main() -> None:
    """Run until SIGINT or SIGTERM; exit with 1 and a sentence if the settings are wrong, or what works on Redis."""
    try:
        settings = Settings()
        configure("gateway", level=settings.log_level, form=settings.log_format)
        app = create_app(settings, start_tracing("gateway", Telemetry()))
    except ValidationError as error:
        sys.exit(f"The gateway does not start:\n{wrong_settings(error)}")
    except ValueError as error:
        sys.exit(f"The gateway does not start: {error}")
    if wrong := refusal(settings) or join_others(settings, app):
        sys.exit(f"The gateway does not start: {wrong}")
    allow_open_files()
    server = Server(server_config(app, host=settings.api_host, port=settings.api_port), app)
    with suppress(KeyboardInterrupt):  # raised by uvicorn itself once it has ended what it had
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
