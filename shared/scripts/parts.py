"""Which parts of this Darkroom live, of which versions, and which libraries of functions they use; who fell silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.call import Call, Reply, call_of, items, library, number, text
from shared.errors import LayoutsApart
from shared.jobs import WorkerId
from shared.keys import DEFAULT, LAYOUT, Keys
from shared.parts import LIFE_S, Part, refusal

LIBRARY_LIFE_S: Final = 7 * 24 * 3600
"""Longer than an upgrade takes, in which old and new programs run side by side."""
REMEMBER_SILENT_S: Final = 600
"""How long a worker that fell silent is told of; `fleet` forgets it then."""


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is missing, and who should not be there."""

    silent_ms: Mapping[WorkerId, int]
    """By worker that fell silent without a farewell, ten minutes ago at most: since its last heartbeat."""
    layouts: tuple[str, ...]
    """`<layout> <version>` of the parts that live."""


def join(part: Part, *, life_s: float = LIFE_S, layout: int = LAYOUT, keys: Keys = DEFAULT) -> Call[None]:
    """Say that a part lives: for `life_s`, unless it is said again.

    Raises LayoutsApart, unless it lived before they did, beside living parts whose keys have another layout.
    """

    def parse(code: str, rest: list[Reply]) -> None:
        if code == "APART":
            raise LayoutsApart(refusal(tuple(text(other) for other in items(rest[0]))))

    args = (part.model_dump_json(), round(life_s * 1000), layout, part.software_version, library().name)
    return call_of("join", keys, args, parse)


def parts(*, keys: Keys = DEFAULT) -> Call[tuple[Part, ...]]:
    """Tell which parts live."""

    def parse(_code: str, rest: list[Reply]) -> tuple[Part, ...]:
        return tuple(Part.model_validate_json(text(part)) for part in items(rest[0]))

    return call_of("parts", keys, (), parse)


def roll(*, keys: Keys = DEFAULT) -> Call[Roll]:
    """Tell which workers fell silent, and parts of which layouts live."""

    def parse(_code: str, rest: list[Reply]) -> Roll:
        silent, layouts = map(items, rest)
        told = {WorkerId(text(name)): number(ms) for name, ms in zip(silent[::2], silent[1::2], strict=True)}
        return Roll(told, tuple(text(one) for one in layouts))

    return call_of("roll", keys, (REMEMBER_SILENT_S * 1000,), parse)


def libraries(name: str, *, keys: Keys = DEFAULT) -> Call[frozenset[str]]:
    """Note that a library of functions is in use, and tell, once, which of ours were not within `LIBRARY_LIFE_S`."""

    def parse(_code: str, rest: list[Reply]) -> frozenset[str]:
        return frozenset(text(one) for one in items(rest[0]))

    return call_of("libraries", keys, (name, LIBRARY_LIFE_S * 1000), parse)
