"""The document by itself: complete, true to its own schemas, readable."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, cast

import pytest
import schemathesis
from fastapi.routing import iter_route_contexts
from jsonschema import Draft202012Validator
from schemathesis.core.result import Ok

from api.app import create_app
from api.errors import HTTP_CODES, STATUSES
from shared.settings import Settings
from tests.contract.asking import Json, Operation, events_in, examples_of, faults_of, operations_of, resolved

ERRORS = {(int(status), error.code) for error, status in STATUSES.items()} | {
    (int(status), code) for status, code in HTTP_CODES.items()
}
PROBLEM = "application/problem+json"


def media_types(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for operation in operations_of(document):
        bodies = [("request", operation.described.get("requestBody", {})), *operation.described["responses"].items()]
        for name, body in bodies:
            for media_type, content in resolved(document, body).get("content", {}).items():
                yield f"{operation} {name} {media_type}", content


def nodes(node: Json) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(node, dict):
        yield cast("dict[str, Any]", node)
        node = list(cast("dict[str, Any]", node).values())
    if isinstance(node, list):
        for value in cast("list[Json]", node):
            yield from nodes(value)


def test_it_is_plain_json_that_schemathesis_reads(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["openapi"].startswith("3.1.")
    assert set(document) <= {"openapi", "info", "servers", "paths", "components", "tags", "security", "webhooks"}

    loaded = cast("Json", schemathesis.openapi.from_dict(document))  # else its generics are partly unknown
    read = list(loaded.get_all_operations())

    assert len(read) == len(operations_of(document))
    assert all(isinstance(one, Ok) for one in read)


def test_each_schema_is_a_json_schema(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for _, content in media_types(document):
        Draft202012Validator.check_schema(content.get("schema", {}))


def test_each_reference_and_link_leads_somewhere(document: dict[str, Any]) -> None:
    ids = {operation.described["operationId"] for operation in operations_of(document)}
    for node in nodes(document):
        if isinstance(node.get("$ref"), str):
            resolved(document, node)
        if "links" in node and "description" in node:
            assert {link["operationId"] for link in node["links"].values()} <= ids


def test_each_route_is_in_it(document: dict[str, Any]) -> None:
    described = {(operation.method, operation.path) for operation in operations_of(document)}
    served = {
        (method, context.path_format)
        for context in iter_route_contexts(create_app(Settings()).routes)
        for method in context.methods or ()
    }

    # HEAD is GET without the body, and the document doesn't describe itself.
    assert {route for route in served if route[0] != "HEAD" and route[1] != "/openapi.json"} == described


def test_operation_ids_are_readable_and_each_is_one_operation_s(document: dict[str, Any]) -> None:
    ids = Counter(operation.described["operationId"] for operation in operations_of(document))

    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) for name in ids)
    assert set(ids.values()) == {1}


def test_each_operation_says_what_it_does_to_whom(operation: Operation, document: dict[str, Any]) -> None:
    described = operation.described
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}

    assert described["summary"]
    assert described["description"]
    assert len(described["tags"]) == 1
    assert tags[described["tags"][0]]


def test_each_parameter_is_described(operation: Operation) -> None:
    named = {one["name"] for one in operation.parameters if one["in"] == "path"}
    assert named == set(re.findall(r"\{(\w+)\}", operation.path))
    for parameter in operation.parameters:
        assert parameter.get("description"), parameter["name"]
        assert {"type": "null"} not in parameter["schema"].get("anyOf", []), "what is sent is text, or absent"


def test_each_answer_has_its_headers_and_body(operation: Operation, document: dict[str, Any]) -> None:
    for status, response in operation.described["responses"].items():
        assert response["description"], status
        headers = {name: resolved(document, one) for name, one in response["headers"].items()}
        assert headers["X-Request-ID"]["required"]
        assert ("Retry-After" in headers) == (status in {"429", "503"} and operation.path != "/readyz"), status
        assert ("WWW-Authenticate" in headers) == (status == "401"), status
        if int(status) >= 300 and status not in {"304", "307"}:
            assert response["content"], status


def test_each_problem_is_one_of_ours(operation: Operation) -> None:
    for status, response in operation.described["responses"].items():
        content = response.get("content", {}).get(PROBLEM)
        if content is None:
            continue
        assert set(response["content"]) == {PROBLEM}
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        codes = [(int(status), value["code"]) for value in examples_of(content)]
        assert set(codes) <= ERRORS
        for _, code in codes:
            assert f"`{code}`" in response["description"]


def test_what_any_address_answers_is_said_of_each(operation: Operation) -> None:
    anywhere = {
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    }
    if operation.method != "GET":
        anywhere.add(HTTPStatus.FORBIDDEN)
    if operation.takes_body:
        anywhere |= {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}

    assert {str(int(status)) for status in anywhere} <= set(operation.described["responses"])


def test_each_json_body_has_an_example(document: dict[str, Any]) -> None:
    bodies = [(name, content) for name, content in media_types(document) if "json" in name and content.get("schema")]
    lacking = [name for name, content in bodies if not list(examples_of(content))]

    assert not lacking, "put one into api/examples.py"


def test_each_example_is_true_to_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for name, content in media_types(document):
        for example in examples_of(content):
            if "itemSchema" in content:
                told = events_in(example)
                assert told, name
                assert not any(faults_of(document, content["itemSchema"], event) for event in told), name
            else:
                assert not faults_of(document, content["schema"], example), name
            checked += 1
    for operation in operations_of(document):
        for parameter in operation.parameters:
            for example in [
                *parameter["schema"].get("examples", ()),
                *([parameter["example"]] if "example" in parameter else []),
            ]:
                assert not faults_of(document, parameter["schema"], example), (str(operation), parameter["name"])
    assert checked > 50


@pytest.mark.parametrize("broken", ["status", "params"])
def test_an_example_that_is_wrong_would_be_seen(document: dict[str, Any], broken: str) -> None:
    schema = {"$ref": "#/components/schemas/JobBody"}
    content = document["paths"]["/v1/jobs/{job_id}"]["get"]["responses"]["200"]["content"]["application/json"]
    example = {**next(examples_of(content)), broken: "nonsense"}

    assert faults_of(document, schema, example)
