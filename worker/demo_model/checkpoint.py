"""Where a training stage keeps what it needs to go on after a stop."""

import math
from pathlib import Path
from typing import Any

import torch

Checkpoint = dict[str, Any]
"""State dicts by name, and the number of the next step under `step`."""


def save_checkpoint(path: Path, state: Checkpoint) -> None:
    """Write a checkpoint so that a stop halfway leaves the older one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint, or None where there is none yet."""
    if not path.exists():
        return None
    state: Checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return state


def learning_rate(step: int, total: int, peak: float, *, warmup: int = 200) -> float:
    """Return the rate at a step: a linear rise, then half a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
