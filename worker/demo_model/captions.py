# ruff: noqa: PLR2004, the shares of wordings say what they are where they stand
"""What is said about a scene.

Owns the wordings. A caption is one of many true ways to describe a scene; what it leaves out is
what a reader takes for granted (medium, in the center) or, in lone keywords, anything at all.
Keywords alone are what teaches negative prompts.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

from worker.demo_model.scene import Scene, SceneObject
from worker.demo_model.vocabulary import COLOUR_WORDS, SHAPES, SIZE_WORDS

GROUND_WORDINGS: Final = (
    "{thing} on a {ground} background",
    "{thing} on {ground}",
    "{thing}, {ground} background",
    "{thing} with a {ground} background",
    "a picture of {thing} on a {ground} background",
    "{thing} on a plain {ground} background",
    "a {ground} background with {thing}",
    "{thing} in front of a {ground} background",
    "an image of {thing} on {ground}",
)
"""Ways to say that something is on a background; training sees these only."""

HELD_OUT_WORDINGS: Final = (
    "an image of {thing} with a plain {ground} background",
    "a picture of {thing} in front of a {ground} background",
    "{thing}, plain {ground} background",
    "on a {ground} background, {thing}",
    "a plain picture of {thing} on {ground}",
)
"""Ways to say the same that training never sees."""

_PLACE_WORDINGS: Final[dict[str, tuple[str, ...]]] = {
    "center": ("in the center", "in the middle", "centered"),
    "top": ("at the top", "in the top center"),
    "bottom": ("at the bottom", "in the bottom center"),
    "left": ("on the left", "at the left"),
    "right": ("on the right", "at the right"),
    "top left": ("in the top left corner", "at the top left", "in the upper left corner"),
    "top right": ("in the top right corner", "at the top right", "in the upper right corner"),
    "bottom left": ("in the bottom left corner", "at the bottom left", "in the lower left corner"),
    "bottom right": (
        "in the bottom right corner",
        "at the bottom right",
        "in the lower right corner",
    ),
}

_RELATION_WORDINGS: Final[dict[str, tuple[str, ...]]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
_OPPOSITE: Final = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

_VOWELS: Final = frozenset("aeiou")


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun."""
    return f"an {noun}" if noun[0] in _VOWELS else f"a {noun}"


def caption(scene: Scene, rng: random.Random) -> str:
    """Describe a scene in one of the ways that training sees."""
    wording = _worded_pair if scene.relation is not None else _worded_single
    if rng.random() < 0.12:
        wording = _keyword
    return wording(scene, rng)


def describe_single(thing: SceneObject, rng: random.Random) -> str:
    """Name an object by size, colour and shape, "a small red circle", and its place."""
    words = [*_size(thing, rng), _colour(thing.colour, rng), _shape(thing, rng)]
    return with_article(" ".join(words)) + _place(thing, rng)


def say_ground(thing: str, ground: str, wording: str) -> str:
    """Put a described object on its background."""
    sentence = wording.format(thing=thing, ground=ground)
    return sentence.replace("a orange", "an orange")


def _worded_single(scene: Scene, rng: random.Random) -> str:
    thing = scene.objects[0]
    ground = _colour(scene.ground, rng)
    left_out = rng.random()
    if left_out < 0.06:
        words = [*_size(thing, rng), _shape(thing, rng)]
        described = with_article(" ".join(words)) + _place(thing, rng)
    elif left_out < 0.09:
        described = with_article(f"{_colour(thing.colour, rng)} object") + _place(thing, rng)
    else:
        described = describe_single(thing, rng)
    if left_out > 0.94:
        return described
    return say_ground(described, ground, rng.choice(GROUND_WORDINGS))


def _worded_pair(scene: Scene, rng: random.Random) -> str:
    first, second = scene.objects
    relation = str(scene.relation)
    if rng.random() < 0.35:
        first, second, relation = second, first, _OPPOSITE[relation]
    one = with_article(f"{_colour(first.colour, rng)} {_shape(first, rng)}")
    two = with_article(f"{_colour(second.colour, rng)} {_shape(second, rng)}")
    between = "and" if rng.random() < 0.1 else rng.choice(_RELATION_WORDINGS[relation])
    described = f"{one} {between} {two}"
    if rng.random() < 0.06:
        return described
    ground = _colour(scene.ground, rng)
    return say_ground(described, ground, rng.choice(GROUND_WORDINGS[:4]))


def _keyword(scene: Scene, rng: random.Random) -> str:
    """Say one or two things that are true of the scene and nothing else."""
    thing = rng.choice(scene.objects)
    ground = _colour(scene.ground, rng)
    choices: Sequence[Callable[[], str]] = (
        lambda: _colour(thing.colour, rng),
        lambda: _shape(thing, rng),
        lambda: f"{_colour(thing.colour, rng)} {_shape(thing, rng)}",
        lambda: f"{ground} background",
        lambda: f"{_shape(thing, rng)}, {ground} background",
        lambda: " ".join([*_size(thing, rng), _shape(thing, rng)]),
        lambda: "two objects" if scene.relation is not None else "one object",
    )
    return rng.choice(choices)()


def _colour(name: str, rng: random.Random) -> str:
    return _often_first(COLOUR_WORDS[name], rng)


def _shape(thing: SceneObject, rng: random.Random) -> str:
    return _often_first(SHAPES[thing.shape], rng)


def _often_first(words: tuple[str, ...], rng: random.Random) -> str:
    return words[0] if rng.random() < 0.75 else rng.choice(words)


def _size(thing: SceneObject, rng: random.Random) -> list[str]:
    words = SIZE_WORDS[thing.size]
    return [_often_first(words, rng)] if words else []


def _place(thing: SceneObject, rng: random.Random) -> str:
    if thing.place == "center" and rng.random() < 0.85:
        return ""
    return " " + rng.choice(_PLACE_WORDINGS[thing.place])


def every_wording() -> list[str]:
    """List texts that together hold every word of the domain, for the tokenizer."""
    words = [word for named in (SHAPES, COLOUR_WORDS, SIZE_WORDS) for ws in named.values() for word in ws]
    phrases = [
        phrase for worded in (_PLACE_WORDINGS, _RELATION_WORDINGS) for phrases in worded.values() for phrase in phrases
    ]
    sentences = [*GROUND_WORDINGS, *HELD_OUT_WORDINGS, "one object", "two objects", "an orange and"]
    plain = [text.replace("{thing}", " ").replace("{ground}", " ") for text in sentences]
    # Words of advice that people put into negative prompts; they get tokens but no meaning.
    advice = ["ugly, blurry, poor quality, low quality, bad, worst, nothing, no, not, without"]
    return words + phrases + plain + advice
