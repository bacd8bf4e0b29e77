"""Plots: what is drawn where, and what is said of it in words."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from ui.plots import HEIGHT, Plot, Series, bars, lines, round_up, round_up_s

SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


def plot_of(*series: Series) -> Plot:
    count = len(series[0].values)
    return Plot(
        name="test",
        title="Pictures & more",
        summary="Two <drawn>.",
        series=series,
        ages=tuple(f"{count - at} min ago" for at in range(count)),
        marks=("then", "between", "now"),
        say=lambda value: f"{value:g}",
        end=round_up,
    )


def svg_of(html: str) -> ET.Element:
    found = SVG.search(html)
    assert found
    return ET.fromstring(found[0])  # noqa: S314 - our own


def boxes(html: str) -> dict[str, list[tuple[float, float, float]]]:
    """By kind: each bar's part as (left, top, bottom)."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for rect in svg_of(html).iter("rect"):
        x, y, height = (float(rect.get(name) or 0) for name in ("x", "y", "height"))
        found.setdefault(rect.get("class") or "", []).append((x, y, round(y + height, 2)))
    return found


def test_bars_stand_on_one_another_and_what_went_wrong_hangs_below() -> None:
    html = bars(
        plot_of(
            Series("Drawn", "drawn", [0, 6]),
            Series("Found", "found", [0, 2]),
            Series("Failed", "failed", [5, 0], is_below=True),
        )
    )

    parts = boxes(html)
    zero = parts["failed"][0][1]
    assert parts["drawn"][0][2] == pytest.approx(zero, abs=0.02)
    assert parts["found"][0][2] == pytest.approx(parts["drawn"][0][1], abs=0.02), "on top of the drawn ones"
    assert parts["failed"][0][2] > zero
    assert parts["drawn"][0][0] > parts["failed"][0][0], "a period later"
    assert all(0 <= top <= bottom <= HEIGHT for each in parts.values() for _, top, bottom in each)


def test_a_line_breaks_off_where_there_is_nothing() -> None:
    path = svg_of(lines(plot_of(Series("Median", "median", [1, 2, None, 4])))).findall("*[@class='median']")

    assert len(path) == 1
    assert re.findall("[ML]", path[0].get("d") or "") == ["M", "L", "M"]


def test_nothing_but_zeros_is_drawn_on_an_axis_all_the_same() -> None:
    assert boxes(bars(plot_of(Series("Drawn", "drawn", [0, 0])))) == {}


def test_it_is_told_to_those_who_do_not_see_it() -> None:
    html = bars(plot_of(Series("Drawn", "drawn", [3, 0, 7])))

    assert svg_of(html).get("aria-label") == "Pictures & more. Two <drawn>."
    rows = re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', html)
    assert rows == [("1 min ago", "7"), ("3 min ago", "3")], "the latest first, nothing where nothing was"
    assert "<caption>Two &lt;drawn&gt;.</caption>" in html


@pytest.mark.parametrize(
    ("value", "end"), [(0, 1), (0.03, 0.05), (1, 1), (1.1, 2), (3, 5), (9.9, 10), (10, 10), (51, 100), (1234, 2000)]
)
def test_an_axis_ends_at_a_round_figure(value: float, end: float) -> None:
    assert round_up(value) == pytest.approx(end)


@pytest.mark.parametrize(("value", "end"), [(0.3, 0.5), (50, 50), (51, 60), (61, 120), (200_000, 288_000)])
def test_an_axis_of_time_ends_at_minutes_or_hours(value: float, end: float) -> None:
    assert round_up_s(value) == pytest.approx(end)
