"""From a checkpoint's tokenizers to the vocabulary that its texts are read by, here and in the gateways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from transformers import CLIPTokenizer

from shared.vocabulary import Vocabulary

MARKERS: Final = 2
"""Tokens of a window that say where its text begins and ends."""

_UNTOUCHED: Final = {"truncation": None, "padding": None}
"""A tokenizer remembers how it was last asked to cut and to pad; a text is read whole."""


def vocabulary_of(tokenizers: Sequence[CLIPTokenizer]) -> Vocabulary:
    """Write down the tokenizers of a model's encoders."""
    written = [json.loads(cast("Any", tokenizer).backend_tokenizer.to_str()) for tokenizer in tokenizers]
    window = min(map(length_of, tokenizers)) - MARKERS
    return Vocabulary.pack([one | _UNTOUCHED for one in written], window=window)


def length_of(tokenizer: CLIPTokenizer) -> int:
    """Tokens of a window, markers and all: 77."""
    return int(cast("Any", tokenizer).model_max_length)
