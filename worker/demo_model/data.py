"""The drawn pictures that training reads.

Owns the files `<work>/pictures/<width>x<height>.npy` and the rule that gives picture `i` of a size
its scene, so that scenes are never stored: they are made again from the seed whenever needed.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from worker.demo_model.scene import Scene, draw, training_scene
from worker.demo_model.vocabulary import PICTURE_SIZES

Canvas = tuple[int, int]
"""A picture's (width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class DataPlan:
    """How much is drawn. `pairs` is the share of pictures with two objects."""

    square: int = 40_000
    oblong: int = 8_000
    pairs: float = 0.35
    seed: int = 0

    def count(self, canvas: Canvas) -> int:
        """Return how many pictures of one size are drawn."""
        return self.square if canvas[0] == canvas[1] else self.oblong

    def scene(self, canvas: Canvas, index: int) -> Scene:
        """Make the scene of picture `index` of one size, the same each time."""
        width, height = canvas
        rng = random.Random(f"{self.seed}/{width}x{height}/{index}")
        return training_scene(canvas, rng, pairs=self.pairs)


def draw_pictures(plan: DataPlan, work: Path) -> None:
    """Draw every picture that is not yet in `work`. Safe to stop and start again."""
    for canvas in PICTURE_SIZES:
        path = picture_file(work, canvas)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        width, height = canvas
        count = plan.count(canvas)
        pictures = np.lib.format.open_memmap(unfinished, "w+", dtype=np.uint8, shape=(count, height, width, 3))
        for index in tqdm(range(count), desc=f"draw {width}x{height}", mininterval=2):
            pictures[index] = np.asarray(draw(plan.scene(canvas, index)))
        pictures.flush()
        unfinished.rename(path)


def open_pictures(work: Path, canvas: Canvas) -> NDArray[np.uint8]:
    """Open the drawn pictures of one size, (count, height, width, 3), without reading them."""
    return np.load(picture_file(work, canvas), mmap_mode="r")


def picture_file(work: Path, canvas: Canvas) -> Path:
    """Return where the pictures of one size lie."""
    width, height = canvas
    return work / "pictures" / f"{width}x{height}.npy"
