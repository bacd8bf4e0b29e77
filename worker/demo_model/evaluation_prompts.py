"""The prompts that the evaluation draws, none of which training has seen.

Single objects combine shape, colour and background as the split holds out, in held-out wordings.
"""

import random
from dataclasses import dataclass

from worker.demo_model.captions import HELD_OUT_WORDINGS, say_ground, with_article
from worker.demo_model.split import held_out_combinations, is_held_out
from worker.demo_model.vocabulary import COLOURS, PICTURE_SIZES, RELATIONS, SHAPES


@dataclass(frozen=True, slots=True)
class SinglePrompt:
    """A prompt for one object and what the picture has to show."""

    text: str
    shape: str
    colour: str
    ground: str
    canvas: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PairPrompt:
    """A prompt for two objects, each a (shape, colour), in a relation."""

    text: str
    first: tuple[str, str]
    second: tuple[str, str]
    relation: str
    ground: str


def single_prompts(count: int) -> list[SinglePrompt]:
    """Return the first `count` held-out single objects, half of them square pictures."""
    canvases = (PICTURE_SIZES[0], PICTURE_SIZES[1], PICTURE_SIZES[0], PICTURE_SIZES[2])
    prompts: list[SinglePrompt] = []
    for number, (shape, colour, ground) in enumerate(held_out_combinations()[:count]):
        wording = HELD_OUT_WORDINGS[number % len(HELD_OUT_WORDINGS)]
        text = say_ground(with_article(f"{colour} {shape}"), ground, wording)
        prompts.append(SinglePrompt(text, shape, colour, ground, canvases[number % 4]))
    return prompts


def sized_prompt(prompt: SinglePrompt, size_word: str) -> str:
    """Say a single prompt's object again with a word of size."""
    thing = with_article(f"{size_word} {prompt.colour} {prompt.shape}")
    return say_ground(thing, prompt.ground, HELD_OUT_WORDINGS[0])


def placed_prompt(prompt: SinglePrompt, place: str) -> str:
    """Say a single prompt's object again with a place in words, "on the left"."""
    thing = with_article(f"{prompt.colour} {prompt.shape}") + " " + place
    return say_ground(thing, prompt.ground, HELD_OUT_WORDINGS[0])


def pair_prompts(count: int, seed: int = 0) -> list[PairPrompt]:
    """Return two-object prompts of which at least one object is a held-out combination."""
    rng = random.Random(seed)
    prompts: list[PairPrompt] = []
    while len(prompts) < count:
        ground, one, two = rng.sample(list(COLOURS), 3)
        first, second = (rng.choice(list(SHAPES)), one), (rng.choice(list(SHAPES)), two)
        if not (is_held_out(*first, ground) or is_held_out(*second, ground)):
            continue
        relation = RELATIONS[len(prompts) % len(RELATIONS)]
        things = " ".join((with_article(f"{one} {first[0]}"), relation, with_article(f"{two} {second[0]}")))
        text = f"{things} on a {ground} background".replace("a orange", "an orange")
        prompts.append(PairPrompt(text, first, second, relation, ground))
    return prompts
