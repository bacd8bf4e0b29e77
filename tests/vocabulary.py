"""The demo model's tokenizers, which are real and small, for hands that have no engine; and texts of every kind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from shared.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

WEIGHTS: Final = Path(__file__).parents[1] / "worker" / "demo_model" / "weights"

TEXTS: Final = {
    "empty": "",
    "blanks": "  \n ",
    "plain": "a red circle on a blue ground",
    "emoji": "a 🦊 and a 👩‍🚀 on 🌙!",
    "other scripts": "Étretat, Zürich, 東京の夜, Санкт-Петербург, İstanbul",
    "markers": "a cat <|endoftext|> and a dog <|startoftext|>!",
    "exclaimed": "wow! a circle!! no!way",
    "weights": "a (red circle)1.4 on (blue:0.7), circle++ --, (a (b)0.5 c)0.8",
    "unbalanced": "((a red circle on (blue, and) ) ) 1.3 (((",
    "not understood": '("a cat", "a dog").blend(1, 1) <lora:ink:0.8> (cat)5',
    "a window and more": "a small red circle, left of it a large blue square, " * 9,
    "1,400 tokens": "x " * 1400,
    "4,000 characters": "(é🦊!)1.1 " * 400,
}
"""By what is in them."""


def demo_tokenizers() -> list[CLIPTokenizer]:
    """The demo model's tokenizers, as its worker loads them."""
    from transformers import CLIPTokenizer  # noqa: PLC0415 - takes a second

    return [cast("Any", CLIPTokenizer).from_pretrained(WEIGHTS / name) for name in ("tokenizer", "tokenizer_2")]


@cache
def demo_vocabulary() -> Vocabulary:
    """What the demo model reads by."""
    from worker.engine.vocabulary import vocabulary_of  # noqa: PLC0415 - so does this

    return vocabulary_of(demo_tokenizers())
