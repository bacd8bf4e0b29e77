"""What a traced worker wrote: spans of work, by the clock on the wall."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MISSING: Final = "missing"
MEMORY: Final = "cuda_peak"

ENGINE: Final = frozenset({"step", "decode"})
"""Spans that count as the engine's time."""


@dataclass(frozen=True, slots=True)
class Span:
    """One call, Unix seconds."""

    name: str
    begun_s: float
    ended_s: float
    thread: str
    jobs: Sequence[str]
    """Whose work it was, as far as the call told."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A trace's lines."""

    spans: tuple[Span, ...]
    missing: frozenset[str]
    """Points that the worker doesn't have."""
    cuda_peaks: tuple[int, ...]
    """Bytes, after each picture; 0 without CUDA."""

    @classmethod
    def read(cls, file: Path) -> Traced:
        """Read a file, as far as it is written."""
        text = file.read_text("utf-8")
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return cls(
            tuple(Span(**line) for line in lines if "name" in line),
            frozenset(line[MISSING] for line in lines if MISSING in line),
            tuple(line[MEMORY] for line in lines if MEMORY in line),
        )

    def between(self, begun_s: float, ended_s: float) -> list[Span]:
        """Give the spans that lie in a time, the earliest first."""
        inside = [span for span in self.spans if begun_s <= span.begun_s and span.ended_s <= ended_s]
        return sorted(inside, key=lambda span: span.begun_s)


def covered_s(spans: Iterable[Span]) -> float:
    """How long at least one of the spans lasted; what overlaps or is nested counts once."""
    total, until = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.begun_s):
        total += max(0.0, span.ended_s - max(span.begun_s, until))
        until = max(until, span.ended_s)
    return total
