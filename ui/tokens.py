"""The line under a text that says how much of it the model reads, as HTML. Knows neither the form nor Gradio."""

from __future__ import annotations

from html import escape
from typing import Final

from shared.jobs import TextReading

_QUOTED: Final = 60
"""Characters of what is not read that are quoted, from its beginning."""


def tokens_line(reading: TextReading) -> str:
    """Say the count, with a bar of the windows that it fills, and what is lost beyond the last one."""
    tokens, window, windows = reading.tokens, reading.window, reading.windows
    said, state, lost = f"{tokens} of {window} tokens", "", ""
    if windows > 1:
        said, state = f"{tokens} tokens, {windows} windows of {window}", "long"
    if reading.cut:
        many = f"{windows} windows" if windows > 1 else "1 window"
        said, state = f"{tokens} tokens, more than {many} of {window}", "cut"
        lost = f" <strong>The end is not read:</strong> <q>{escape(_beginning(reading.cut))}</q>"
    percent = min(100, round(100 * tokens / (windows * window)))
    return (
        f'<p class="tokens {state}"><span class="bar" aria-hidden="true"><i style="width:{percent}%"></i></span>'
        f"<span>{said}</span>{lost}</p>"
    )


def _beginning(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED].rstrip()}\N{HORIZONTAL ELLIPSIS}"
