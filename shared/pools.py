"""The pool: the workers that draw the same model on GPUs of the same class. How one is named; knows nobody of it.

    segmind/SSD-1B        the model's pool, where nobody has said a class
    segmind/SSD-1B@l4     the pool of those workers whose `DARKROOM_POOL` is `l4`

Each pool has a queue of its own: what keys and scripts in Redis call a model is a pool, by this name. A model's name is
a hub's id or a folder's, and ends in no class.
"""

from __future__ import annotations

import re
from typing import Final

CLASS_PATTERN: Final = r"[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?"
"""Of a GPU class: 1 to 20 small letters, digits and dashes."""

_IN_A_CLASS: Final = re.compile(rf"(?P<model>.+)@(?P<gpu_class>{CLASS_PATTERN})", re.DOTALL)


def pool_of(model: str, gpu_class: str | None) -> str:
    """Name the pool of a model's workers of a class; None: of those that said none."""
    return model if gpu_class is None else f"{model}@{gpu_class}"


def model_in(pool: str) -> str:
    """The model that a pool serves; of a model's own name itself."""
    found = _IN_A_CLASS.fullmatch(pool) if "@" in pool else None
    return pool if found is None else found["model"]


def class_in(pool: str) -> str | None:
    """The GPU class in a pool's name; None if it has none."""
    found = _IN_A_CLASS.fullmatch(pool) if "@" in pool else None
    return None if found is None else found["gpu_class"]
