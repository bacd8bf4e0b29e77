"""Scenes, their captions, and the split."""

import itertools
import random
from dataclasses import replace

import pytest

from worker.demo_model.captions import (
    GROUND_WORDINGS,
    HELD_OUT_WORDINGS,
    caption,
    every_wording,
    say_ground,
)
from worker.demo_model.classifier import classify
from worker.demo_model.data import DataPlan
from worker.demo_model.evaluation_prompts import pair_prompts, single_prompts
from worker.demo_model.scene import coverage, draw, pair_scene, single_scene, training_scene
from worker.demo_model.split import held_out_combinations, is_held_out
from worker.demo_model.vocabulary import (
    COLOUR_WORDS,
    COLOURS,
    PICTURE_SIZES,
    PLACES,
    SHAPES,
)


@pytest.mark.parametrize("canvas", PICTURE_SIZES)
def test_the_same_scene_is_drawn_to_the_same_bytes(canvas: tuple[int, int]) -> None:
    plan = DataPlan()
    first, again = plan.scene(canvas, 17), plan.scene(canvas, 17)
    assert first == again
    assert draw(first).tobytes() == draw(again).tobytes()
    assert draw(first).size == canvas


def test_another_index_is_another_scene() -> None:
    plan = DataPlan()
    assert len({plan.scene((128, 128), index) for index in range(50)}) == 50


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_the_classifier_reads_every_drawn_shape(shape: str, size: str) -> None:
    rng = random.Random(shape + size)
    for canvas in PICTURE_SIZES:
        seen = classify(draw(single_scene(shape, "red", "white", canvas, rng, size=size)))
        assert (seen.shape, seen.colour, seen.background) == (shape, "red", "white")
        assert len(seen.objects) == 1


def test_the_classifier_reads_every_colour_on_every_ground() -> None:
    rng = random.Random(3)
    for colour, ground in itertools.permutations(COLOURS, 2):
        scene = single_scene("circle", colour, ground, (96, 96), rng, size="small")
        seen = classify(draw(scene))
        assert (seen.colour, seen.background) == (colour, ground)


def test_the_classifier_sees_nothing_on_a_plain_ground() -> None:
    rng = random.Random(4)
    scene = single_scene("circle", "red", "red", (128, 128), rng)
    seen = classify(draw(scene))
    assert seen.objects == ()
    assert (seen.background, seen.shape, seen.colour) == ("red", None, None)


@pytest.mark.parametrize("place", PLACES)
def test_objects_are_not_cut_off_at_the_edge(place: str) -> None:
    rng = random.Random(place)
    for shape in SHAPES:
        for canvas in PICTURE_SIZES:
            thing = single_scene(shape, "black", "white", canvas, rng, place=place).objects[0]
            width, height = canvas
            whole = replace(thing, x=width / 2, y=height / 2)
            assert coverage(thing, *canvas).sum() > 0.95 * coverage(whole, *canvas).sum()


@pytest.mark.parametrize("relation", ["left of", "right of", "above", "below"])
@pytest.mark.parametrize("canvas", PICTURE_SIZES)
def test_a_pair_lies_as_its_relation_says(canvas: tuple[int, int], relation: str) -> None:
    rng = random.Random(relation)
    scene = pair_scene(("star", "yellow"), ("square", "green"), relation, "white", canvas, rng=rng)
    seen = {thing.colour: thing for thing in classify(draw(scene)).objects}
    star, square = seen["yellow"], seen["green"]
    assert (star.shape, square.shape) == ("star", "square")
    assert {
        "left of": star.x < square.x,
        "right of": star.x > square.x,
        "above": star.y < square.y,
        "below": star.y > square.y,
    }[relation]


def test_a_caption_says_only_what_is_in_the_scene() -> None:
    rng = random.Random(5)
    shape_of = {word: shape for shape, words in SHAPES.items() for word in words}
    colour_of = {word: colour for colour, words in COLOUR_WORDS.items() for word in words}
    for _ in range(500):
        scene = training_scene(rng.choice(PICTURE_SIZES), rng, pairs=0.4)
        words = caption(scene, rng).replace(",", "").split()
        assert {shape_of[w] for w in words if w in shape_of} <= {o.shape for o in scene.objects}
        said = {colour_of[w] for w in words if w in colour_of}
        assert said <= {o.colour for o in scene.objects} | {scene.ground}


def test_a_caption_puts_the_first_object_where_its_relation_says() -> None:
    rng = random.Random(6)
    canvas = (128, 128)
    scene = pair_scene(("star", "red"), ("ring", "blue"), "left of", "white", canvas, rng=rng)
    for _ in range(200):
        text = caption(scene, rng)
        if "left of" in text:
            assert text.index("red") < text.index("blue")
        if "right of" in text:
            assert text.index("blue") < text.index("red")


def test_captions_are_made_of_known_words() -> None:
    rng = random.Random(7)
    known = {word for text in every_wording() for word in text.replace(",", " ").split()}
    for _ in range(500):
        text = caption(training_scene((128, 128), rng, pairs=0.4), rng)
        assert set(text.replace(",", "").split()) <= known | {"a", "an"}


def test_orange_takes_an() -> None:
    assert say_ground("x", "orange", GROUND_WORDINGS[0]) == "x on an orange background"


def test_training_never_sees_a_held_out_combination() -> None:
    rng = random.Random(8)
    held_out = set(held_out_combinations())
    for _ in range(3000):
        scene = training_scene(rng.choice(PICTURE_SIZES), rng, pairs=0.4)
        assert not {(o.shape, o.colour, scene.ground) for o in scene.objects} & held_out


def test_held_out_wordings_are_not_trained() -> None:
    assert not set(HELD_OUT_WORDINGS) & set(GROUND_WORDINGS)


def test_the_demo_prompt_is_trained() -> None:
    assert not is_held_out("circle", "red", "blue")


def test_evaluation_asks_for_held_out_combinations_only() -> None:
    prompts = single_prompts(200)
    assert len({p.text for p in prompts}) == 200
    assert all(is_held_out(p.shape, p.colour, p.ground) for p in prompts)
    assert {p.shape for p in prompts} == set(SHAPES)
    assert {p.colour for p in prompts} == set(COLOURS)
    for pair in pair_prompts(40):
        assert any(is_held_out(*thing, pair.ground) for thing in (pair.first, pair.second))
