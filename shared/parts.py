"""The part: a program of this Darkroom that uses its queue. What it says of itself, so that versions can be compared.

Knows nothing of Redis; decision 0031 tells what may run beside what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
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
COURIER_LIFE_S: Final = 20.0
"""After so long without a heartbeat, one every five seconds, a courier counts as one that takes no calls."""


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


def by_version(parts: Iterable[Part]) -> dict[str, str]:
    """Say how many parts of each kind are of a version: `{"0.1.0 (contract 1)": "1 gateway, 2 workers"}`."""
    versions: dict[str, Counter[str]] = {}
    for part in parts:
        versions.setdefault(f"{part.software_version} (contract {part.contract})", Counter()).update((part.kind,))
    return {
        version: ", ".join(f"{number} {kind}" if number == 1 else f"{number} {kind}s" for kind, number in kinds)
        for version, kinds in sorted((version, sorted(kinds.items())) for version, kinds in versions.items())
    }


def mixture(parts: Iterable[Part]) -> str | None:
    """Say which versions work side by side, in a sentence; None if there is but one."""
    versions = by_version(parts)
    if len(versions) <= 1:
        return None
    return f"Parts of several versions work side by side. {'; '.join(': '.join(one) for one in versions.items())}."


def refusal(layouts: tuple[str, ...]) -> str:
    """Say why a part must not work beside living ones whose keys have another layout, and what to do."""
    others = " and ".join("{} of {}".format(*layout.split(" ", 1)) for layout in layouts)
    return (
        f"On this Redis work parts whose keys have another layout: {others}, not {LAYOUT} of {VERSION}. Old and new "
        f"would not see each other's jobs. Stop those first: {LIFE_S:.0f} s after the last one has ended this one "
        "can start. Or give it a Redis, or a database, of its own. (docs/operations/upgrades.md)"
    )
