"""`/metrics`: the figures of the fleet, for Prometheus."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request

from api.deps import TheGateway, watcher

router = APIRouter(tags=["Operators"])

_EXAMPLE: Final = """\
# HELP darkroom_queue_jobs Jobs that wait for a worker, without those that wait for another job's pictures.
# TYPE darkroom_queue_jobs gauge
darkroom_queue_jobs{lane="interactive",pool="segmind/SSD-1B"} 3.0
darkroom_queue_jobs{lane="bulk",pool="segmind/SSD-1B"} 41.0
"""
_TEXT: Final = {"schema": {"type": "string"}, "example": _EXAMPLE}


@router.get(
    "/metrics",
    summary="See the fleet's metrics",
    dependencies=[Depends(watcher)],
    response_class=Response,
    responses={
        200: {
            "description": "All metrics, in the form that `Accept` asks for: OpenMetrics, or Prometheus' own text.",
            "content": {
                media_type.partition(";")[0]: _TEXT for media_type in (CONTENT_TYPE_PLAIN_0_0_4, CONTENT_TYPE_LATEST)
            },
        }
    },
)
async def show_metrics(request: Request, gateway: TheGateway) -> Response:
    """Tell what waits, runs and was counted in the whole fleet: the same from every gateway, so scrape one address.

    While Redis is away this is answered all the same, with `darkroom_redis_up 0` and little else. Needs a key with the
    scope `watch`, such as `DARKROOM_WATCH_KEY`.
    """
    body, media_type = await gateway.metrics.told(request.headers.get("accept", ""))
    return Response(body, media_type=None, headers={"Content-Type": media_type})
