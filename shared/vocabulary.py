"""What a model's encoders make tokens with, in a form that goes from a worker through Redis to the gateways.

Holds the tokenizers as their library writes them down (`tokenizer.json`) and parses none: `shared.reading` does.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokenizers of a model's encoders, and how much an encoder takes at once."""

    digest: str
    """SHA-256 of what is packed: two models of one vocabulary share it."""
    packed: bytes
    """JSON, compressed: 1.1 MB for SDXL's two tokenizers of 49,408 tokens each."""

    @classmethod
    def pack(cls, tokenizers: Sequence[str], *, window: int) -> Self:
        """Pack each encoder's `tokenizer.json`; `window` is how many tokens an encoder takes, without markers."""
        whole = json.dumps({"window": window, "tokenizers": list(tokenizers)}).encode()
        return cls(hashlib.sha256(whole).hexdigest(), zlib.compress(whole))

    def unpack(self) -> tuple[int, tuple[str, ...]]:
        """The window, and each encoder's `tokenizer.json`."""
        whole = json.loads(zlib.decompress(self.packed))
        return int(whole["window"]), tuple(whole["tokenizers"])
