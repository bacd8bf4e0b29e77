"""The part: a program of this Darkroom that uses its queue. What it says of itself, so that versions can be compared.

Knows nothing of Redis; decision 0031 tells what may run beside what.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from shared.compatibility import CONTRACT
from shared.jobs import Value
from shared.keys import LAYOUT
from shared.version import VERSION

PERIOD_S: Final = 5.0
"""Between two words of a part."""
LIFE_S: Final = 15.0
"""After so long without a word a part counts as gone."""


class PartKind(StrEnum):
    """What a part does."""

    GATEWAY = "gateway"
    WORKER = "worker"
    COURIER = "courier"


class Part(Value):
    """A part that lives."""

    kind: PartKind | str
    """Another word from a newer version."""
    id: str
    software_version: str
    contract: int
    """What it knows of jobs."""


def this_part(kind: PartKind, name: str) -> Part:
    """Say what this program is."""
    return Part(kind=kind, id=name, software_version=VERSION, contract=CONTRACT)


def refusal(layouts: tuple[str, ...]) -> str:
    """Say why a part must not work beside living ones whose keys have another layout, and what to do."""
    others = " and ".join("{} of {}".format(*layout.split(" ", 1)) for layout in layouts)
    return (
        f"On this Redis work parts whose keys have another layout: {others}, not {LAYOUT} of {VERSION}. Old and new "
        f"would not see each other's jobs. Stop those first: {LIFE_S:.0f} s after the last one has ended this one "
        "can start. Or give it a Redis, or a database, of its own. (docs/operations/upgrades.md)"
    )
