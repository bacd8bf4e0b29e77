"""The document as a list of what can be asked, so that a new route is covered by every test that asks them all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import httpx2
from jsonschema import Draft202012Validator

from shared.jobs import new_job_id

Json: TypeAlias = Any
"""A JSON value, whatever it is."""

EVENTS: Final = "text/event-stream"
PARAMETER: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Operation:
    """One method of one address, as the document describes it."""

    method: str
    path: str
    described: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def takes_body(self) -> bool:
        return "requestBody" in self.described

    @property
    def is_stream(self) -> bool:
        """True if it answers with a stream of events alone, which need not end."""
        return list(self.described["responses"].get("200", {}).get("content", ())) == [EVENTS]

    @property
    def body(self) -> Json:
        """The first example of what may be sent; None where nothing is."""
        for _, value in self.request_examples():
            return value
        return None

    def request_examples(self) -> Iterator[tuple[str, Any]]:
        for media_type, content in self.described.get("requestBody", {}).get("content", {}).items():
            yield from ((media_type, value) for value in examples_of(content))

    def address(self, **known: str) -> str:
        """The path with its parameters filled in: what is `known`, else what the document has as examples."""
        return PARAMETER.sub(lambda found: known.get(found[1]) or str(self._parameter(found[1])), self.path)

    def ask(self, http: httpx2.Client, **more: Json) -> httpx2.Response:
        """Ask as the document's examples do, of a job that there is not; of a stream, only its head is read."""
        content = {} if self.body is None else {"json": self.body}
        with http.stream(self.method, self.address(job_id=new_job_id()), **{**content, **more}) as answer:
            if not answer.headers.get("Content-Type", "").startswith(EVENTS):
                answer.read()
            return answer

    def _parameter(self, name: str) -> Json:
        for parameter in self.parameters:
            if parameter["name"] == name:
                schema = parameter["schema"]
                given = (parameter.get("example"), *schema.get("examples", ()), *schema.get("enum", ()))
                return next((value for value in given if value is not None), schema.get("minimum", "x"))
        raise AssertionError(f"{self}: {name} is not described")


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """All that the document describes."""
    return [
        Operation(method.upper(), path, described, tuple(_parameters(document, described)))
        for path, methods in cast("Mapping[str, Mapping[str, Any]]", document["paths"]).items()
        for method, described in methods.items()
    ]


def examples_of(content: Mapping[str, Any]) -> Iterator[Any]:
    """The examples of a media type object."""
    if "example" in content:
        yield content["example"]
    for example in content.get("examples", {}).values():
        yield example["value"]


def _parameters(document: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for parameter in (resolved(document, one) for one in described["parameters"]):
        yield {**parameter, "schema": resolved(document, parameter["schema"])}


def resolved(document: Mapping[str, Any], node: Json) -> Json:
    """Follow a reference within the document."""
    while "$ref" in node:
        names = cast("str", node["$ref"]).removeprefix("#/").split("/")
        node = document
        for name in names:
            node = node[name]
    return node


def faults_of(document: Mapping[str, Any], schema: Json, value: Json) -> list[str]:
    """What is wrong with a value by a part of the document, which may refer to others."""
    validator = Draft202012Validator(
        {**schema, "components": document["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return [str(error) for error in validator.iter_errors(value)]  # pyright: ignore[reportUnknownMemberType]: partly typed


def events_in(stream: str) -> list[dict[str, str]]:
    """The whole events of a stream that have data."""
    blocks = ([line.split(": ", 1) for line in block.splitlines()] for block in stream.split("\n\n")[:-1])
    events = [{name: value for name, value in block if name in {"event", "data", "id"}} for block in blocks]
    return [event for event in events if "data" in event]
