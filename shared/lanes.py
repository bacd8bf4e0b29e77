"""The two lanes of work, in the queue and in the engine."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """Whose turn matters more; each lane is fair in itself."""

    INTERACTIVE = "interactive"
    """Somebody is waiting for it."""
    BULK = "bulk"
    """May take its time; gets a guaranteed part of the fleet's work."""
