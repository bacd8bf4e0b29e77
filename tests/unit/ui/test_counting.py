"""What is said of a text's tokens while one types, by a real gateway with a real vocabulary."""

from __future__ import annotations

import pytest

from tests.integration.serving import Hand, Serving
from tests.unit.ui.pressing import form_of
from tests.vocabulary import demo_vocabulary
from ui.feed import Asked
from ui.handlers import Handlers, View
from ui.visitors import Person


@pytest.fixture
def opened(hand: Hand, gateway: Serving, handlers: Handlers, person: Person) -> View:
    """A page where the model's words are known."""
    hand.forget_all()
    with Hand(gateway.settings, vocabulary=demo_vocabulary()) as knowing:
        knowing.arrive()
        return handlers.look(person, View(), Asked(), {})


def test_each_text_has_its_line(opened: View, handlers: Handlers, person: Person) -> None:
    lines = handlers.count(person, opened.card, form_of(opened, prompt="a red circle", negative_prompt="x " * 1000))

    assert "of 75 tokens" in lines["prompt"]
    assert "The end is not read" in lines["negative_prompt"]


def test_a_styles_words_count(opened: View, handlers: Handlers, person: Person) -> None:
    plain, styled = (
        handlers.count(person, opened.card, form_of(opened, prompt="a red circle", style=style))
        for style in ("", "oil")
    )

    assert plain["negative_prompt"] == ""
    assert plain["prompt"] != styled["prompt"]


def test_nothing_is_said_of_an_empty_text_nor_where_nobody_can_count(
    opened: View, first: View, handlers: Handlers, person: Person
) -> None:
    assert set(handlers.count(person, opened.card, form_of(opened, prompt="")).values()) == {""}
    assert set(handlers.count(None, opened.card, form_of(opened, prompt="x")).values()) == {""}
    assert set(handlers.count(person, None, form_of(first, prompt="x")).values()) == {""}
