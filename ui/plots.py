"""Plots as HTML and SVG of our own: bars of what ended, lines of how long it took. Knows no job and no gateway.

The SVG holds marks alone and is stretched to the room there is; words stand beside it as HTML, so they stay readable on
a phone. Colours come from the style by class. What a plot shows is said in a sentence, and as a table to unfold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

HEIGHT: Final = 100
"""Of the SVG's own coordinates; a period is one wide."""
GAP: Final = 0.16
"""Between two bars."""
_ROUND_S: Final = (60, 120, 240, 600, 1200, 1800, 3600, 7200, 4 * 3600, 10 * 3600, 20 * 3600, 40 * 3600)
"""Whose halves are round too."""
_MOST_AS_SECONDS: Final = 50


@dataclass(frozen=True, slots=True)
class Series:
    """A value for each period, the oldest first; None where there is none."""

    name: str
    kind: str
    """Its class in the style."""
    values: Sequence[float | None]
    is_below: bool = False
    """Of bars: it hangs below the zero line, away from what went well."""


@dataclass(frozen=True, slots=True)
class Plot:
    """What a plot shows and how it is said."""

    name: str
    """A word, for ids."""
    title: str
    summary: str
    """What it shows in a sentence, for those who don't see it."""
    series: tuple[Series, ...]
    ages: tuple[str, ...]
    """When each period was, in words."""
    marks: tuple[str, ...]
    """Of the axis of time, the oldest first, evenly parted."""
    say: Callable[[float], str]
    """How a value is said."""
    end: Callable[[float], float]
    """Where an axis ends on which this value has room."""


def bars(plot: Plot) -> str:
    """Draw each period as a bar: series upon series above the zero line, and those that are below hang from it."""
    up = [_stacked(plot, period, is_below=False) for period in range(len(plot.ages))]
    down = [_stacked(plot, period, is_below=True) for period in range(len(plot.ages))]
    top = plot.end(max((_sum(column) for column in up), default=0.0))
    bottom = plot.end(max(map(_sum, down))) if any(map(_sum, down)) else 0.0
    scale = HEIGHT / (top + bottom)
    zero = top * scale
    marks = [
        f'<rect class="{kind}" x="{_figure(period + GAP / 2)}" y="{_figure(y)}" width="{_figure(1 - GAP)}"'
        f' height="{_figure(height)}"/>'
        for period in range(len(plot.ages))
        for kind, y, height in _rects(up[period], down[period], zero, scale)
    ]
    ticks = [(top, 0.0), (0.0, zero)] + ([(bottom, float(HEIGHT))] if bottom else [])
    return _figure_of(plot, "".join(marks), ticks, zero)


def lines(plot: Plot) -> str:
    """Draw each series as a line from value to value; where a period has none, the line breaks off."""
    top = plot.end(max((value for series in plot.series for value in series.values if value is not None), default=0.0))
    marks = "".join(
        f'<path class="{series.kind}" d="{_path(series.values, top)}"/>' for series in plot.series if any(series.values)
    )
    return _figure_of(plot, marks, [(top, 0.0), (top / 2, HEIGHT / 2), (0.0, float(HEIGHT))], float(HEIGHT))


def round_up(value: float) -> float:
    """Find the next of 1, 2, 5, 10, 20, 50 ... (and of 0.5, 0.2, ...) for the end of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10, 20) if value <= power * step * (1 + 1e-9))


def round_up_s(value: float) -> float:
    """Find such an end for seconds: above a minute, of minutes or hours."""
    if value <= _MOST_AS_SECONDS:
        return round_up(value)
    last = _ROUND_S[-1]
    return next((end for end in _ROUND_S if value <= end), round_up(value / last) * last)


def _stacked(plot: Plot, period: int, *, is_below: bool) -> list[tuple[str, float]]:
    return [(one.kind, one.values[period] or 0.0) for one in plot.series if one.is_below is is_below]


def _sum(column: list[tuple[str, float]]) -> float:
    return sum(value for _, value in column)


def _rects(
    up: list[tuple[str, float]], down: list[tuple[str, float]], zero: float, scale: float
) -> list[tuple[str, float, float]]:
    """Kind, y and height of the parts of one bar that are not empty."""
    found: list[tuple[str, float, float]] = []
    at = zero
    for kind, value in up:
        at -= value * scale
        found.append((kind, at, value * scale))
    at = zero
    for kind, value in down:
        found.append((kind, at, value * scale))
        at += value * scale
    return [rect for rect in found if rect[2] > 0]


def _path(values: Sequence[float | None], top: float) -> str:
    """Make a path through the middles of the periods; a value alone is a dot."""
    words: list[str] = []
    is_drawing = False
    for period, value in enumerate(values):
        if value is not None:
            point = f"{_figure(period + 0.5)} {_figure(HEIGHT * (1 - value / top))}"
            words.append(f"L{point}" if is_drawing else f"M{point}h.01")
        is_drawing = value is not None
    return "".join(words)


def _figure_of(plot: Plot, marks: str, ticks: list[tuple[float, float]], zero: float) -> str:
    labels = "".join(f'<li style="top:{_figure(y)}%">{escape(plot.say(value))}</li>' for value, y in ticks)
    count = len(plot.ages)
    legend = "".join(f'<li><i class="key {one.kind}"></i>{escape(one.name)}</li>' for one in plot.series)
    ages = "".join(f"<li>{escape(age)}</li>" for age in plot.marks)
    grid = "".join(
        f'<path class="grid" d="M{_figure(count * at / (len(plot.marks) - 1))} 0V{HEIGHT}"/>'
        for at in range(1, len(plot.marks) - 1)
    ) + "".join(f'<path class="grid" d="M0 {_figure(y)}H{count}"/>' for _, y in ticks)
    return (
        f'<figure class="plot" id="plot-{plot.name}"><figcaption>{escape(plot.title)}</figcaption>'
        f'<ul class="legend">{legend}</ul>'
        f'<div class="plane"><ol class="scale" aria-hidden="true">{labels}</ol>'
        f'<svg viewBox="0 0 {count} {HEIGHT}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(f"{plot.title}. {plot.summary}")}">'
        f'{grid}<path class="zero" d="M0 {_figure(zero)}H{count}"/>{marks}</svg>'
        f'<ol class="times" aria-hidden="true">{ages}</ol></div>{_table(plot)}</figure>'
    )


def _table(plot: Plot) -> str:
    """Say the same in figures, the latest first; periods without any are left out."""
    rows = "".join(
        f'<tr><th scope="row">{escape(plot.ages[period])}</th>'
        + "".join(f"<td>{_said(plot, one.values[period])}</td>" for one in plot.series)
        + "</tr>"
        for period in reversed(range(len(plot.ages)))
        if any(one.values[period] for one in plot.series)
    )
    head = "".join(f'<th scope="col">{escape(one.name)}</th>' for one in plot.series)
    return (
        f'<details class="figures"><summary>{escape(plot.title)}, in figures</summary><div class="scroll" tabindex="0"'
        f' role="region" aria-label="{escape(plot.title)}, in figures"><table>'
        f"<caption>{escape(plot.summary)}</caption>"
        f'<thead><tr><th scope="col">When</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _said(plot: Plot, value: float | None) -> str:
    return "\N{EN DASH}" if value is None else escape(plot.say(value))


def _figure(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
