"""Scenes and how they are drawn.

Owns the description of one picture (ground, objects, where and how big) and its drawing. A scene
holds every random choice already made, so drawing it twice gives the same bytes.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from worker.demo_model.split import is_held_out
from worker.demo_model.vocabulary import (
    COLOUR_JITTER,
    COLOURS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    Rgb,
)

_SUPERSAMPLING: Final = 4
"""Shapes are drawn this many times too big and averaged down, which softens their edges."""

_TILT: Final = 6.0
"""Largest turn of an object from upright, in degrees."""

_CENTERED: Final = 0.6
"""Share of single objects that lie in the center."""

_PAIR_SIZE: Final = 0.36
"""Diameter of each of two objects over the picture's shorter side: both fit side by side."""

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One thing in a scene. `x`, `y` and `diameter` are in pixels, `tilt` in radians."""

    shape: str
    colour: str
    size: str
    place: str
    rgb: Rgb
    x: float
    y: float
    diameter: float
    tilt: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture as data: a plain ground with one object, or two in a relation."""

    width: int
    height: int
    ground: str
    ground_rgb: Rgb
    objects: tuple[SceneObject, ...]
    relation: str | None = None
    """How the first of two objects lies to the second; None for a single object."""


def _jittered(colour: str, rng: random.Random) -> Rgb:
    red, green, blue = COLOURS[colour]
    return (_near(red, rng), _near(green, rng), _near(blue, rng))


def _near(channel: int, rng: random.Random) -> int:
    return min(255, max(0, channel + rng.randint(-COLOUR_JITTER, COLOUR_JITTER)))


def _placed(
    shape: str, colour: str, size: str, place: str, canvas: tuple[int, int], *, rng: random.Random
) -> SceneObject:
    """Choose where exactly in `canvas` (width, height) an object of one size and place lies."""
    width, height = canvas
    diameter = SIZES[size] * min(canvas) * rng.uniform(0.93, 1.07)
    margin = 0.04 * min(canvas)
    room_x, room_y = width - diameter - 2 * margin, height - diameter - 2 * margin
    across, down = PLACES[place]
    wobble = 0.03 * min(canvas)
    return SceneObject(
        shape=shape,
        colour=colour,
        size=size,
        place=place,
        rgb=_jittered(colour, rng),
        x=margin + diameter / 2 + across * room_x + rng.uniform(-wobble, wobble),
        y=margin + diameter / 2 + down * room_y + rng.uniform(-wobble, wobble),
        diameter=diameter,
        tilt=math.radians(rng.uniform(-_TILT, _TILT)),
    )


def single_scene(
    shape: str,
    colour: str,
    ground: str,
    canvas: tuple[int, int],
    rng: random.Random,
    *,
    size: str = "medium",
    place: str = "center",
) -> Scene:
    """Make a scene of one object on a `canvas` of (width, height) pixels."""
    thing = _placed(shape, colour, size, place, canvas, rng=rng)
    return Scene(*canvas, ground, _jittered(ground, rng), (thing,))


def pair_scene(
    first: tuple[str, str],
    second: tuple[str, str],
    relation: str,
    ground: str,
    canvas: tuple[int, int],
    *,
    rng: random.Random,
) -> Scene:
    """Make a scene of two objects, each a (shape, colour), the first `relation` the second."""
    width, height = canvas
    beside = relation in {"left of", "right of"}
    near, far = (0.27, 0.73) if beside == (width >= height) or width == height else (0.25, 0.75)
    spots = (near, far) if relation in {"left of", "above"} else (far, near)
    things: list[SceneObject] = []
    for (shape, colour), spot in zip((first, second), spots, strict=True):
        diameter = _PAIR_SIZE * min(canvas) * rng.uniform(0.94, 1.06)
        wobble = 0.025 * min(canvas)
        x = (spot if beside else 0.5) * width + rng.uniform(-wobble, wobble)
        y = (0.5 if beside else spot) * height + rng.uniform(-wobble, wobble)
        tilt = math.radians(rng.uniform(-_TILT, _TILT))
        rgb = _jittered(colour, rng)
        things.append(SceneObject(shape, colour, "small", "", rgb, x, y, diameter, tilt))
    return Scene(*canvas, ground, _jittered(ground, rng), tuple(things), relation)


def training_scene(canvas: tuple[int, int], rng: random.Random, *, pairs: float) -> Scene:
    """Draw a random scene that training may see: no combination that the split holds out.

    `pairs` is the share of scenes with two objects, 0 to 1.
    """
    while True:
        scene = _random_scene(canvas, rng, pairs=pairs)
        if not any(is_held_out(o.shape, o.colour, scene.ground) for o in scene.objects):
            return scene


def _random_scene(canvas: tuple[int, int], rng: random.Random, *, pairs: float) -> Scene:
    shapes, colours = list(SHAPES), list(COLOURS)
    if rng.random() < pairs:
        ground, one, two = rng.sample(colours, 3)
        first, second = (rng.choice(shapes), one), (rng.choice(shapes), two)
        return pair_scene(first, second, rng.choice(RELATIONS), ground, canvas, rng=rng)
    ground, colour = rng.sample(colours, 2)
    size = rng.choices(list(SIZES), (1, 2, 1))[0]
    place = "center" if size == "large" or rng.random() < _CENTERED else rng.choice(list(PLACES))
    return single_scene(rng.choice(shapes), colour, ground, canvas, rng, size=size, place=place)


def draw(scene: Scene) -> Image.Image:
    """Draw a scene as an RGB picture of its own size."""
    pixels = np.empty((scene.height, scene.width, 3), np.float32)
    pixels[:] = scene.ground_rgb
    for thing in scene.objects:
        cover = coverage(thing, scene.width, scene.height)[..., None]
        pixels += cover * (np.asarray(thing.rgb, np.float32) - pixels)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def coverage(thing: SceneObject, width: int, height: int) -> NDArray[np.float32]:
    """Return how much of each pixel an object covers, (height, width), 0 to 1."""
    scale = _SUPERSAMPLING
    mask = Image.new("L", (width * scale, height * scale))
    pen = ImageDraw.Draw(mask)
    _OUTLINES[thing.shape](pen, thing, scale)
    return np.asarray(mask.reduce(scale), np.float32) / np.float32(255)


def _polygon(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int, unit: list[Point]) -> None:
    """Fill a polygon given on the unit circle's scale, tilted and placed as the object is."""
    pen.polygon([_on_canvas(point, thing, scale) for point in unit], fill=255)


def _on_canvas(point: Point, thing: SceneObject, scale: int) -> Point:
    cosine, sine = math.cos(thing.tilt), math.sin(thing.tilt)
    x, y = point
    radius = thing.diameter / 2
    return (
        (thing.x + radius * (x * cosine - y * sine)) * scale,
        (thing.y + radius * (x * sine + y * cosine)) * scale,
    )


def _disc(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int, middle: Point, radius: float, *, fill: int) -> None:
    x, y = _on_canvas(middle, thing, scale)
    r = radius * thing.diameter / 2 * scale
    pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _circle(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    _disc(pen, thing, scale, (0, 0), 1.0, fill=255)


def _ring(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    _disc(pen, thing, scale, (0, 0), 1.0, fill=255)
    _disc(pen, thing, scale, (0, 0), 0.52, fill=0)


def _moon(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    _disc(pen, thing, scale, (0, 0), 1.0, fill=255)
    _disc(pen, thing, scale, (0.52, -0.10), 0.82, fill=0)


def _square(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    _polygon(pen, thing, scale, [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)])


def _triangle(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    _polygon(pen, thing, scale, [(0, -1.0), (1.05, 0.85), (-1.05, 0.85)])


def _cross(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    arm = 0.32
    _polygon(pen, thing, scale, [(-1, -arm), (1, -arm), (1, arm), (-1, arm)])
    _polygon(pen, thing, scale, [(-arm, -1), (arm, -1), (arm, 1), (-arm, 1)])


def _star(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    def corner(index: int) -> Point:
        angle = math.pi * index / 5 - math.pi / 2
        radius = 1.12 if index % 2 == 0 else 0.46
        return (radius * math.cos(angle), radius * math.sin(angle) + 0.06)

    _polygon(pen, thing, scale, [corner(index) for index in range(10)])


def _heart(pen: ImageDraw.ImageDraw, thing: SceneObject, scale: int) -> None:
    # The usual parametric heart (https://mathworld.wolfram.com/HeartCurve.html), its widths
    # of 32 by 29 brought to the unit circle's scale and its middle to the origin.
    def bend(turn: float) -> Point:
        x = 16 * math.sin(turn) ** 3
        waves = zip((13, -5, -2, -1), (1, 2, 3, 4), strict=True)
        y = sum(size * math.cos(n * turn) for size, n in waves)
        return (x / 16, -(y + 2.5) / 15)

    _polygon(pen, thing, scale, [bend(math.tau * step / 60) for step in range(60)])


_OUTLINES: Final[dict[str, Callable[[ImageDraw.ImageDraw, SceneObject, int], None]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "ring": _ring,
    "cross": _cross,
    "moon": _moon,
}
