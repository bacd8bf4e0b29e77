"""The line under a text that says how much of it the model reads, as HTML. Knows neither the form nor Gradio."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Final

_QUOTED: Final = 60
"""Characters of what is not read that are quoted, from its beginning."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How long a text is to the model's encoders."""

    num_tokens: int
    window: int
    """Tokens that the encoders take at a time; a longer text is read in several windows."""
    max_tokens: int
    """Beyond so many nothing is read."""
    cut: str = ""
    """The end of the text that is beyond them."""


def tokens_line(count: TokenCount) -> str:
    """Say the count, with a bar of the window that it fills, and what is lost beyond the last one."""
    windows = max(1, -(-count.num_tokens // count.window))
    said = f"{count.num_tokens} of {count.window} tokens"
    room = count.window
    if windows > 1:
        said = f"{count.num_tokens} tokens, {windows} windows of {count.window}"
        room = min(windows * count.window, count.max_tokens)
    state = "long" if windows > 1 else ""
    lost = ""
    if count.num_tokens > count.max_tokens:
        said, room, state = f"{count.num_tokens} of {count.max_tokens} tokens", count.max_tokens, "cut"
        lost = f" <strong>The end is not read:</strong> <q>{escape(_beginning(count.cut))}</q>" if count.cut else ""
        lost = lost or " <strong>The end is not read.</strong>"
    percent = min(100, round(100 * count.num_tokens / room))
    return (
        f'<p class="tokens {state}"><span class="bar" aria-hidden="true"><i style="width:{percent}%"></i></span>'
        f"<span>{said}</span>{lost}</p>"
    )


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED].rstrip()}\N{HORIZONTAL ELLIPSIS}"
