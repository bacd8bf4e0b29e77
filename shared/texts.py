"""How a text that people typed or pasted is cleaned before anything is made of it."""

from __future__ import annotations

import re
import unicodedata

_SPACES = re.compile(r"[ \t\f\v\u00a0]+")


def clean_text(text: str) -> str:
    """Trim, normalise to NFC, drop control and format characters, fold runs of blanks.

    Line breaks stay: they separate ideas in long prompts and the encoder reads them as blanks.
    Zero-width joiners stay too: they hold emoji and several scripts together.
    """
    if text.isascii() and text.isprintable():  # as most are
        return _SPACES.sub(" ", text).strip()
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    kept = (char for char in text if char in "\n\t\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs"})
    lines = (_SPACES.sub(" ", line).strip() for line in "".join(kept).split("\n"))
    return "\n".join(lines).strip()
