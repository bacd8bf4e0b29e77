"""Parts of several versions know of each other, and those of another layout are kept apart."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.call import library
from shared.errors import LayoutsApart
from shared.keys import DEFAULT, LAYOUT, Keys
from shared.parts import Part, PartKind, this_part
from tests.desk import Desk

HERE = this_part(PartKind.GATEWAY, "here")
OLDER = Part(kind=PartKind.WORKER, id="older", software_version="0.0.9", contract=1)
FUTURE = Part(kind=PartKind.GATEWAY, id="future", software_version="9.0.0", contract=7)
FUTURE_LAYOUT = LAYOUT + 1
FUTURE_KEYS = Keys(f"{{darkroom}}:{FUTURE_LAYOUT}:")


def come_from_the_future(desk: Desk) -> None:
    desk(scripts.join(FUTURE, layout=FUTURE_LAYOUT, keys=FUTURE_KEYS))


def end(desk: Desk, key: str, member: str) -> None:
    """Let it have been silent for long."""
    assert desk.client.zadd(key, {member: 1}, xx=True, ch=True) == 1


def test_parts_of_one_layout_live_side_by_side_whatever_their_version(desk: Desk) -> None:
    for part in (HERE, OLDER, HERE):
        desk(scripts.join(part))
    assert sorted(desk(scripts.parts()), key=lambda part: part.id) == [HERE, OLDER]


def test_a_part_that_has_been_silent_is_gone(desk: Desk) -> None:
    desk(scripts.join(HERE))
    desk(scripts.join(OLDER))
    end(desk, f"{DEFAULT.prefix}parts", OLDER.model_dump_json())
    assert desk(scripts.parts()) == (HERE,)


def test_a_part_does_not_join_living_ones_of_another_layout(desk: Desk) -> None:
    come_from_the_future(desk)
    before = desk.dump()
    with pytest.raises(
        LayoutsApart, match=rf"another layout: {FUTURE_LAYOUT} of 9.0.0, not {LAYOUT} of .* Stop those first"
    ):
        desk(scripts.join(HERE))
    assert desk.dump() == before


def test_it_joins_once_they_are_gone(desk: Desk) -> None:
    come_from_the_future(desk)
    end(desk, "{darkroom}:layouts", f"{FUTURE_LAYOUT} 9.0.0")
    end(desk, f"{FUTURE_KEYS.prefix}parts", FUTURE.model_dump_json())
    desk(scripts.join(HERE))
    with pytest.raises(LayoutsApart):
        come_from_the_future(desk)


def test_who_was_there_before_stays(desk: Desk) -> None:
    desk(scripts.join(HERE))
    desk.client.zadd("{darkroom}:layouts", {f"{FUTURE_LAYOUT} 9.0.0": desk.now_ms() + 60_000})
    desk(scripts.join(HERE))
    with pytest.raises(LayoutsApart):
        desk(scripts.join(OLDER))


def test_a_part_notes_the_library_that_it_uses(desk: Desk) -> None:
    desk(scripts.join(HERE))
    assert desk.client.zscore(f"{DEFAULT.prefix}libraries", library().name) is not None
