"""What requirements.lock pins. Knows nothing of what is installed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.lock"
PROJECT: Final = ROOT / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the lock."""

    name: str
    """As PEP 503 spells it."""
    version: str


def pins(lock: Path = LOCK) -> dict[str, Pin]:
    """Read the lock, by name; also what only some Pythons want."""
    lines = (Requirement(line) for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    return {pin.name: pin for pin in map(_pin, lines)}


def asked_for(project: Path = PROJECT) -> dict[str, list[Requirement]]:
    """Read what pyproject.toml asks for, by extra; "" is what every part needs."""
    said = tomllib.loads(project.read_text())["project"]
    extras: dict[str, list[str]] = {"": said["dependencies"], **said["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in extras.items()}


def unpinned(lock: Path = LOCK, project: Path = PROJECT) -> list[str]:
    """Name what pyproject.toml asks for and the lock has not, or at another version."""
    locked = pins(lock)
    return sorted({str(one) for one in chain.from_iterable(asked_for(project).values()) if not _fits(one, locked)})


def _pin(requirement: Requirement) -> Pin:
    (exact,) = requirement.specifier
    return Pin(canonicalize_name(requirement.name), exact.version)


def _fits(requirement: Requirement, locked: dict[str, Pin]) -> bool:
    pin = locked.get(canonicalize_name(requirement.name))
    return pin is not None and requirement.specifier.contains(pin.version, prereleases=True)
