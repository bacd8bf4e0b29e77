"""The application: puts the rooms together and opens and closes what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, cast

from fastapi import Depends, FastAPI
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp

import api.errors
from api.access import Access
from api.automatic1111 import OptionsRequest, Txt2ImgRequest
from api.changes import ABOUT_ACCESS, Changes
from api.deps import Gateway, principal
from api.edge import MAX_BATCH_BYTES, MAX_BODY_BYTES, Edge
from api.examples import EXAMPLES
from api.feeder import Feeder
from api.metrics import Metrics, push
from api.openai_images import EVENTS as OPENAI_EVENTS
from api.openai_images import ImagesRequest
from api.openapi import document, operation_id
from api.outlook import Outlooks
from api.rates import Rates
from api.rerouting import Rerouting
from api.routes import (
    automatic1111,
    batches,
    checks,
    events,
    generate_image,
    health,
    images,
    jobs,
    keys,
    metrics,
    models,
    openai_images,
    operators,
    scaling,
    tokens,
    webhooks,
)
from api.routing import Routes
from api.shortcut import Shortcut
from api.stays import Stays
from api.storage import Storage
from api.streams import Streams
from api.together import Together
from api.traces import Traces
from api.upkeep import Unanswered, Upkeep, Waker
from api.vocabularies import Vocabularies
from shared.broker import WakeUps
from shared.connection import connect_async
from shared.contract import TokensRequest
from shared.errors import QueueUnavailable
from shared.events import EVENTS
from shared.meters import Meters
from shared.network import LOOPBACK
from shared.object_store import ObjectStore
from shared.parts import PartKind, this_part
from shared.settings import Settings
from shared.tracing import OFF, Tracing
from shared.version import VERSION
from shared.webhooks import WebhookChange, WebhookRequest
from shared.worker_id import new_worker_id

DESCRIPTION: Final = """
Ask for pictures with `POST /v1/jobs`, read the job until it has ended, fetch its pictures. Every error
has the same body (`application/problem+json`) with a stable `code`; a wrong request is told all that is
wrong with it at once. `503` and `429` come with `Retry-After`, and nothing was accepted.
"""


FAREWELL_S: Final = 1.0
"""How long a gateway that ends tries to tell what it has counted last."""


class Application(FastAPI):
    """FastAPI with the edge and the short way around its own layers, which only the rest has to pass."""

    def __init__(self, *, edge: Callable[[ASGIApp], ASGIApp], **said: Any) -> None:  # noqa: ANN401 (FastAPI's own)
        super().__init__(**said)
        self._edge = edge

    def build_middleware_stack(self) -> ASGIApp:
        """Put them around all layers but the outermost, whose work the edge does: to answer what nobody else could."""
        outermost = cast("ServerErrorMiddleware", super().build_middleware_stack())
        return self._edge(Shortcut(outermost.app))


def create_app(settings: Settings, tracing: Tracing = OFF) -> FastAPI:
    """Build the gateway; it connects when it starts, and sends its last spans when it ends.

    Raises ValueError if the settings ask for keys and have none to make the first one with.
    """
    if refusal := settings.keyless_refusal():
        raise ValueError(refusal)
    meters = Meters()
    traces = Traces(tracing, trusts_callers=settings.trust_traceparent)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        redis = connect_async(settings)
        store = await asyncio.to_thread(ObjectStore.from_settings, settings)
        wake_ups = WakeUps(settings)
        together = Together(redis, meters, replicas=settings.redis_replicas)
        outlooks, changes = Outlooks(redis), Changes(redis)
        storage = Storage(store, meters)
        access = Access(settings, together)
        gateway = Gateway(
            settings,
            redis,
            storage,
            Waker(wake_ups.send),
            Unanswered(redis),
            outlooks,
            changes,
            Streams(redis, changes, outlooks),
            access,
            Rates(redis),
            Stays(settings, access),
            together,
            Vocabularies(together),
            Metrics(redis, together, storage),
            traces,
            Routes(outlooks),
        )
        rounds = Upkeep(
            settings,
            redis,
            gateway.storage,
            gateway.waker,
            gateway.unanswered,
            meters=meters,
            part=app.state.part,
            call_courier=wake_ups.call_courier,
            feed=Feeder(gateway).round,
            reroute=Rerouting(gateway).round,
        )
        changes.listen(ABOUT_ACCESS, access.hear)
        changes.listen(ABOUT_ACCESS, lambda _word: gateway.stays.look())
        tasks = [asyncio.create_task(part.run()) for part in (rounds, changes, gateway.streams, gateway.stays)]
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
            with suppress(QueueUnavailable, TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await push(redis, meters)
            await redis.aclose()
            await asyncio.to_thread(tracing.close)

    app = Application(
        edge=partial(
            Edge,
            loopback_only=settings.api_host in LOOPBACK,
            meters=meters,
            traces=traces,
            origins=settings.allowed_origins,
        ),
        title="Darkroom",
        summary="Text to image, on your own machines.",
        description=DESCRIPTION,
        version=VERSION,
        lifespan=lifespan,
        # Both pages would fetch their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.part = this_part(PartKind.GATEWAY, new_worker_id())
    api.errors.install(app)
    # The size on the routes, inside of Edge: around the application its answer would be no Problem.
    app.include_router(health.router, max_body_size=MAX_BODY_BYTES)
    ours = (jobs, events, images, models, tokens, webhooks, operators, checks, scaling, keys, metrics)
    dialects = (openai_images, automatic1111, generate_image)
    for routes in (*ours, *dialects):
        # Whoever asks passes here, so that no route forgets to look.
        app.include_router(routes.router, max_body_size=MAX_BODY_BYTES, dependencies=[Depends(principal)])
    app.include_router(batches.router, max_body_size=MAX_BATCH_BYTES, dependencies=[Depends(principal)])
    asked = (
        TokensRequest,
        WebhookRequest,
        WebhookChange,
        ImagesRequest,
        Txt2ImgRequest,
        OptionsRequest,
        generate_image.TextRequest,
    )
    told = (*EVENTS.values(), *OPENAI_EVENTS.values())
    app.openapi = document(app, asked, told, EXAMPLES)
    return app
