"""What a batch's body may be, and that checking a long one holds up nobody."""

from __future__ import annotations

import asyncio
import json

import pytest

from api.lines import AT_ONCE, checked_lines
from shared.batches import MAX_LINES, Line
from shared.errors import InvalidRequest, NoModel
from shared.lanes import Lane
from shared.scripts import Fleet
from tests.integration.serving import CARD

JSON = "application/json"
JSONL = "application/jsonl"
FLEET = Fleet((CARD,), ())


def read(body: bytes, media_type: str = JSONL, fleet: Fleet = FLEET) -> list[Line]:
    lines = asyncio.run(checked_lines(body, media_type, fleet, max_cost=10**9))
    return [Line.model_validate_json(line) for line in lines]


def wrong_fields(body: bytes, media_type: str = JSONL) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        read(body, media_type)
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ["body"]),
        (b" \r\n\n", ["body"]),
        (b'\xff{"prompt": "x"}', ["body"]),
        (b'{"prompt": "x"}\n\n{"prompt": "y"}', ["lines.2"]),
        (b'{"prompt": "x"} {"prompt": "y"}', ["lines.1"]),
        (b'{"prompt": "x", "seed": NaN}', ["lines.1.seed"]),
        (b'{"prompt": "x", "seed": 7.5, "sed": 1}\n[]', ["lines.1.seed", "lines.1.sed", "lines.2"]),
    ],
)
def test_wrong_json_lines(body: bytes, fields: list[str]) -> None:
    assert sorted(wrong_fields(body)) == sorted(fields)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ["body"]),
        (b"[]", ["body"]),
        (b'{"prompt": "x"}', ["body"]),
        (b'[{"prompt": "x"}', ["lines.1"]),
        (b'[{"prompt": "x"},]', ["lines.2"]),
        (b'[{"prompt": "x"} {"prompt": "x"}]', ["lines.1"]),
        (b'[{"prompt": "x"}] x', ["body"]),
        (b'[{"prompt": "x"}, 7, {"prompt": ""}]', ["lines.2", "lines.3.prompt"]),
        (b"[" * 100_000, ["lines.1"]),
        (b'[{"prompt": ' + b"1" * 10_000 + b"}]", ["lines.1"]),
    ],
)
def test_wrong_lists(body: bytes, fields: list[str]) -> None:
    assert wrong_fields(body, JSON) == fields


@pytest.mark.parametrize("media_type", [JSON, JSONL])
def test_both_formats_say_the_same(media_type: str) -> None:
    said = [{"prompt": 'a "fox", ] [ {naïve}', "seed": 7}, {"prompt": "y\u2028z", "lane": "interactive"}]
    text = json.dumps(said, indent=2) if media_type == JSON else "\r\n".join(json.dumps(one) for one in said)
    first, second = read(b"\xef\xbb\xbf" + text.encode(), media_type)
    assert (first.params.prompt, first.params.seed, first.lane) == (said[0]["prompt"], 7, Lane.BULK)
    assert (second.lane, second.may_reuse, second.cancel_after_s) == (Lane.INTERACTIVE, True, None)


def test_a_batch_has_so_many_lines_and_no_more() -> None:
    line = b'{"prompt": "x"}\n'
    assert len(read(line * MAX_LINES)) == MAX_LINES
    assert wrong_fields(line * (MAX_LINES + 1)) == ["body"]


def test_without_a_model_there_is_nothing_to_hold_a_line_against() -> None:
    with pytest.raises(NoModel):
        read(b'{"prompt": "x"}', fleet=Fleet((), ()))


def test_others_get_their_turn_while_a_long_batch_is_checked() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def check() -> None:
        task = asyncio.create_task(others())
        await checked_lines(b'{"prompt": "x"}\n' * 1000, JSONL, FLEET, max_cost=10**9)
        task.cancel()

    asyncio.run(check())
    assert turns >= 1000 // AT_ONCE
