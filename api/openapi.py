"""What /openapi.json says beyond what FastAPI finds out itself: problems, bodies read by hand, examples."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.errors import HTTP_CODES, MEDIA_TYPE, STATUSES
from shared.contract import JobRequest, Problem
from shared.errors import DarkroomError

REPLAYED: Final = "Idempotency-Replayed"
REF: Final = "#/components/schemas/{model}"

Responses = dict[int | str, dict[str, Any]]

JOB_REQUEST_EXAMPLES: Final = {
    "short": {"summary": "A prompt is enough", "value": {"prompt": "a lighthouse in a storm, oil painting"}},
    "full": {
        "summary": "Everything said",
        "value": {
            "prompt": "a lighthouse in a storm, oil painting",
            "negative_prompt": "blurry, text",
            "width": 1152,
            "height": 896,
            "num_inference_steps": 25,
            "guidance_scale": 9.0,
            "seed": 7,
            "num_images": 2,
            "scheduler": "euler",
            "output_format": "webp",
            "output_size": {"width": 576, "height": 448},
            "model": "segmind/SSD-1B",
            "metadata": {"order": "1138"},
            "lane": "bulk",
            "cancel_after": 3600,
            "reuse": False,
        },
    },
}

JOB_REQUEST_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": REF.format(model="JobRequest")}, "examples": JOB_REQUEST_EXAMPLES}
        },
    }
}


def problems(*errors: type[DarkroomError], statuses: tuple[HTTPStatus, ...] = ()) -> Responses:
    """Document the problems that a route answers with: our errors, and bare statuses."""
    by_status: dict[HTTPStatus, dict[str, str]] = {}
    for error in errors:
        by_status.setdefault(STATUSES[error], {})[error.code] = (error.__doc__ or "").split("\n")[0]
    for status in (*statuses, HTTPStatus.INTERNAL_SERVER_ERROR):
        by_status.setdefault(status, {})[HTTP_CODES[status]] = status.phrase
    return {int(status): _response(status, codes) for status, codes in by_status.items()}


def accepted(description: str) -> Responses:
    """Document the answer to a request that makes a job."""
    location = {"description": "Where to read the job.", "schema": {"type": "string"}}
    replayed = {
        "description": "`true`: this Idempotency-Key came before, and this is the job that it made.",
        "schema": {"type": "string"},
    }
    headers = {"Location": location, REPLAYED: replayed}
    return {int(HTTPStatus.ACCEPTED): {"description": description, "headers": headers}}


def _response(status: HTTPStatus, codes: dict[str, str]) -> dict[str, Any]:
    examples = {
        code: {
            "summary": code,
            "value": {
                "type": f"urn:darkroom:problem:{code}",
                "title": status.phrase,
                "status": int(status),
                "detail": text,
                "code": code,
                "errors": [{"field": "seed", "message": "Must be from 0 to 4294967295."}]
                if code == "invalid_request"
                else [],
                "request_id": "1f0c9d4b7a62e853",
            },
        }
        for code, text in codes.items()
    }
    described: dict[str, Any] = {
        "description": " ".join(f"`{code}`: {text}" for code, text in codes.items()),
        "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}, "examples": examples}},
    }
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        described["headers"] = {
            "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}
        }
    return described


def document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Make the function that FastAPI asks for the document; it is made once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            _, extra = models_json_schema([(JobRequest, "validation"), (Problem, "serialization")], ref_template=REF)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            for name, schema in extra["$defs"].items():
                schemas.setdefault(name, schema)
            _drop_fastapi_errors(made)
            app.openapi_schema = made
        return app.openapi_schema

    return openapi


def _drop_fastapi_errors(made: dict[str, Any]) -> None:
    """Take out the 422 that FastAPI adds to each route with parameters: ours have another body."""
    for operations in made["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if MEDIA_TYPE not in content:
                operation["responses"].pop("422", None)
    for unused in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(unused, None)
