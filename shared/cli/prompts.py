"""The file of a batch: a request a line, as CSV, JSONL or plain prompts, all checked before anything is sent."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from shared.contract import JobRequest, ModelBody
from shared.errors import FieldError, InvalidRequest, field_errors
from shared.generation import MAX_SEED, Size

_CSV: Final = frozenset({".csv"})
_JSON: Final = frozenset({".jsonl", ".ndjson"})
_PLAIN: Final = frozenset({".txt", ""})
_METADATA: Final = "metadata."
_FIELDS: Final = frozenset(JobRequest.model_fields)
_TEXTS: Final = frozenset({"prompt", "negative_prompt", "model", "preset", "scheduler", "output_format", "lane"})
"""Fields whose cell in a CSV file is text even if it looks like a number."""


@dataclass(frozen=True, slots=True)
class Line:
    """A request, and where it stands in the file."""

    number: int
    """Counted from 1, as editors do. Of a CSV record that spans lines: its last one."""
    request: JobRequest


class _Wrong(Exception):
    """What is wrong with one line."""


def read_lines(path: Path) -> tuple[Line, ...]:
    """Read a batch. Raises InvalidRequest with everything that is wrong, by line."""
    lines: list[Line] = []
    wrong: list[FieldError] = []
    if path.suffix.lower() not in _CSV | _JSON | _PLAIN:
        # Read as plain prompts, a JSON array or a table would be drawn line by line.
        raise InvalidRequest((FieldError(str(path), "Its name must end in .csv, .jsonl or .txt, as what it is."),))
    try:
        for number, said in _said(path):
            try:
                lines.append(Line(number, _request(said)))
            except ValidationError as error:
                found = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
                wrong += [FieldError(f"line {number}", _sentence(one)) for one in found]
            except _Wrong as error:
                wrong.append(FieldError(f"line {number}", str(error)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InvalidRequest((FieldError(str(path), f"Can't be read: {why}."),)) from error
    if not lines and not wrong:
        wrong.append(FieldError(str(path), "There is no request in it."))
    if wrong:
        raise InvalidRequest(tuple(wrong))
    return tuple(lines)


def check(lines: tuple[Line, ...], models: tuple[ModelBody, ...]) -> None:
    """Hold requests against what is served. Raises InvalidRequest with everything that is wrong, by line."""
    wrong: list[FieldError] = []
    for line in lines:
        model = next((one for one in models if _is_meant(one, line.request)), None)
        if model is None:
            if models and line.request.model is not None:
                wrong.append(FieldError(f"line {line.number}", f"model: Served are {_names(models)}."))
            continue
        if any(pool.name == line.request.model and not pool.is_alike for pool in model.pools):
            continue  # its limits may be others: the gateway knows them
        try:
            line.request.resolve(model, drawn_seed=MAX_SEED)
        except InvalidRequest as error:
            wrong += [FieldError(f"line {line.number}", f"{one.field}: {one.message}") for one in error.errors]
    if wrong:
        raise InvalidRequest(tuple(wrong))


def _is_meant(model: ModelBody, request: JobRequest) -> bool:
    if request.model is None:
        return model.is_default
    return request.model in {model.id, *(pool.name for pool in model.pools)}


def _names(models: tuple[ModelBody, ...]) -> str:
    return ", ".join(model.id for model in models)


def _said(path: Path) -> Iterator[tuple[int, object]]:
    """What each line says; a line that can't be read is its `_Wrong`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() in _CSV:
            reader = csv.DictReader(file, skipinitialspace=True)
            unknown = {name for name in reader.fieldnames or () if name and not name.startswith(_METADATA)} - _FIELDS
            if unknown:  # told once, not with each line
                told = (FieldError("line 1", f"{name}: There is no such field.") for name in sorted(unknown))
                raise InvalidRequest(tuple(told))
            for row in reader:
                yield reader.line_num, cast("dict[str | None, Any]", row)
            return
        is_json = path.suffix.lower() in _JSON
        for number, text in enumerate(file, 1):
            if text.strip():
                yield number, _Json(text) if is_json else {"prompt": text.strip()}


class _Json(str):
    """A line that is JSON."""

    __slots__ = ()


def _request(said: object) -> JobRequest:
    if isinstance(said, _Json):
        return JobRequest.model_validate_json(said, strict=True)
    cells = cast("dict[str | None, Any]", said)
    if None in cells:
        raise _Wrong("has more cells than the first line names.")
    return JobRequest.model_validate_json(json.dumps(dict(_fields(cast("dict[str, str | None]", cells)))), strict=True)


def _fields(cells: dict[str, str | None]) -> Iterator[tuple[str, object]]:
    """Turn a CSV row's cells into fields; an empty one is absent, `metadata.x` is a pair of the metadata."""
    metadata = {
        name.removeprefix(_METADATA): text for name, text in cells.items() if name.startswith(_METADATA) and text
    }
    if metadata:
        yield "metadata", metadata
    for name, text in cells.items():
        if text and not name.startswith(_METADATA):
            yield name, _value(name, text.strip())


def _value(name: str, text: str) -> object:
    if name in _TEXTS:
        return text
    if name == "output_size":
        width, _, height = text.lower().partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            raise _Wrong(f"output_size: {text!r} is no size such as 512x512.")
        return Size(width=int(width), height=int(height)).model_dump()
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def _sentence(wrong: FieldError) -> str:
    return wrong.message if wrong.field == "body" else f"{wrong.field}: {wrong.message}"
