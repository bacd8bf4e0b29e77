"""The words the demo model knows and what each one looks like.

Owns the closed set of shapes, colours, sizes and places; knows nothing of pictures or captions.
"""

from typing import Final, TypeAlias

Rgb: TypeAlias = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""

SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "circle": ("circle", "disc"),
    "square": ("square",),
    "triangle": ("triangle",),
    "star": ("star",),
    "heart": ("heart",),
    "ring": ("ring",),
    "cross": ("cross", "plus"),
    "moon": ("moon", "crescent"),
}
"""Each shape and the words that name it, the first one being the usual word."""

COLOURS: Final[dict[str, Rgb]] = {
    "red": (220, 30, 35),
    "orange": (250, 135, 15),
    "yellow": (250, 220, 30),
    "green": (35, 150, 60),
    "cyan": (40, 205, 215),
    "blue": (35, 75, 215),
    "purple": (125, 40, 165),
    "pink": (250, 150, 190),
    "brown": (120, 70, 30),
    "black": (20, 20, 22),
    "white": (248, 248, 246),
    "gray": (140, 142, 145),
}
"""Each colour's middle; a drawn one lies within `COLOUR_JITTER` of it in every channel."""

COLOUR_WORDS: Final[dict[str, tuple[str, ...]]] = {
    **{name: (name,) for name in COLOURS},
    "cyan": ("cyan", "turquoise"),
    "purple": ("purple", "violet"),
    "gray": ("gray", "grey"),
}
"""The words that name each colour, the first one being the usual word."""

COLOUR_JITTER: Final = 8
"""Largest distance of a drawn colour from its middle, in each channel, 0 to 255."""

SIZES: Final[dict[str, float]] = {"small": 0.30, "medium": 0.50, "large": 0.74}
"""Each size as the object's diameter over the picture's shorter side."""

SIZE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "small": ("small", "tiny", "little"),
    "medium": (),
    "large": ("large", "big", "huge"),
}
"""The words for each size. Medium is what an object is when nothing is said."""

PLACES: Final[dict[str, tuple[float, float]]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top left": (0.0, 0.0),
    "top right": (1.0, 0.0),
    "bottom left": (0.0, 1.0),
    "bottom right": (1.0, 1.0),
}
"""Each place as (x, y), 0 to 1 of the room that the object leaves. Center when nothing is said."""

RELATIONS: Final = ("left of", "right of", "above", "below")
"""How the first object of a pair lies to the second."""

PICTURE_SIZES: Final = ((128, 128), (160, 96), (96, 160))
"""The sizes that the model is trained on, (width, height) in pixels."""
