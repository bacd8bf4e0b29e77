"""What a model's encoders make tokens with, in a form that goes from a worker through Redis to the gateways.

Holds the tokenizers as their library writes them down (`tokenizer.json`) and makes none: `shared.reading` does.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self


class Written(NamedTuple):
    """A tokenizer, written down."""

    text: str
    """Its `tokenizer.json`."""
    shares: int | None
    """Which of those before it has the same model; of its own it then has next to nothing."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizers of a model's encoders, and how much an encoder takes at once."""

    digest: str
    """SHA-256 of what is packed: two models of one vocabulary share it."""
    packed: bytes
    """JSON, compressed: 0.6 MB for SDXL's two tokenizers of 49,408 tokens each."""

    @classmethod
    def pack(cls, tokenizers: Sequence[dict[str, Any]], *, window: int) -> Self:
        """Pack each encoder's `tokenizer.json`; `window` is how many tokens an encoder takes, without markers."""
        whole = json.dumps({"window": window, "tokenizers": _written(tokenizers)}).encode()
        return cls(hashlib.sha256(whole).hexdigest(), zlib.compress(whole))

    def unpack(self) -> tuple[int, tuple[Written, ...]]:
        """The window, and each encoder's tokenizer."""
        whole = json.loads(zlib.decompress(self.packed))
        return int(whole["window"]), tuple(Written(*one) for one in whole["tokenizers"])


def _written(tokenizers: Sequence[dict[str, Any]]) -> list[Written]:
    """Write down tokenizers, a model that they share (words and merges) once: SDXL's differ in their padding alone."""
    written: list[Written] = []
    for number, one in enumerate(tokenizers):
        shares = next((at for at, other in enumerate(tokenizers[:number]) if other["model"] == one["model"]), None)
        if shares is not None:
            # What stays are the ids of the words that it treats on their own.
            own = {token["content"]: token["id"] for token in one["added_tokens"]}
            one = one | {"model": one["model"] | {"vocab": own, "merges": []}}  # noqa: PLW2901 - as it is written
        written.append(Written(json.dumps(one), shares))
    return written
