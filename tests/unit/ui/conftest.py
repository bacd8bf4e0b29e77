"""The page over a real gateway with real Redis and S3; a `Hand` plays the worker, step by step."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from shared.client import Client
from shared.contract import JobBody
from tests.integration.conftest import client, gateway, guarded, hand, worker
from tests.integration.serving import CARD, Hand
from tests.unit.ui.pressing import form_of
from ui.feed import Asked
from ui.form import Problems
from ui.handlers import Handlers, View
from ui.styles import Styles, read_styles
from ui.visitors import Person

__all__ = ["client", "gateway", "guarded", "hand", "worker"]


@pytest.fixture(scope="session")
def styles() -> Styles:
    return read_styles()


@pytest.fixture
def handlers(styles: Styles) -> Handlers:
    return Handlers(styles)


@pytest.fixture
def person(client: Client) -> Person:
    """A visitor who has never been here."""
    return Person(client.acting(visitor=uuid4().hex))


@pytest.fixture
def first(hand: Hand, handlers: Handlers, person: Person) -> View:
    """A page that has just been opened."""
    assert hand.card is CARD
    return handlers.look(person, View(), Asked(), {})


@pytest.fixture
def generate(first: View, handlers: Handlers, person: Person) -> Callable[..., JobBody]:
    def press(**said: object) -> JobBody:
        answer = handlers.generate(person, first.card, form_of(first, **{"prompt": "a red cube", **said}))
        assert answer.problems == Problems({})
        assert answer.refusal == ""
        assert answer.job is not None
        return answer.job

    return press
