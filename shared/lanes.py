"""The two lanes of work, in the queue and in the engine."""

from __future__ import annotations

from typing import Final

from shared.words import Word

HEAD_START_S: Final = 10.0
"""What is interactive and comes has a worker to itself for so long, and bulk work its share only after that."""


class Lane(Word):
    """Whose turn matters more; each lane is fair in itself."""

    INTERACTIVE = "interactive"
    """Somebody is waiting for it."""
    BULK = "bulk"
    """May take its time; gets a guaranteed part of the fleet's work."""
