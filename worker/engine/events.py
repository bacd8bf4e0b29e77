"""What a step of the engine brought about, told in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import GenerationFailed

RowId = NewType("RowId", str)
"""The caller's name for a row, unique among the rows that the engine holds."""

Pixels: TypeAlias = NDArray[np.uint8]
"""A picture, RGB: `(H, W, 3)` uint8."""


@dataclass(frozen=True, slots=True)
class RowStepped:
    """A row took one denoising step. `Engine.preview` shows what it has become."""

    row_id: RowId
    step: int
    """Steps done, from 1."""
    of: int
    """Steps in all, as the scheduler counts them."""


@dataclass(frozen=True, slots=True, eq=False)
class RowFinished:
    """A row became a picture and left the engine."""

    row_id: RowId
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class RowFailed:
    """A row left the engine without a picture; the engine goes on."""

    row_id: RowId
    error: GenerationFailed


Event: TypeAlias = RowStepped | RowFinished | RowFailed
