"""What the dialects have in common: finding the model, fitting a size, naming fields as theirs."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from pydantic import ValidationError
from starlette.requests import Request

from api.catalog import card_for
from api.intake import invalid
from shared.contract import JobRequest
from shared.errors import (
    FieldError,
    GatewayStopping,
    ImageNotFound,
    InvalidRequest,
    JobCanceled,
    JobNotFound,
    ModelError,
    ModelNotFound,
    NoModel,
    OutOfMemory,
    QueueFull,
    QueueUnavailable,
    StoreUnavailable,
    TenantQueueFull,
    WorkerLost,
)
from shared.generation import ModelCard, Size
from shared.jobs import Image, Job
from shared.scripts import Fleet

# What a dialect's answer to who waits for pictures may be instead, for the document.
ERRAND_ERRORS: Final = (
    InvalidRequest,
    ModelNotFound,
    JobNotFound,
    ImageNotFound,
    JobCanceled,
    QueueFull,
    TenantQueueFull,
    ModelError,
    OutOfMemory,
    WorkerLost,
    QueueUnavailable,
    StoreUnavailable,
    NoModel,
    GatewayStopping,
)
ERRAND_STATUSES: Final = (
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.FORBIDDEN,
)

DIALECT: Final = "dialect"
"""The key in a job's `metadata` under which it says by which dialect it came."""

_SIZE: Final = re.compile(r"([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


def named_card(served: Fleet, model: str | None) -> ModelCard:
    """The card of the model that a request names, or the default's. Raises NoModel, ModelNotFound."""
    try:
        return card_for(served, model)
    except InvalidRequest as error:
        raise ModelNotFound(error.errors[0].message) from None


def size_of(text: str | None) -> Size | None:
    """Read `WIDTHxHEIGHT`; None for `auto` and for nothing: the model's own. Raises InvalidRequest."""
    if text in {None, "auto"}:
        return None
    found = _SIZE.fullmatch(text or "")
    if found is None:
        raise InvalidRequest((FieldError("size", 'Say it as "1024x1024", width first, or "auto".'),))
    return Size(width=int(found[1]), height=int(found[2]))


def drawn_at(card: ModelCard, size: Size | None) -> dict[str, object]:
    """The fields of a job request that give a picture of this size.

    Clients of a dialect name sizes of their own models. One that this model doesn't draw is drawn in its nearest size
    of the very same shape, and resized; where it has none, the request is refused later, with the sizes that there are.
    """
    if size is None:
        return {}
    sizes = (ratio.size for ratio in card.aspect_ratios)
    alike = [one for one in sizes if one.width * size.height == one.height * size.width]
    if card.allows(size) or not alike:
        return {"width": size.width, "height": size.height}
    nearest = min(alike, key=lambda one: abs(one.width - size.width))
    return {"width": nearest.width, "height": nearest.height, "output_size": size}


def job_request(dialect: str, **said: object) -> JobRequest:
    """Make a job request of what a dialect's request says; None says nothing. Raises InvalidRequest."""
    fields = {name: value for name, value in said.items() if value is not None}
    try:
        return JobRequest.model_validate({**fields, "metadata": {DIALECT: dialect}})
    except ValidationError as error:
        raise invalid(error) from None


@contextmanager
def in_words_of(names: Mapping[str, str]) -> Generator[None]:
    """Name wrong fields as the dialect does: ours on the left, theirs on the right."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(
            tuple(FieldError(names.get(wrong.field, wrong.field), wrong.message) for wrong in error.errors)
        ) from None


def picture_url(request: Request, job: Job, image: Image) -> str:
    """The whole address of a picture, as the caller reached this gateway."""
    return f"{request.base_url}v1/jobs/{job.id}/images/{image.index}"
