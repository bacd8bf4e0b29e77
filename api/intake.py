"""From a request's bytes to parameters that a model takes, or to all that is wrong with them at once.

JSON is read by pydantic in strict mode: no `"5"` for 5, no NaN, no lone surrogates, no deep nesting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.catalog import card_for, default_card
from api.terms import too_costly
from shared.contract import JobRequest
from shared.errors import FieldError, InvalidRequest, NoModel, field_errors
from shared.generation import GenerationParams, ModelCard
from shared.scripts import Fleet

BodyT = TypeVar("BodyT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Draft:
    """A request as far as it could be read, and what could not."""

    request: JobRequest
    wrong: tuple[FieldError, ...]

    def complete(self, fleet: Fleet, *, drawn_seed: int, max_cost: int) -> tuple[ModelCard, GenerationParams]:
        """Hold the request against its model and what one job may cost.

        Raises InvalidRequest with every wrong field, NoModel.
        """
        wrong = list(self.wrong)
        unread = {error.field.split(".")[0] for error in wrong}
        if unread & {"width", "height"}:
            unread |= {"width", "height", "size"}
        try:
            card = card_for(fleet, self.request.model)
        except InvalidRequest as error:
            wrong += error.errors
            card = default_card(fleet)
        except NoModel:
            if wrong:
                raise InvalidRequest(self.wrong) from None
            raise
        try:
            params = self.request.resolve(card, drawn_seed=drawn_seed)
        except InvalidRequest as error:
            wrong += [one for one in error.errors if one.field not in unread]
            raise InvalidRequest(tuple(wrong)) from None
        wrong += too_costly(params, max_cost)
        if wrong:
            raise InvalidRequest(tuple(wrong))
        return card, params


JSON: Final = "application/json"


async def read_json(request: Request) -> bytes:
    """Read a JSON request's body; its size is bounded by the application."""
    require_json(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
    return await request.body()


def require_json(content_type: str, content_encoding: str) -> None:
    """Let a body pass that says to be JSON. Raises HTTPException (415)."""
    advice = "Send JSON, with the header Content-Type: application/json."
    _require_type(content_type, content_encoding, (JSON,), advice)


def require_type(request: Request, *types: str, advice: str) -> str:
    """Tell which of these types a request's body says to be. Raises HTTPException (415) with `advice`."""
    said = request.headers
    return _require_type(said.get("content-type", ""), said.get("content-encoding", ""), types, advice)


def _require_type(content_type: str, content_encoding: str, types: Sequence[str], advice: str) -> str:
    media_type = content_type.split(";", maxsplit=1)[0].strip().lower()
    if media_type not in types:
        # A web page can send plain text and forms across origins without asking first.
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, advice)
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send the body as it is, without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    return media_type


def checked(kind: type[BodyT], body: bytes, *, strict: bool = True) -> BodyT:
    """Read a body that is right or wrong by itself. Raises InvalidRequest with every wrong field."""
    try:
        return kind.model_validate_json(body, strict=strict)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidRequest:
    """Say pydantic's finding as ours."""
    return InvalidRequest(field_errors(error.errors(include_url=False, include_context=False, include_input=False)))


def draft(body: bytes) -> Draft:
    """Read a body. Raises InvalidRequest if it is no JSON object at all."""
    try:
        return Draft(JobRequest.model_validate_json(body, strict=True), ())
    except ValidationError as error:
        wrong = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
    if any(one.field == "body" for one in wrong):
        raise InvalidRequest(wrong if body.strip() else (FieldError("body", "The body is empty: send JSON."),))
    # The fields that were read are checked all the same, so that one answer tells everything.
    said = cast("dict[str, Any]", from_json(body))
    unread = {one.field.split(".")[0] for one in wrong}
    kept = {name: value for name, value in said.items() if name in JobRequest.model_fields and name not in unread}
    return Draft(JobRequest.model_validate_json(to_json({"prompt": "-", **kept}), strict=True), wrong)
