"""From a batch's bytes to its lines, each held against its model, or to what is wrong with them, by line.

Ten thousand lines take seconds, so others get their turn between them.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Iterator
from typing import Final

from api.context import request_id, request_trace
from api.intake import JSON, draft
from shared.batches import MAX_LINES, Line
from shared.compatibility import needed_by
from shared.errors import FieldError, InvalidRequest
from shared.generation import SEED_BITS
from shared.lanes import Lane
from shared.scripts import Fleet

JSON_LINES: Final = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")

MOST_TOLD: Final = 31
"""Wrong fields that are named; of the further lines that are wrong, how many."""
AT_ONCE: Final = 8
"""Lines checked between others' turns: a millisecond's work or two."""

_SPACE = re.compile(r"[ \t\r\n]*")
_BOM = "\ufeff"
_NO_LIST: Final = "Must be a JSON list of requests; or send JSON Lines, as application/jsonl."


async def checked_lines(body: bytes, media_type: str, served: Fleet, *, max_cost: int) -> tuple[str, ...]:
    """Read a batch's body, a JSON list or JSON Lines, into its lines in JSON.

    Raises InvalidRequest that names the wrong fields as `lines.<number from 1>.<field>`, and NoModel.
    """
    lines: list[str] = []
    wrong: list[FieldError] = []
    left_out = number = 0
    for number, said in enumerate(_split(body, media_type), 1):
        if number > MAX_LINES:
            raise _wrong(f"A batch has {MAX_LINES} lines at most. Send the rest as another one.")
        try:
            lines.append(_line(said, served, max_cost).model_dump_json())
        except InvalidRequest as error:
            if len(wrong) < MOST_TOLD:
                wrong += [FieldError(_name(number, one.field), one.message) for one in error.errors]
            else:
                left_out += 1
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    if left_out:
        wrong[MOST_TOLD:] = [FieldError("lines", f"And {left_out} more lines are wrong.")]
    if wrong:
        raise InvalidRequest(tuple(wrong))
    if not number:
        raise _wrong("The batch is empty: send a request a line.")
    return tuple(lines)


def _line(said: bytes, served: Fleet, max_cost: int) -> Line:
    if not said.strip():
        raise _wrong("The line is empty.")
    asked = draft(said)
    card, params = asked.complete(served, drawn_seed=secrets.randbits(SEED_BITS), max_cost=max_cost)
    request = asked.request
    return Line(
        model=card.id,
        params=params,
        metadata=request.metadata,
        # Who sends many doesn't sit and wait for each.
        lane=request.lane if "lane" in request.model_fields_set else Lane.BULK,
        cancel_after_s=request.cancel_after,
        may_reuse=request.reuse,
        asked=request_id(),
        trace=request_trace(),
        needs=needed_by(params),
    )


def _split(body: bytes, media_type: str) -> Iterator[bytes]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _wrong("Must be UTF-8.") from None
    text = text.removeprefix(_BOM)
    if media_type == JSON:
        yield from _elements(text)
        return
    end = len(text.rstrip(" \t\r\n"))
    at = 0
    while at < end:
        line_end = text.find("\n", at, end)
        line_end = end if line_end < 0 else line_end
        yield text[at:line_end].encode()
        at = line_end + 1


def _elements(text: str) -> Iterator[bytes]:
    """Cut a JSON list into its elements, one at a time, as they were written; each is checked by itself later."""
    decoder = json.JSONDecoder()
    at = _past_space(text, 0)
    if not text.startswith("[", at):
        raise _wrong(_NO_LIST)
    at = _past_space(text, at + 1)
    number = 0
    while number or not text.startswith("]", at):
        number += 1
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            why = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "unreadable"
            raise InvalidRequest((FieldError(f"lines.{number}", f"Invalid JSON: {why}."),)) from None
        yield text[at:end].encode()
        at = _past_space(text, end)
        if text.startswith("]", at):
            break
        if not text.startswith(",", at):
            raise InvalidRequest((FieldError(f"lines.{number}", "Invalid JSON: a comma or ] must follow it."),))
        at = _past_space(text, at + 1)
    if _past_space(text, at + 1) < len(text):
        raise _wrong("Nothing may follow the list.")


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _name(number: int, field: str) -> str:
    return f"lines.{number}" if field == "body" else f"lines.{number}.{field}"


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest((FieldError("body", message),))
