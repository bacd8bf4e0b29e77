"""`/generate-image`: a text in, a picture out, for a program of three lines."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from api.deps import TheGateway, TheSubmitter
from api.dialect import (
    ERRAND_ERRORS,
    ERRAND_STATUSES,
    drawn_at,
    in_words_of,
    job_request,
    named_card,
    picture_url,
    size_of,
)
from api.errand import Errand
from api.intake import checked, read_json
from api.openapi import json_body, problems
from api.waiting import TheStay
from shared.contract import JobRequest
from shared.generation import ModelCard
from shared.jobs import JobId
from shared.scripts import fleet

router = APIRouter(tags=["One picture"])

DIALECT_NAME: Final = "generate-image"

OUR_NAMES: Final = {"prompt": "text", "width": "size", "height": "size", "output_size": "size"}

PNG: Final = "image/png"
JSON: Final = "application/json"


class TextRequest(BaseModel):
    """`POST /generate-image`."""

    model_config = ConfigDict(extra="forbid")

    text: str
    negative_prompt: str | None = None
    seed: int | None = None
    """Absent: drawn."""
    size: str | None = None
    """`WIDTHxHEIGHT`; absent or `auto`: the model's own."""

    def as_job(self, card: ModelCard) -> JobRequest:
        """Say it as a job's request. Raises InvalidRequest."""
        return job_request(
            DIALECT_NAME,
            **drawn_at(card, size_of(self.size)),
            prompt=self.text,
            negative_prompt=self.negative_prompt,
            seed=self.seed,
            model=card.id,
        )


class PictureAnswer(BaseModel):
    """Where the picture is, for who would rather have JSON."""

    id: JobId
    """Of its job."""
    url: str
    seed: int


EXAMPLES: Final = {
    "short": {"summary": "A text is enough", "value": {"text": "a lighthouse in a storm, oil painting"}},
    "full": {
        "summary": "Everything said",
        "value": {
            "text": "a lighthouse in a storm, oil painting",
            "negative_prompt": "blurry",
            "seed": 7,
            "size": "1024x1024",
        },
    },
}


@router.post(
    "/generate-image",
    summary="Text in, picture out",
    response_class=Response,
    responses={
        **problems(*ERRAND_ERRORS, statuses=ERRAND_STATUSES),
        200: {
            "model": PictureAnswer,
            "description": "The picture as PNG, or as JSON where that is preferred (`Accept: application/json`).",
            "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
        },
    },
    openapi_extra=json_body(TextRequest, EXAMPLES),
)
async def generate_image(request: Request, gateway: TheGateway, tenant: TheSubmitter, stay: TheStay) -> Response:
    """Draw a picture and answer with it. The answer is held for as long as it takes; who hangs up cancels."""
    asked = checked(TextRequest, await read_json(request))
    served = await gateway.run(fleet())
    card = named_card(served, None)
    with in_words_of(OUR_NAMES):
        errand = await Errand.begin(gateway, tenant, asked.as_job(card), served)
    async with errand:
        await errand.wait(request, stay)
    image = errand.job.images[0]
    url = picture_url(request, errand.job, image)
    headers = {"Content-Location": url, "Vary": "Accept"}
    if prefers_json(request.headers.get("accept", "")):
        answer = PictureAnswer(id=errand.job.id, url=url, seed=image.seed)
        return Response(answer.model_dump_json(), HTTPStatus.OK, headers, JSON)
    return Response(await errand.picture(image), HTTPStatus.OK, {**headers, "ETag": f'"{image.sha256}"'}, PNG)


def prefers_json(accept: str) -> bool:
    """True if JSON is liked better than PNG (RFC 9110, 12.5.1); who takes either gets the picture."""
    return _liking(accept, JSON) > _liking(accept, PNG)


def _liking(accept: str, media_type: str) -> float:
    """The weight of the closest range that fits, 0 if none does."""
    kinds = (media_type, f"{media_type.split('/', maxsplit=1)[0]}/*", "*/*")
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        weights[kind] = min((_weight(one) for one in parameters if one.startswith("q=")), default=1.0)
    return next((weights[kind] for kind in kinds if kind in weights), 0.0)


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
