"""The page over a real gateway with real Redis and S3; a `Hand` plays the worker, step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.client import Client
from shared.jobs import JobId
from tests.integration.conftest import client, gateway, hand, worker
from tests.integration.serving import CARD, Hand
from tests.unit.ui.pressing import form_of
from ui.handlers import Handlers, View
from ui.styles import read_styles

__all__ = ["client", "gateway", "hand", "worker"]


@pytest.fixture
def handlers(client: Client) -> Handlers:
    return Handlers(client, read_styles())


@pytest.fixture
def first(hand: Hand, handlers: Handlers) -> View:
    """A page that has just been opened."""
    assert hand.card is CARD
    return handlers.look(View(), None, {})


@pytest.fixture
def generate(first: View, handlers: Handlers) -> Callable[..., JobId]:
    def press(**said: object) -> JobId:
        answer = handlers.generate(form_of(first, **{"prompt": "a red cube", **said}), first.card)
        assert (answer.problems, answer.by_slot) == ("", {})
        assert answer.job_id is not None
        return answer.job_id

    return press
