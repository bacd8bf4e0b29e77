"""How many rows are worth drawing at once: measured on this device when a worker warms up, kept for its next start.

A UNet forward takes so long for so many samples of such a size; a guided row is two samples. Where twice the samples
take nearly twice the time, company only makes everybody wait, and is not sought.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import OutOfMemory
from shared.generation import ModelCard, Size

SAMPLES: Final = (1, 2, 4, 8, 16)
ROUNDS: Final = 5
PAYS: Final = 1.1
"""Twice the samples must give a tenth more pictures a second: each of them takes longer to come."""
ALIKE: Final = 1.1
"""Sizes whose areas differ by no more are taken to be alike."""
TOO_SLOW_S: Final = 3.0
"""A device that takes so long for a forward is busy with one: nothing larger is measured."""

_logger = logging.getLogger(__name__)

Prepare = Callable[[Size, int], Callable[[], None]]
"""Make so many samples of a size ready for a forward, which runs when the result is called, and is waited for. Either
raises OutOfMemory."""


class Measured(BaseModel):
    """What forwards of one size took."""

    model_config = ConfigDict(frozen=True)

    size: Size
    forward_ms: Mapping[int, float]
    """By the number of samples; those that did not fit the memory are missing."""

    @property
    def samples(self) -> int:
        """How many to run at once: the largest number that pays."""
        chosen, best = 1, self._rate(1)
        for samples in SAMPLES[1:]:
            rate = self._rate(samples)
            if best > 0 and rate >= best * PAYS ** math.log2(samples / chosen):
                chosen, best = samples, rate
        return chosen

    def _rate(self, samples: int) -> float:
        """Samples in a ms; 0 where that is not known."""
        took_ms = self.forward_ms.get(samples)
        return samples / took_ms if took_ms else 0.0


class Batches(BaseModel):
    """How much of each size goes into a forward."""

    model_config = ConfigDict(frozen=True)

    most: int = 1
    """The operator's limit, in rows."""
    measured: tuple[Measured, ...] = ()
    """Of sizes that are not alike; without any, `most` rows of each."""

    def samples(self, size: Size) -> int:
        """How many samples of a size to run at once; two at least, which a guided row is."""
        if not self.measured:
            return 2 * self.most
        area = size.width * size.height
        nearest = min(self.measured, key=lambda one: abs(math.log(one.size.width * one.size.height / area)))
        return max(2, nearest.samples)


def sizes_to_measure(card: ModelCard) -> tuple[Size, ...]:
    """Choose the card's sizes that are not alike, the default first; of its own choice of sizes the smallest."""
    sizes = [card.defaults.size, *(ratio.size for ratio in card.aspect_ratios)]
    if card.custom_sizes is not None:
        side = card.custom_sizes.min_side
        sizes.append(Size(width=side, height=side))
    chosen: list[Size] = []
    for size in sizes:
        areas = [one.width * one.height / (size.width * size.height) for one in chosen]
        if not any(1 / ALIKE <= ratio <= ALIKE for ratio in areas):
            chosen.append(size)
    return tuple(chosen)


def measure(sizes: Iterable[Size], prepare: Prepare, *, most: int) -> Batches:
    """Time forwards of each size with 1 to twice `most` samples, several times in turn, and keep the best times."""
    return Batches(most=most, measured=tuple(_measure_size(size, prepare, most) for size in sizes))


def _measure_size(size: Size, prepare: Prepare, most: int) -> Measured:
    best: dict[int, float] = {}
    counts = [count for count in SAMPLES if count <= 2 * most]
    for of in range(ROUNDS + 1):
        for count in counts:
            try:
                forward = prepare(size, count)
                begun = time.perf_counter()
                forward()
            except OutOfMemory:
                _logger.info("no memory for %d samples of %s at once", count, size)
                counts = [one for one in counts if one < count]
                break
            took_ms = 1000 * (time.perf_counter() - begun)
            if of > 0:  # the first round loads kernels
                best[count] = min(took_ms, best.get(count, took_ms))
            if took_ms > 1000 * TOO_SLOW_S:
                best.setdefault(count, took_ms)
                counts = [one for one in counts if one <= count]
                break
    kept = {count: round(took_ms, 3) for count, took_ms in best.items() if count in counts}
    return Measured(size=size, forward_ms=kept)


def recall(file: Path, *, most: int) -> Batches | None:
    """Read what an earlier start measured; None if it measured nothing, or less than is asked for."""
    try:
        known = Batches.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return known.model_copy(update={"most": most}) if most <= known.most else None


def keep(file: Path, batches: Batches) -> None:
    """Write for the next start; if that can't be done, it measures anew."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(batches.model_dump_json())
        Path(name).replace(file)
    except OSError as error:
        _logger.info("batch sizes are measured anew at the next start: %s", error)
