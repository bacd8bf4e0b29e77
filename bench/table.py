"""Tables in Markdown, and bars that a figure has to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to be."""

    limit: float
    at_least: bool = True
    unit: str = ""

    def holds(self, figure: float) -> bool:
        """Whether the figure reaches it."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def judge(self, figure: float) -> str:
        """Say the bar and whether it holds."""
        side = "at least" if self.at_least else "at most"
        return f"{'holds' if self.holds(figure) else '**falls short**'}: {side} {self.limit:g}{self.unit}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table; None is an empty cell, floats get three digits that count."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join(lines)


def cell(value: object) -> str:
    """Write one cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004
    return str(value)
