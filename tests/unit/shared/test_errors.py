from __future__ import annotations

import re

import pytest

from shared import errors
from shared.errors import DarkroomError, FieldError, InvalidRequest, QueueFull, Unavailable, leaf_of, leaves

LEAVES = sorted(leaves(), key=lambda leaf: leaf.code)


def test_codes_are_stable_words_and_no_two_leaves_share_one() -> None:
    codes = [leaf.code for leaf in LEAVES]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)
    assert DarkroomError.code not in codes


def test_the_drawn_tree_names_each_leaf_and_its_code() -> None:
    drawn = errors.__doc__ or ""

    for leaf in LEAVES:
        assert re.search(rf"── {leaf.__name__} +{leaf.code}  ", drawn), leaf
    assert len(re.findall(r"── \w+ +[a-z_]+  ", drawn)) == len(LEAVES)


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.__init__ is DarkroomError.__init__])
def test_an_error_without_a_message_says_its_docstring(leaf: type[DarkroomError]) -> None:
    said = str(leaf())

    assert said
    assert said.endswith(".")
    assert "\n" not in said
    assert str(leaf("Because.")) == "Because."


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_code_leads_back_to_its_error(leaf: type[DarkroomError]) -> None:
    assert leaf_of(leaf.code) is leaf
    quoted = leaf.quoted("As it was said.")
    assert type(quoted) is leaf
    assert str(quoted) == "As it was said."


def test_an_unknown_code_leads_nowhere() -> None:
    assert leaf_of("from_the_future") is None
    assert leaf_of(DarkroomError.code) is None


def test_a_wrong_request_names_each_field() -> None:
    error = InvalidRequest((FieldError("seed", "Too large."), FieldError("size", "Too wide.")))

    assert str(error) == "seed: Too large.; size: Too wide."


def test_what_is_away_for_now_says_when_to_try_again() -> None:
    assert all(leaf.retry_after_s > 0 for leaf in LEAVES if issubclass(leaf, Unavailable))
    assert QueueFull(3, 10).retry_after_s == 10
    assert QueueFull.quoted("Full.").retry_after_s > 0
