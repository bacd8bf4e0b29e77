"""A finding: one thing of a deployment that was looked at, how it is, and what to do about it.

`GET /v1/checks` tells those of the gateway, `darkroom doctor` its own beside them. A finding never repeats a secret.
"""

from __future__ import annotations

from typing import Annotated, Literal

from shared.contract import Body
from shared.words import OR_NEWER

Level = Annotated[Literal["ok", "warning", "wrong", "unknown"], OR_NEWER]


class Finding(Body):
    """One thing that was looked at."""

    level: Level
    """`warning`: it works and should be better; `wrong`: it does not work, or loses or tells what it must not;
    `unknown`: it can't be told from here."""
    what: str
    """In a word or two; newer gateways look at more."""
    found: str
    """A sentence."""
    remedy: str | None = None
    """What to do about it."""


class Checks(Body):
    """`GET /v1/checks`."""

    data: tuple[Finding, ...]


def ok(what: str, found: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(level="ok", what=what, found=found)


def warning(what: str, found: str, remedy: str) -> Finding:
    """Say that something works and should be better."""
    return Finding(level="warning", what=what, found=found, remedy=remedy)


def wrong(what: str, found: str, remedy: str) -> Finding:
    """Say that something does not work."""
    return Finding(level="wrong", what=what, found=found, remedy=remedy)


def unknown(what: str, found: str, remedy: str | None = None) -> Finding:
    """Say that it can't be told from here."""
    return Finding(level="unknown", what=what, found=found, remedy=remedy)
