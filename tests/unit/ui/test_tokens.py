"""The line that says how much of a text the model reads."""

from __future__ import annotations

import re

import pytest

from ui.tokens import TokenCount, tokens_line


@pytest.mark.parametrize(
    ("count", "said", "percent"),
    [
        (TokenCount(0, 75, 225), "0 of 75 tokens", 0),
        (TokenCount(23, 75, 225), "23 of 75 tokens", 31),
        (TokenCount(75, 75, 225), "75 of 75 tokens", 100),
        (TokenCount(76, 75, 225), "76 tokens, 2 windows of 75", 51),
        (TokenCount(141, 75, 225), "141 tokens, 2 windows of 75", 94),
        (TokenCount(225, 75, 225), "225 tokens, 3 windows of 75", 100),
        (TokenCount(300, 75, 225, "the end"), "300 of 225 tokens", 100),
        (TokenCount(90, 75, 75, "the end"), "90 of 75 tokens", 100),
    ],
)
def test_it_counts_windows_and_fills_its_bar(count: TokenCount, said: str, percent: int) -> None:
    line = tokens_line(count)

    assert f"<span>{said}</span>" in line
    assert f"width:{percent}%" in line
    assert ("not read" in line) == (count.num_tokens > count.max_tokens)


def test_what_is_not_read_is_quoted_from_its_beginning_and_is_never_html() -> None:
    line = tokens_line(TokenCount(300, 75, 225, f"<b>bold</b>\n{'word ' * 40}"))

    quoted = re.findall(r"<q>(.*)</q>", line)
    assert quoted[0].startswith("&lt;b&gt;bold&lt;/b&gt; word")
    assert quoted[0].endswith("\N{HORIZONTAL ELLIPSIS}")
    assert len(quoted[0]) < 100


def test_an_end_that_is_not_known_is_told_all_the_same() -> None:
    assert "The end is not read." in tokens_line(TokenCount(300, 75, 225))
