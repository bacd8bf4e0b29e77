"""The application: puts the rooms together and opens and closes what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI

import api.errors
from api.changes import Changes
from api.deps import Gateway
from api.edge import MAX_BODY_BYTES, Edge
from api.openapi import document
from api.outlook import Outlooks
from api.routes import health, images, jobs, models, operators
from api.storage import Storage
from api.upkeep import Unanswered, Upkeep, Waker
from shared.broker import WakeUps
from shared.connection import connect_async
from shared.network import LOOPBACK
from shared.object_store import ObjectStore
from shared.settings import Settings
from shared.version import VERSION

DESCRIPTION: Final = """
Ask for pictures with `POST /v1/jobs`, read the job until it has ended, fetch its pictures. Every error
has the same body (`application/problem+json`) with a stable `code`; a wrong request is told all that is
wrong with it at once. `503` and `429` come with `Retry-After`, and nothing was accepted.
"""


def create_app(settings: Settings) -> FastAPI:
    """Build the gateway; it connects when it starts.

    Raises ValueError if the settings would open it to the network without saying so.
    """
    if refusal := settings.open_network_refusal(settings.api_host, "DARKROOM_API_HOST"):
        raise ValueError(refusal)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        redis = connect_async(settings)
        store = await asyncio.to_thread(ObjectStore.from_settings, settings)
        wake_ups = WakeUps(settings)
        gateway = Gateway(
            settings,
            redis,
            Storage(store),
            Waker(wake_ups.send),
            Unanswered(redis),
            Outlooks(redis),
            Changes(redis),
        )
        rounds = Upkeep(settings, redis, gateway.storage, gateway.waker, gateway.unanswered)
        tasks = [asyncio.create_task(rounds.run()), asyncio.create_task(gateway.changes.run())]
        app.state.gateway = gateway
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(gateway.waker.close)
            wake_ups.close()
            store.close()
            await redis.aclose()

    app = FastAPI(
        title="Darkroom",
        summary="Text to image, on your own machines.",
        description=DESCRIPTION,
        version=VERSION,
        lifespan=lifespan,
        # Both pages would fetch their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_middleware(Edge, loopback_only=settings.api_host in LOOPBACK)
    api.errors.install(app)
    for routes in (jobs, images, models, health, operators):
        # On the routes, inside of Edge: around the application its answer would be no Problem.
        app.include_router(routes.router, max_body_size=MAX_BODY_BYTES)
    app.openapi = document(app)
    return app
