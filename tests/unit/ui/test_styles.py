"""Styles as data: what they make of a prompt, that it can be undone, and what a wrong file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InvalidRequest
from shared.texts import clean_text
from ui.styles import MAX_STYLES, Styles, WrongStyles, read_styles

OURS = read_styles()

HOUSE = """
[[style]]
name = "house"
group = "Ours"
title = "House"
prompt = "{prompt}, as we do it"
negative = "kitsch"
"""


def test_there_are_some_in_several_groups_and_each_says_what_it_does() -> None:
    assert len(OURS.by_name) >= 25
    assert {"Photo", "Film", "Painting", "Drawing", "Print", "3D"} <= {one.group for one in OURS.by_name.values()}
    assert all(one.description and one.negative for one in OURS.by_name.values())
    assert len({one.title for one in OURS.by_name.values()}) == len(OURS.by_name)


@pytest.mark.parametrize("name", OURS.by_name)
def test_one_stands_around_what_was_typed_and_can_be_taken_away_again(name: str) -> None:
    style = OURS.by_name[name]

    prompt, negative = OURS.applied(name, " a {red} fox ", "ugly,")

    assert "a {red} fox" in prompt
    assert len(prompt) > len("a {red} fox")
    assert negative == f"ugly, {style.negative}"
    assert (clean_text(prompt), clean_text(negative)) == (prompt, negative), "the gateway keeps it letter by letter"
    assert style.without(prompt, negative) == ("a {red} fox", "ugly")
    assert style.without("another prompt", negative) is None


def test_an_empty_prompt_stays_empty_so_that_it_is_missed() -> None:
    assert OURS.applied("oil", "  ", "") == ("  ", "")


def test_none_changes_nothing_and_a_gone_one_is_named() -> None:
    assert OURS.applied("", "a fox", "ugly") == ("a fox", "ugly")
    with pytest.raises(InvalidRequest, match="style: There is no such style"):
        OURS.applied("gone", "a fox", "")


def test_an_operators_file_stands_in_place_of_ours(tmp_path: Path) -> None:
    styles = written(tmp_path, HOUSE)

    assert styles.choices == (("Ours: House", "house"),)
    assert styles.applied("house", "a fox", "") == ("a fox, as we do it", "kitsch")
    assert (styles.description_of("house"), styles.description_of(None)) == ("", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[style", "is no TOML"),
        ('style = "oil"', "must be a list of tables"),
        ('[[styles]]\nname = "a"', "not styles"),
        (HOUSE.replace("{prompt}", "prompt"), "style 'house': prompt: .*Must hold {prompt} once"),
        (HOUSE.replace("{prompt}", "{prompt} {prompt}"), "style 'house': prompt: "),
        (HOUSE.replace('"house"', '"My House"'), "style 'My House': name: "),
        (HOUSE.replace('title = "House"', ""), "style 'house': title: Required"),
        (HOUSE.replace('name = "house"', ""), "style 1: name: Required"),
        (HOUSE + 'colour = "red"', "style 'house': colour: There is no such field"),
        (HOUSE + HOUSE, "two styles are named 'house'"),
        (HOUSE * (MAX_STYLES + 1), "at most 200"),
    ],
)
def test_a_wrong_file_is_told_which_style_and_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(WrongStyles, match=said) as found:
        written(tmp_path, text)

    assert str(tmp_path / "styles.toml") in str(found.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongStyles, match=r"gone\.toml can't be read: No such file"):
        read_styles(tmp_path / "gone.toml")


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes('title = "Grün"'.encode("latin-1"))
    with pytest.raises(WrongStyles, match="is no TOML"):
        read_styles(tmp_path / "latin.toml")


def written(folder: Path, text: str) -> Styles:
    file = folder / "styles.toml"
    file.write_text(text, "utf-8")
    return read_styles(file)
