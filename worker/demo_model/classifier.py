"""Tells what a picture shows: its background, and each object's shape, colour, place and size.

Owns a geometric classifier that was never trained: it takes the ground's colour from the border,
cuts out what differs from it, and compares each piece with drawn outlines. It shares the drawing
of outlines with the training pictures and nothing with the model that it judges.
"""

import functools
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.demo_model.scene import SceneObject, coverage
from worker.demo_model.vocabulary import COLOURS, SHAPES

_GRID: Final = 32
"""Side of the square that outlines are compared in."""

_VISIBLE: Final = 36.0
"""Distance from the ground's colour (0 to 441) from which a pixel may belong to an object."""

_LEAST_AREA: Final = 0.004
"""Smallest piece, over the picture's area, that counts as an object."""

_LEAST_OVERLAP: Final = 0.72
"""Overlap (intersection over union) from which a piece counts as the shape it is most like.

Part of the bar, so it is fixed as the bar is: where good pictures fall below it, the model is what changes.
"""

_COVERED: Final = 0.5
"""Share of a pixel from which an outline covers it."""

_TILTS: Final = (-9, -6, -3, 0, 3, 6, 9)


@dataclass(frozen=True, slots=True)
class SeenObject:
    """One object in a picture. `x`, `y` and `diameter` are shares of width, height, short side."""

    shape: str | None
    """The shape that it is most like, or None where it is like none."""
    colour: str
    x: float
    y: float
    area: float
    """Covered pixels over the picture's."""
    overlap: float
    """Intersection over union with the outline of the shape it is most like, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a picture shows. The largest object comes first."""

    background: str
    objects: tuple[SeenObject, ...]

    @property
    def shape(self) -> str | None:
        """The shape of the largest object, None where there is no object or it is like none."""
        return self.objects[0].shape if self.objects else None

    @property
    def colour(self) -> str | None:
        """The colour of the largest object, None where there is no object."""
        return self.objects[0].colour if self.objects else None


def classify(picture: Image.Image) -> Seen:
    """Tell what a picture of the demo model's kind shows."""
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    border = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3)])
    border = np.concatenate([border, pixels[:, :3].reshape(-1, 3), pixels[:, -3:].reshape(-1, 3)])
    ground = np.median(border, axis=0)
    distance = np.sqrt(np.square(pixels - ground).sum(axis=2))
    pieces = _pieces(distance > _VISIBLE)
    seen = [_look(pixels, distance, piece) for piece in pieces]
    objects = sorted((thing for thing in seen if thing is not None), key=lambda thing: -thing.area)
    return Seen(nearest_colour(ground), tuple(objects))


def nearest_colour(rgb: NDArray[np.float32]) -> str:
    """Name the colour of the vocabulary that is nearest to an RGB value."""
    return min(COLOURS, key=lambda name: float(np.square(rgb - np.array(COLOURS[name])).sum()))


def _look(pixels: NDArray[np.float32], distance: NDArray[np.float32], piece: NDArray[np.bool_]) -> SeenObject | None:
    """Describe one connected piece, or None where it is too small to be an object."""
    area = piece.mean()
    if area < _LEAST_AREA:
        return None
    # The upper half of the piece by distance is its inside; its soft edge lies halfway to that.
    inside = piece & (distance >= np.median(distance[piece]))
    rgb = np.median(pixels[inside], axis=0)
    level = float(np.median(distance[inside]))
    mask = piece & (distance > level / 2)
    rows, columns = np.nonzero(mask)
    if rows.size < _LEAST_AREA * mask.size:
        return None
    shape, overlap = _most_like(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    height, width = mask.shape
    return SeenObject(
        shape=shape if overlap >= _LEAST_OVERLAP else None,
        colour=nearest_colour(rgb),
        x=float(columns.min() + columns.max() + 1) / 2 / width,
        y=float(rows.min() + rows.max() + 1) / 2 / height,
        area=float(mask.mean()),
        overlap=overlap,
    )


def _most_like(mask: NDArray[np.bool_]) -> tuple[str, float]:
    """Return the shape whose outline a tightly cut mask is most like, and the overlap."""
    found = _fitted(mask)
    names, outlines = _outlines()
    shared = np.minimum(outlines, found).sum(axis=(1, 2))
    overlaps = shared / np.maximum(outlines, found).sum(axis=(1, 2))
    best = int(overlaps.argmax())
    return names[best], float(overlaps[best])


def _fitted(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scale a mask to the comparing grid, its longer side filling it and its form kept."""
    height, width = mask.shape
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = mask * np.uint8(255)
    small = Image.fromarray(square).resize((_GRID, _GRID), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


@functools.cache
def _outlines() -> tuple[list[str], NDArray[np.float32]]:
    """Draw every shape at every tilt, tightly cut, (shapes * tilts, grid, grid)."""
    names: list[str] = []
    outlines: list[NDArray[np.float32]] = []
    for shape in SHAPES:
        for tilt in _TILTS:
            thing = SceneObject(shape, "red", "large", "", (0, 0, 0), 64.0, 64.0, 90.0, math.radians(tilt))
            mask = coverage(thing, 128, 128) > _COVERED
            rows, columns = np.nonzero(mask)
            cut = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            names.append(shape)
            outlines.append(_fitted(cut))
    return names, np.stack(outlines)


def _pieces(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Cut a mask into its connected pieces (four neighbours), largest first."""
    height, width = mask.shape
    left = mask.copy()
    pieces: list[NDArray[np.bool_]] = []
    for start in zip(*np.nonzero(mask), strict=True):
        if not left[start]:
            continue
        piece = np.zeros_like(mask)
        queue = deque([(int(start[0]), int(start[1]))])
        left[start] = False
        while queue:
            row, column = queue.popleft()
            piece[row, column] = True
            for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= r < height and 0 <= c < width and left[r, c]:
                    left[r, c] = False
                    queue.append((r, c))
        pieces.append(piece)
    return sorted(pieces, key=lambda piece: -int(piece.sum()))
