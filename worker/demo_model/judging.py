"""Whether what the classifier sees is what a prompt asked for."""

from typing import Final

from worker.demo_model.classifier import Seen
from worker.demo_model.evaluation_prompts import PairPrompt, SinglePrompt
from worker.demo_model.vocabulary import PLACES

_MIDDLE: Final = 0.06
"""Largest distance from the middle, over the side, at which an object still lies in it."""


def accuracies(prompts: list[SinglePrompt], seen: list[Seen]) -> tuple[float, float, float]:
    """Return the shares with the right shape, colour and background."""
    pairs = list(zip(prompts, seen, strict=True))
    count = max(1, len(pairs))
    return (
        sum(s.shape == p.shape for p, s in pairs) / count,
        sum(s.colour == p.colour for p, s in pairs) / count,
        sum(s.background == p.ground for p, s in pairs) / count,
    )


def share(seen: list[Seen], colour: str) -> float:
    """Return the share of pictures whose largest object has a colour."""
    return sum(picture.colour == colour for picture in seen) / len(seen)


def area(seen: Seen) -> float:
    """Return the share of the picture that objects cover."""
    return sum(thing.area for thing in seen.objects)


def lies_at(seen: Seen, place: str) -> bool:
    """Tell whether the largest object lies at a place."""
    if not seen.objects:
        return False
    x, y = PLACES[place]
    found = seen.objects[0].x, seen.objects[0].y
    thirds = [0.5 if abs(at - 0.5) < _MIDDLE else round(at) for at in found]
    return thirds == [x, y]


def pair_colours(prompt: PairPrompt, seen: Seen) -> bool:
    """Tell whether there are exactly two objects of the right colours."""
    drawn = sorted(thing.colour for thing in seen.objects)
    return drawn == sorted((prompt.first[1], prompt.second[1]))


def pair_lies(prompt: PairPrompt, seen: Seen) -> bool:
    """Tell whether two objects of the right colours lie as the prompt says."""
    if not pair_colours(prompt, seen):
        return False
    first = next(thing for thing in seen.objects if thing.colour == prompt.first[1])
    second = next(thing for thing in seen.objects if thing.colour == prompt.second[1])
    return {
        "left of": first.x < second.x - 0.1,
        "right of": first.x > second.x + 0.1,
        "above": first.y < second.y - 0.1,
        "below": first.y > second.y + 0.1,
    }[prompt.relation]


def pair_shapes(prompt: PairPrompt, seen: Seen) -> bool:
    """Tell whether colours, shapes, background and relation are all right."""
    drawn = {(thing.shape, thing.colour) for thing in seen.objects}
    lies = pair_lies(prompt, seen) and seen.background == prompt.ground
    return lies and drawn == {prompt.first, prompt.second}
