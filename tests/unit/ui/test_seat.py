"""A page's events take turns, and each page has a seat of its own."""

from __future__ import annotations

import threading
from copy import deepcopy
from dataclasses import replace

import pytest

from tests.servers import wait_until
from ui.feed import Asked
from ui.seat import Seat


def test_a_press_waits_for_a_look_and_a_look_for_nobody() -> None:
    seat, order = Seat(), list[str]()

    def press() -> None:
        with seat.turn():
            order.append("press")

    with seat.turn():
        pressing = threading.Thread(target=press)
        pressing.start()
        with seat.turn_if_free() as is_free:
            order.append("look" if is_free else "no look")
    pressing.join(20)
    wait_until(lambda: len(order) == 2, limit_s=20, what="the press had its turn")
    with seat.turn_if_free() as is_free:
        order.append("look" if is_free else "no look")

    assert order == ["no look", "press", "look"]


def test_a_turn_ends_with_an_error_too() -> None:
    seat = Seat()
    for _ in range(2):
        with pytest.raises(RuntimeError), seat.turn():
            raise RuntimeError("It broke.")
    with seat.turn_if_free() as is_free:
        assert is_free


def test_each_session_has_its_own() -> None:
    first = Seat()
    copied = deepcopy(first)
    first.asked = Asked(search="a fox")
    first.view = replace(first.view, notices="Out of reach.")

    assert (copied.asked, copied.view.notices) == (Asked(), "")
