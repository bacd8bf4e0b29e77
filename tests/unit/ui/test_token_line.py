"""The line that says how much of a text the model reads."""

from __future__ import annotations

import re

import pytest

from shared.jobs import TextReading
from ui.tokens import tokens_line


@pytest.mark.parametrize(
    ("reading", "said", "percent"),
    [
        (TextReading(tokens=0, window=75, windows=1), "0 of 75 tokens", 0),
        (TextReading(tokens=23, window=75, windows=1), "23 of 75 tokens", 31),
        (TextReading(tokens=75, window=75, windows=1), "75 of 75 tokens", 100),
        (TextReading(tokens=76, window=75, windows=2), "76 tokens, 2 windows of 75", 51),
        (TextReading(tokens=140, window=75, windows=3), "140 tokens, 3 windows of 75", 62),
        (TextReading(tokens=300, window=75, windows=4, cut="the end"), "300 tokens, more than 4 windows of 75", 100),
        (TextReading(tokens=90, window=75, windows=1, cut="the end"), "90 tokens, more than 1 window of 75", 100),
    ],
)
def test_it_counts_windows_and_fills_its_bar(reading: TextReading, said: str, percent: int) -> None:
    line = tokens_line(reading)

    assert f"<span>{said}</span>" in line
    assert f"width:{percent}%" in line
    assert ("not read" in line) == bool(reading.cut)


def test_what_is_not_read_is_quoted_from_its_beginning_and_is_never_html() -> None:
    line = tokens_line(TextReading(tokens=300, window=75, windows=3, cut=f"<b>bold</b>\n{'word ' * 40}"))

    quoted = re.findall(r"<q>(.*)</q>", line)
    assert quoted[0].startswith("&lt;b&gt;bold&lt;/b&gt; word")
    assert quoted[0].endswith("\N{HORIZONTAL ELLIPSIS}")
    assert len(quoted[0]) < 100
