"""What a step of the engine brought about, told in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import GenerationFailed

RowId = NewType("RowId", str)
"""The caller's name for a row, unique among the rows that the engine holds."""

Pixels: TypeAlias = NDArray[np.uint8]
"""A picture, RGB: `(H, W, 3)` uint8."""


class DeviceLost(Exception):
    """The engine's device is gone: its process must end, and others take its jobs."""


class Picture(Protocol):
    """A picture on its way from the device."""

    def pixels(self) -> Pixels:
        """Wait for it, in any thread but the engine's. Raises GenerationFailed, or DeviceLost."""
        ...


@dataclass(frozen=True, slots=True)
class RowStepped:
    """A row took one denoising step. `Engine.preview` shows what it has become."""

    row_id: RowId
    step: int
    """Steps done, from 1."""
    of: int
    """Steps in all, as the scheduler counts them."""
    seconds: float = field(default=0.0, compare=False)
    """Its part of the device's time for the step: rows that step together share it."""


@dataclass(frozen=True, slots=True, eq=False)
class RowFinished:
    """A row took its last step and left the engine; it is being decoded."""

    row_id: RowId
    picture: Picture
    was_alone: bool
    """True if it shared no forward: the same request gives the same bytes again."""
    decoding_s: float = 0.0
    """What its decoding is expected to take, by what the last one took; 0 before the first."""


@dataclass(frozen=True, slots=True)
class RowFailed:
    """A row left the engine without a picture; the engine goes on."""

    row_id: RowId
    error: GenerationFailed


Event: TypeAlias = RowStepped | RowFinished | RowFailed
