"""What a step of the engine brought about, told in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NewType, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import GenerationFailed
from worker.engine.lap import Lap

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

    @property
    def lap(self) -> Lap | None:
        """What its decoding took; None as long as it is not there, and of a preview."""
        ...


@dataclass(frozen=True, slots=True)
class PromptRead:
    """A row's texts became what the UNet reads, before its first step."""

    row_id: RowId
    lap: Lap = field(compare=False)
    """Done when this is told."""
    recalled: int = field(default=0, compare=False)
    """Texts that were remembered."""
    encoded: int = field(default=0, compare=False)
    """Texts that went through the encoders."""


@dataclass(frozen=True, slots=True)
class RowStepped:
    """A row took one denoising step. `Engine.preview` shows what it has become."""

    row_id: RowId
    step: int
    """Steps done, from 1."""
    of: int
    """Steps in all, as the scheduler counts them."""
    seconds: float = field(default=0.0, compare=False)
    """Its part of the device's time for the step, with the prompts read before it: rows that step together share it."""


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


Event: TypeAlias = PromptRead | RowStepped | RowFinished | RowFailed
