"""What /openapi.json says beyond what FastAPI finds out itself: problems, bodies read by hand, examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.edge import READING
from api.errors import HTTP_CODES, STATUSES
from api.faults import AUTOMATIC1111, OPENAI, OURS, Fault, Words, words_of
from api.waiting import APPLIED
from shared.contract import VISITOR, JobBody, JobRequest
from shared.errors import (
    DarkroomError,
    FieldError,
    InvalidRequest,
    KeyRefused,
    KeyRequired,
    QueueUnavailable,
    RateLimited,
    ScopeMissing,
)
from shared.generation import SUBTLE_VARIATION
from shared.keyring import KeyRequest, LimitsRequest

REPLAYED: Final = "Idempotency-Replayed"
X_REQUEST_ID: Final = "X-Request-ID"
REF: Final = "#/components/schemas/{model}"

Responses = dict[int | str, dict[str, Any]]

TAGS: Final = [
    {"name": "Jobs", "description": "One request each: ask for pictures, follow them, cancel, try again, delete."},
    {"name": "Batches", "description": "Many requests at once, and their results together."},
    {"name": "Pictures", "description": "What a job has drawn, and sketches of what it is drawing."},
    {"name": "Models", "description": "What can be asked of whom."},
    {"name": "Health", "description": "For those who keep the service running, and for their machines."},
    {"name": "Events", "description": "Streams that tell what happens to jobs."},
    {"name": "Webhooks", "description": "Addresses of yours that are told when jobs and batches end."},
    {"name": "Keys", "description": "Who may ask, and how much."},
    {"name": "Operators", "description": "The fleet and its queue."},
    {"name": "OpenAI Images", "description": "The same jobs, as OpenAI's clients ask for them."},
    {"name": "AUTOMATIC1111", "description": "The same jobs, as AUTOMATIC1111's clients ask for them."},
    {"name": "One picture", "description": "The same jobs, one picture at a time, answered when it is there."},
]

ID_PARAMETER: Final = {
    "name": X_REQUEST_ID,
    "in": "header",
    "required": False,
    "description": "Yours, to find the request again in answers and logs: up to 64 letters, digits, `._:-`. "
    "Any other is replaced.",
    "schema": {"type": "string"},
    "example": "order-1138",
}
ID_HEADER: Final = {
    "description": "The request's id: the one that was sent, or one that was drawn. The log knows it.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
}

_NEXT: Final = {
    "Read": ("read_job", "Read the job until it has ended; with `wait`, to be told."),
    "Cancel": ("cancel_job", "End it."),
    "Retry": ("retry_job", "Try it again, once it failed, expired or was canceled."),
    "Delete": ("delete_job", "Forget it and its pictures."),
}
"""What may be done with a job that was accepted."""

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
    "neighbours": {
        "summary": "Four neighbours of the picture of a seed",
        "value": {
            "prompt": "a lighthouse in a storm, oil painting",
            "seed": 7,
            "variation_seed": 1,
            "variation_strength": SUBTLE_VARIATION,
            "num_images": 4,
        },
    },
}


WRONG: Final = FieldError("seed", "Must be from 0 to 4294967295.")

ERROR_SCHEMAS: Final = tuple(words.schema for words in (OURS, OPENAI, AUTOMATIC1111))


def json_body(kind: type[BaseModel], examples: Mapping[str, object]) -> dict[str, Any]:
    """Document a JSON body that the route reads itself; `document` needs to know its class too."""
    schema = {"$ref": REF.format(model=kind.__name__)}
    content = {"application/json": {"schema": schema, "examples": examples}}
    return {"requestBody": {"required": True, "content": content}}


JOB_REQUEST_BODY: Final = json_body(JobRequest, JOB_REQUEST_EXAMPLES)


def problems(*errors: type[DarkroomError], statuses: tuple[HTTPStatus, ...] = (), words: Words = OURS) -> Responses:
    """Document the problems that a route answers with: our errors, and bare statuses.

    What any address may answer, whatever its route does, is added by `document`.
    """
    by_status: dict[HTTPStatus, list[Fault]] = {}
    for fault in map(_fault, errors):
        by_status.setdefault(words.status_of(fault.status), []).append(fault)
    for status in statuses:
        by_status.setdefault(words.status_of(status), []).append(Fault(status, HTTP_CODES[status], status.phrase))
    return {int(status): _response(status, faults, words) for status, faults in by_status.items()}


def accepted(description: str) -> Responses:
    """Document the answer to a request that makes a job."""
    location = {"description": "Where to read the job.", "required": True, "schema": {"type": "string"}}
    replayed = {
        "description": "`true`: this Idempotency-Key came before, and this is the job that it made.",
        "schema": {"const": "true"},
    }
    links = {
        name: {"operationId": operation, "parameters": {"job_id": "$response.body#/id"}, "description": said}
        for name, (operation, said) in _NEXT.items()
    }
    applied = {"description": "`wait=N`: how long the answer was held at most.", "schema": {"type": "string"}}
    headers = {"Location": location, REPLAYED: replayed, APPLIED: applied}
    ended = "It has ended, well or not, while you waited (`Prefer: wait`)."
    return {
        int(HTTPStatus.OK): {"model": JobBody, "description": ended, "headers": headers, "links": links},
        int(HTTPStatus.ACCEPTED): {"description": description, "headers": headers, "links": links},
    }


def header(description: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """Document a header that an answer always has; text unless a schema says more."""
    return {"description": description, "required": True, "schema": schema or {"type": "string"}}


def event_stream(events: Mapping[str, type[BaseModel]], example: str) -> dict[str, Any]:
    """Document a stream of Server-Sent Events, each by its name (OpenAPI 3.2's `itemSchema`, as FastAPI's own are).

    `document` needs to know the classes too.
    """
    kinds = [
        {
            "type": "object",
            "required": ["event", "data"],
            "properties": {
                "event": {"const": name},
                "data": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": REF.format(model=body.__name__)},
                },
                "id": {"type": "string"},
            },
        }
        for name, body in events.items()
    ]
    return {"text/event-stream": {"itemSchema": {"oneOf": kinds}, "example": example}}


def operation_id(route: APIRoute) -> str:
    """Name an operation for those who make clients of the document: by its function, which no two share."""
    return route.name


def _response(status: HTTPStatus, faults: list[Fault], words: Words) -> dict[str, Any]:
    examples = {
        fault.code: {"summary": fault.code, "value": words.say(fault).model_dump(mode="json")} for fault in faults
    }
    described: dict[str, Any] = {
        "description": " ".join(f"`{fault.code}`: {fault.detail}" for fault in faults),
        "content": {
            words.media_type: {"schema": {"$ref": REF.format(model=words.schema.__name__)}, "examples": examples}
        },
    }
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        described["headers"] = {
            "Retry-After": header("Seconds to wait before trying again.", {"type": "integer", "minimum": 0})
        }
    if status is HTTPStatus.UNAUTHORIZED:
        described["headers"] = {"WWW-Authenticate": header("`Bearer`: which kind of key to send.")}
    return described


def document(
    app: FastAPI,
    bodies: tuple[type[BaseModel], ...],
    events: tuple[type[BaseModel], ...],
    examples: Mapping[type[BaseModel], BaseModel],
) -> Callable[[], dict[str, Any]]:
    """Make the function that FastAPI asks for the document, which is made once.

    `bodies` are read by the routes themselves, `events` told by their streams; `examples` are of answers, by body.
    """
    shown = {REF.format(model=body.__name__): one.model_dump(mode="json") for body, one in examples.items()}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=TAGS,
                servers=[{"url": "/", "description": "The gateway that you have this from."}],
                license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            )
            components = made.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
                *((body, "validation") for body in (JobRequest, KeyRequest, LimitsRequest, *bodies)),
                *((schema, "serialization") for schema in (*ERROR_SCHEMAS, *events)),
            ]
            _, extra = models_json_schema(models, ref_template=REF)
            for name, schema in extra["$defs"].items():
                schemas.setdefault(name, schema)
            components["parameters"] = {X_REQUEST_ID: ID_PARAMETER}
            components["headers"] = {X_REQUEST_ID: ID_HEADER}
            for path, operations in made["paths"].items():
                for method, operation in operations.items():
                    _complete(path, method.upper(), operation, shown)
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    return openapi


def _complete(path: str, method: str, operation: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """Say of an operation what holds for all: ids, what is answered before its route, examples of known bodies."""
    responses, words = operation["responses"], words_of(path)
    if words.media_type not in responses.get("422", {}).get("content", {}) or "HTTPValidationError" in str(
        responses["422"]
    ):
        responses.pop("422", None)  # FastAPI's own: ours has another body
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _sent(parameter["schema"])
    operation.setdefault("parameters", []).append({"$ref": f"#/components/parameters/{X_REQUEST_ID}"})
    before = [
        Fault(status, HTTP_CODES[status], text)
        for status, text in _anywhere(method, takes_body="requestBody" in operation).items()
    ]
    if "security" in operation:
        refusals = (KeyRequired, KeyRefused, ScopeMissing, RateLimited, QueueUnavailable)
        before += [_fault(error) for error in refusals]
        before.append(_fault(InvalidRequest, FieldError(VISITOR, "Send one name.")))
    for fault in before:
        _add(responses, fault, words)
    for response in responses.values():
        response.setdefault("headers", {})[X_REQUEST_ID] = {"$ref": f"#/components/headers/{X_REQUEST_ID}"}
        _exemplify(response, examples)
    _exemplify(operation.get("requestBody", {}), examples)
    operation["responses"] = {status: responses[status] for status in sorted(responses)}


def _exemplify(message: dict[str, Any], examples: Mapping[str, Any]) -> None:
    """Add what is missing of examples of known bodies."""
    for content in message.get("content", {}).values():
        if "itemSchema" in content:
            content.pop("schema", None)  # FastAPI's own, of a text
        example = _example(content.get("schema", {}), examples)
        if example is not None and "examples" not in content:
            content.setdefault("example", example)


def _example(schema: dict[str, Any], examples: Mapping[str, Any]) -> object:
    if "$ref" in schema:
        return examples.get(schema["$ref"])
    match schema.get("type"):
        case "array":
            one = _example(schema["items"], examples)
            return [] if one is None else [one]
        case "object":
            return {}
        case _:
            return None


def _anywhere(method: str, *, takes_body: bool) -> dict[HTTPStatus, str]:
    """What is answered whatever the route does."""
    found = {
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than 256 KiB, a batch than 16 MiB, or a GET has one.",
        HTTPStatus.MISDIRECTED_REQUEST: "A gateway on loopback was asked by a name that is not this machine's.",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "Address and headers are larger than 32 KiB.",
        HTTPStatus.INTERNAL_SERVER_ERROR: "Our fault; the log has it under the request id.",
    }
    if method not in READING:
        found[HTTPStatus.FORBIDDEN] = "A web page of another origin tried to write."
    if takes_body:
        found[HTTPStatus.REQUEST_TIMEOUT] = "The body took too long to come."
        found[HTTPStatus.UNSUPPORTED_MEDIA_TYPE] = "The body is of another type, or compressed."
    return found


def _fault(error: type[DarkroomError], wrong: FieldError = WRONG) -> Fault:
    fields = (wrong,) if error is InvalidRequest else ()
    return Fault(STATUSES[error], error.code, (error.__doc__ or "").split("\n")[0], fields)


def _add(responses: Responses, fault: Fault, words: Words) -> None:
    """Add a fault to those that a route has by itself."""
    status = words.status_of(fault.status)
    own = _response(status, [fault], words)
    described = responses.setdefault(str(int(status)), own)
    examples = described.get("content", {}).get(words.media_type, {}).get("examples")
    if examples is not None and fault.code not in examples:  # None: another body, which the route describes
        examples |= own["content"][words.media_type]["examples"]
        described["description"] += f" {own['description']}"


def _sent(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a parameter as it is sent: it can be absent, which is the document's `required`, but not null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {name: value for name, value in schema.items() if name != "anyOf"} | kinds[0]
