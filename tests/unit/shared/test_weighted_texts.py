from __future__ import annotations

from typing import Any, cast

import compel  # pyright: ignore[reportMissingTypeStubs]: compel ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.weights import MAX_WEIGHT, read_weights


@pytest.mark.parametrize(
    ("prompt", "text", "passages"),
    [
        ("a (red circle)1.4 on blue", "a red circle on blue", [("red circle", 1.4)]),
        ("a (red circle)0.5", "a red circle", [("red circle", 0.5)]),
        ("a (red circle).5, big", "a red circle, big", [("red circle", 0.5)]),
        ("a (red circle)++.", "a red circle.", [("red circle", 1.21)]),
        ("(a cat)-", "a cat", [("a cat", 0.9)]),
        ("(masterpiece:1.3), (fog : 0.4 )", "masterpiece, fog ", [("masterpiece", 1.3), ("fog", 0.4)]),
        ("a red++ circle-- on it's++ well-lit++", "a red circle on it's well-lit", None),
        ("(a (b)0.5 c)0.8", "a b c", [("a", 0.8), ("b", 0.4), ("c", 0.8)]),
        ("((cat:1.2) and dog:1.5)", "cat and dog", [("cat", 1.8), ("and dog", 1.5)]),
        ("(a)1.2(b)1.3(c:0.4)d", "a b c d", [("a", 1.2), ("b", 1.3), ("c", 0.4)]),
        ("(score_9:1.2)", "score_9", [("score_9", 1.2)]),
        ("(not so)1", "not so", []),
        ("(never)0", "never", [("never", 0.0)]),
        (r"(hatsune \(miku\))1.2, C\+\+", "hatsune (miku), C++", [("hatsune (miku)", 1.2)]),
    ],
)
def test_weights_are_read(prompt: str, text: str, passages: list[tuple[str, float]] | None) -> None:
    weighted = read_weights(prompt)
    assert weighted.text == text
    if passages is not None:
        assert [(words, pytest.approx(weight)) for words, weight in passages] == list(weighted.passages)
    assert weighted.unread == ()


@pytest.mark.parametrize(
    "prompt",
    [
        "C++ and g++, Disney+, an A+, 18+, R&B",
        ":-) :) ;-) (: :( (^_^) ¯\\_(ツ)_/¯ <3",
        "a cat (not a dog), ((masterpiece)), [sketch], {x}",
        "half past (10:30), (16:9), (John 3:16), (f:stop)",
        "(c)2024, f(x)2, H(2)O, (1960)-1990, (left)-handed",
        "an em dash--like this -- or that - so",
        "left (open, and closed) too often) (",
        'a sign that says "C++", "a cat"',
        "1.5 (cat) 1.5 ++ -- + -",
        "word\\ \\n back\\slash",
        "(cat)1.5.2, (cat)1.5x, (cat)1.5%",
        "( )1.2 ()++",
    ],
)
def test_all_else_is_text_to_the_letter(prompt: str) -> None:
    weighted = read_weights(prompt)
    assert weighted.text == prompt
    assert weighted.passages == ()


@pytest.mark.parametrize(
    ("prompt", "unread"),
    [
        ("(cat)5 runs", "(cat)5"),
        ("(cat)-1.5", "(cat)-1.5"),
        ("a (dog:8)", "(dog:8)"),
        ("a (dog:-1)", "(dog:-1)"),
        ("(dog:1.3", "(dog:1.3"),
        ("a <lora:film:0.8> cat", "<lora:film:0.8>"),
        ('("a cat", "a dog").blend(1, 0.5)', ").blend(1, 0.5)"),
        ("a (cat).swap(dog)", ").swap(dog)"),
        ('("a", "b").and()', ").and()"),
    ],
)
def test_syntax_that_does_nothing_is_told(prompt: str, unread: str) -> None:
    weighted = read_weights(prompt)
    assert weighted.text == prompt
    assert weighted.unread == (unread,)


@pytest.mark.parametrize("prompt", ["C++ (16:9) (c)2024 :-)", "a (cat)1.3", "", "a cat, (really)"])
def test_plain_text_is_not_complained_of(prompt: str) -> None:
    assert read_weights(prompt).unread == ()


def test_no_weight_is_more_than_the_most() -> None:
    assert read_weights("((cat)2)2 (dog)" + "+" * 4000).passages == (("cat", MAX_WEIGHT), ("dog", MAX_WEIGHT))


@pytest.mark.parametrize(
    "prompt",
    [
        "a (red circle)1.4, on (blue)0.5 ground",
        "(a (b)0.5 c)0.8",
        "big++ circle-- and (more (of it)+ all)1.3",
    ],
)
def test_passages_are_those_that_compel_reads(prompt: str) -> None:
    conjunction = cast("Any", compel.Compel).parse_prompt_string(prompt)
    (flattened,) = conjunction.prompts
    theirs = [(fragment.text.strip(), fragment.weight) for fragment in flattened.children if fragment.weight != 1]
    assert list(read_weights(prompt).passages) == theirs


@given(st.text(alphabet="ab1.5:()+-\\ ,<>", max_size=60))
def test_anything_can_be_read(prompt: str) -> None:
    weighted = read_weights(prompt)
    assert len(weighted.text) == len(weighted.weights) == len(weighted.origins)
    assert all(0 <= weight <= MAX_WEIGHT for weight in weighted.weights)
    assert list(weighted.origins) == sorted(set(weighted.origins))
    for character, origin in zip(weighted.text, weighted.origins, strict=True):
        assert character in {prompt[origin], " "}
    if not weighted.passages and len(weighted.text) == len(prompt):
        assert weighted.text == prompt
