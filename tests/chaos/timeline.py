"""When which fault did harm, so that what was measured beside another fault is known as such."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final


@dataclass
class Spell:
    """One fault's time, by the monotonic clock."""

    what: str
    begun: float
    ended: float | None = None


@final
class Timeline:
    """Every fault's spell; for many threads."""

    def __init__(self) -> None:
        self._spells: list[Spell] = []
        self._lock = threading.Lock()

    @contextmanager
    def spell(self, what: str) -> Generator[Spell]:
        """Note a fault for as long as the block takes."""
        spell = Spell(what, time.monotonic())
        with self._lock:
            self._spells.append(spell)
        try:
            yield spell
        finally:
            spell.ended = time.monotonic()

    def counts(self) -> Counter[str]:
        """How many of each."""
        with self._lock:
            return Counter(spell.what for spell in self._spells)

    def during(self, begin: float, end: float, but: Spell) -> tuple[str, ...]:
        """What else did harm in that time."""
        with self._lock:
            return tuple(
                spell.what
                for spell in self._spells
                if spell is not but and spell.begun < end and (spell.ended is None or spell.ended > begin)
            )
