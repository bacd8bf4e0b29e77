"""`/v1/images/generations`: OpenAI's Images API over our jobs; its official client works unchanged."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.deps import TheGateway, TheSubmitter
from api.dialect import ERRAND_ERRORS, ERRAND_STATUSES, in_words_of, named_card, picture_url
from api.errand import Errand
from api.errors import fault_of
from api.faults import OPENAI, openai_error
from api.intake import checked, read_json
from api.openai_images import (
    EVENTS,
    OUR_NAMES,
    CompletedImage,
    ImageData,
    ImagesRequest,
    ImagesResponse,
    PartialImage,
    ToldQuality,
    Usage,
    quality_of,
)
from api.openapi import event_stream, json_body, problems
from api.stays import Stay
from api.telling import Event, Sign
from api.waiting import TheStay
from shared.errors import DarkroomError
from shared.events import Pictured, Progressed
from shared.generation import ModelCard, OutputFormat
from shared.jobs import Image, Job
from shared.scripts import fleet

router = APIRouter(prefix="/v1/images", tags=["OpenAI Images"])

EXAMPLES: Final = {
    "short": {"summary": "A prompt is enough", "value": {"prompt": "a lighthouse in a storm, oil painting"}},
    "full": {
        "summary": "Several, by their addresses",
        "value": {
            "prompt": "a lighthouse in a storm, oil painting",
            "model": "segmind/SSD-1B",
            "n": 2,
            "size": "1024x1024",
            "quality": "high",
            "response_format": "url",
            "output_format": "webp",
            "negative_prompt": "blurry",
            "seed": 7,
        },
    },
    "stream": {
        "summary": "Streamed",
        "value": {"prompt": "a lighthouse in a storm, oil painting", "stream": True, "partial_images": 2},
    },
}

STREAM_EXAMPLE: Final = """event: image_generation.partial_image
data: {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": "/9j/4AAQSkZJRg...", ...}

event: image_generation.completed
data: {"type": "image_generation.completed", "b64_json": "iVBORw0KGgoAAAANSUhEUg...", "size": "1024x1024", ...}

"""


@router.post(
    "/generations",
    summary="Generate pictures, OpenAI's way",
    response_model=ImagesResponse,
    responses={
        **problems(*ERRAND_ERRORS, statuses=ERRAND_STATUSES, words=OPENAI),
        200: {"content": event_stream(EVENTS, STREAM_EXAMPLE)},
    },
    openapi_extra=json_body(ImagesRequest, EXAMPLES),
)
async def generate_images(request: Request, gateway: TheGateway, tenant: TheSubmitter, stay: TheStay) -> Response:
    """Draw pictures and answer with them; streamed, with sketches on the way, if `stream` is true.

    The answer is held for as long as it takes. Who hangs up cancels the job.
    """
    asked = checked(ImagesRequest, await read_json(request))
    served = await gateway.run(fleet())
    card = named_card(served, asked.model)
    with in_words_of(OUR_NAMES):
        errand = await Errand.begin(gateway, tenant, asked.as_job(card), served)
    if asked.stream:
        return _Stream(errand, asked, card, stay)
    async with errand:
        await errand.wait(request, stay)
        files = () if asked.response_format == "url" else await errand.pictures()
    job = errand.job
    prompt = job.params.prompt
    answer = ImagesResponse(
        created=_now_s(),
        data=[ImageData(b64_json=_base64(file), revised_prompt=prompt) for file in files]
        or [ImageData(url=picture_url(request, job, image), revised_prompt=prompt) for image in job.images],
        output_format=job.params.output_format,
        size=_size(job),
        quality=quality_of(card, job, asked.quality),
        usage=Usage.of(job),
    )
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


class _Stream(StreamingResponse):
    """Tells of an errand as it goes on; whoever hangs up, even before the first byte, ends it."""

    def __init__(self, errand: Errand, asked: ImagesRequest, card: ModelCard, stay: Stay) -> None:
        events = _events(errand, asked, card, stay)
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._errand = errand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._errand:
            await super().__call__(scope, receive, send)


async def _events(errand: Errand, asked: ImagesRequest, card: ModelCard, stay: Stay) -> AsyncIterator[str]:
    """Say each sketch and each finished picture; an error ends it."""
    quality = quality_of(card, errand.job, asked.quality) or "auto"
    wanted, shown, sketch = asked.partial_images or 0, 0, None
    try:
        async for event in errand.events(stay):
            match event:
                case Sign(said=said):
                    yield f": {said}\n\n"
                case Event(body=Progressed(step=step, steps=steps, preview=preview)):
                    sketch = preview or sketch
                    is_due = shown < wanted and step * (wanted + 1) >= steps * (shown + 1)
                    if is_due and sketch is not None:
                        yield _said(_partial(errand.job, sketch, shown, quality))
                        shown, sketch = shown + 1, None
                case Event(body=Pictured(image=done)):
                    image = next(image for image in errand.job.images if image.index == done.index)
                    yield _said(_completed(errand.job, image, await errand.picture(image), quality))
                case _:
                    pass
        errand.require_success()
    except DarkroomError as error:
        yield f"event: error\ndata: {openai_error(fault_of(error)).model_dump_json()}\n\n"


def _partial(job: Job, sketch: str, index: int, quality: ToldQuality) -> PartialImage:
    return PartialImage(
        b64_json=sketch.partition(",")[2],  # of a data URI
        created_at=_now_s(),
        output_format=OutputFormat.JPEG,
        quality=quality,
        size=_size(job),
        partial_image_index=index,
    )


def _completed(job: Job, image: Image, file: bytes, quality: ToldQuality) -> CompletedImage:
    return CompletedImage(
        b64_json=_base64(file),
        created_at=_now_s(),
        output_format=image.output_format,
        quality=quality,
        size=str(image.size),
        usage=Usage.of(job),
    )


def _size(job: Job) -> str:
    return str(job.params.output_size or job.params.size)


def _said(event: PartialImage | CompletedImage) -> str:
    return f"event: {event.type}\ndata: {event.model_dump_json()}\n\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _now_s() -> int:
    return int(time.time())
