"""What training may see and what only the evaluation does.

Owns the split by construction: whole combinations of shape, colour and background, and whole
wordings, are kept out of training by a hash of their names, so no list has to be kept.
"""

import hashlib
from typing import Final

from worker.demo_model.vocabulary import COLOURS, SHAPES

_ALWAYS_TRAINED: Final = {("circle", "red", "blue")}
"""The example that every page shows."""

_HELD_OUT_SHARE: Final = 0.25


def is_held_out(shape: str, colour: str, ground: str) -> bool:
    """Tell whether a shape of a colour on a background is kept for the evaluation."""
    if (shape, colour, ground) in _ALWAYS_TRAINED:
        return False
    digest = hashlib.sha256(f"{shape}/{colour}/{ground}".encode()).digest()
    return int.from_bytes(digest[:4]) < _HELD_OUT_SHARE * 2**32


def held_out_combinations() -> list[tuple[str, str, str]]:
    """List every held-out (shape, colour, ground), in an order that mixes them."""
    combinations = [
        (shape, colour, ground)
        for shape in SHAPES
        for colour in COLOURS
        for ground in COLOURS
        if colour != ground and is_held_out(shape, colour, ground)
    ]
    return sorted(combinations, key=lambda names: hashlib.sha256("|".join(names).encode()).digest())
