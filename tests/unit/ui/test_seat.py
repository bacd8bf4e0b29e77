"""A page's events take turns, and each page has a seat of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from copy import deepcopy
from dataclasses import replace

import pytest

from tests.integration.serving import CARD, Hand, Serving
from tests.servers import wait_until
from ui.feed import FIRST, Asked
from ui.form import Form
from ui.handlers import Handlers, View
from ui.seat import MOST_UNSEEN, MOST_WAITING, Seat, Showing
from ui.visitors import Person


def test_a_press_waits_for_a_look_and_a_look_for_nobody() -> None:
    seat, order = Seat(), list[str]()

    def press() -> None:
        with seat.turn_if_few_wait():
            order.append("press")

    with seat.turn_if_few_wait():
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
        with pytest.raises(RuntimeError), seat.turn_if_few_wait():
            raise RuntimeError("It broke.")
    with seat.turn_if_free() as is_free:
        assert is_free


def test_each_session_has_its_own() -> None:
    first = Seat()
    copied = deepcopy(first)
    first.asked = Asked(search="a fox")
    first.tell(replace(first.view, notices="Out of reach."), None)

    assert (copied.asked, copied.view.notices) == (Asked(), "")


def view(words: str) -> View:
    """A view that differs from others in this."""
    return View(notices=words)


def showing(look: int, number: int, **said: object) -> Showing:
    """What a browser says with its look."""
    return Showing.read({"look": look, "number": number, **said})


def test_what_is_told_continues_what_the_browser_shows() -> None:
    seat = Seat()

    first = seat.tell(view("one"), None)
    lost = seat.tell(view("two"), None)
    assert seat.hear(showing(1, 1))
    after = seat.tell(view("three"), None)

    assert [(told["base"], told["number"]) for told in (first, lost, after)] == [(0, 1), (0, 2), (1, 3)]
    assert [one.notices for one in seat.may_show] == ["one", "two", "three"]
    assert seat.seen.notices == "one"


def test_a_browser_that_another_seat_has_told_is_told_all_anew() -> None:
    seat = Seat()
    seat.tell(view("one"), None)

    assert seat.hear(showing(1, 17, search="a fox", favourites=[], pages=2))
    told = seat.tell(view("one"), None)

    assert (told["base"], told["number"]) == (17, 19)
    assert seat.may_show[0] == View()
    assert (seat.asked.search, seat.asked.favourites, seat.asked.number) == ("a fox", (), 2 * FIRST)


def test_a_browser_that_nobody_heard_of_for_long_is_told_all_anew() -> None:
    seat = Seat()
    for at in range(2 * MOST_UNSEEN):
        seat.tell(view(str(at)), None)

    assert seat.hear(showing(1, 1))

    assert seat.may_show[0] == View()
    assert len(seat.may_show) <= MOST_UNSEEN


def test_what_follows_on_more_than_is_remembered_is_refused_after_a_new_beginning_too() -> None:
    seat = Seat()
    assert seat.hear(showing(1, 17))

    told = [seat.tell(view(str(at)), None) for at in range(MOST_UNSEEN)][-1]

    assert View() not in seat.may_show
    assert told["base"] > 17


def test_all_is_told_anew_until_the_browser_says_that_it_shows_it() -> None:
    seat = Seat()

    assert seat.is_told_anew
    told = seat.tell(view("one"), None)
    assert seat.hear(showing(1, told["number"]))
    assert not seat.is_told_anew
    assert seat.hear(showing(2, 0))
    assert seat.is_told_anew


def test_a_number_is_given_once() -> None:
    seat = Seat()
    given = [seat.tell(view(str(at)), None)["number"] for at in range(3)]

    assert seat.hear(showing(1, given[-1]))
    assert seat.hear(showing(2, 0))
    given.append(seat.tell(view("anew"), None)["number"])

    assert len(set(given)) == len(given)


def test_a_look_that_was_overtaken_is_not_heard() -> None:
    seat = Seat()

    assert seat.hear(showing(2, 0, search="a fox"))
    assert not seat.hear(showing(1, 0))
    assert seat.asked.search == "a fox"


@pytest.mark.parametrize("said", [None, "nothing", {"number": "many"}, {"pages": 0}])
def test_what_can_not_be_read_of_a_look_is_a_page_that_shows_nothing(said: object) -> None:
    assert (Showing.read(said).number, Showing.read(said).asked) == (0, Asked())


class TestTwoModels:
    @pytest.fixture
    def bigger(self, hand: Hand, gateway: Serving) -> Generator[Hand]:
        """A worker that serves another model beside the first."""
        assert hand.card is CARD
        with Hand(gateway.settings, CARD.model_copy(update={"id": "test/bigger", "title": "Bigger"})) as one:
            yield one

    @pytest.fixture
    def look(self, handlers: Handlers, person: Person) -> Callable[[Seat, Form], View]:
        """Look as the page does, for a browser whose form says this."""

        def look(seat: Seat, draft: Form) -> View:
            seat.tell(handlers.look(person, seat.seen, seat.asked, seat.hear_form(draft)), None)
            return seat.view

        return look

    def test_settings_that_are_on_their_way_are_not_undone_by_a_look_that_left_before(
        self,
        bigger: Hand,
        handlers: Handlers,
        person: Person,
        look: Callable[[Seat, Form], View],
    ) -> None:
        seat, draft = Seat(), {"model": CARD.id, "num_inference_steps": 9}
        assert look(seat, draft).card is not None
        job = person.client.submit("a cube", model=bigger.card.id, num_inference_steps=7)
        fitted = handlers.act(person, seat.view, "reuse", job.id, 0).fitted
        assert fitted is not None
        seat.fit(fitted)

        late = look(seat, draft)
        arrived = look(seat, {name: control.value for name, control in late.controls.items()})

        for view in (late, arrived):
            assert view.card is not None
            assert (view.card.id, view.controls["num_inference_steps"].value) == (bigger.card.id, 7)

    def test_a_choice_of_another_model_is_heard_and_kept_though_its_answer_is_on_its_way(
        self, bigger: Hand, look: Callable[[Seat, Form], View]
    ) -> None:
        seat = Seat()
        said = [look(seat, {"model": model}).card for model in (CARD.id, bigger.card.id, bigger.card.id, CARD.id)]

        assert [card and card.id for card in said] == [CARD.id, bigger.card.id, bigger.card.id, CARD.id]


def test_only_few_presses_of_a_page_wait_and_the_others_are_refused_at_once() -> None:
    seat = Seat()
    begun, ended = threading.Barrier(1 + MOST_WAITING), list[bool]()

    def press() -> None:
        begun.wait(20)
        with seat.turn_if_few_wait() as may:
            ended.append(may)

    with seat.turn_if_few_wait() as has_turn:
        presses = [threading.Thread(target=press) for _ in range(MOST_WAITING)]
        for one in presses:
            one.start()
        begun.wait(20)
        wait_until(lambda: seat.waiting == MOST_WAITING, limit_s=20, what="all wait")
        with seat.turn_if_few_wait() as may:
            assert (has_turn, may) == (True, False)
    for one in presses:
        one.join(20)

    assert ended == [True] * MOST_WAITING
    with seat.turn_if_few_wait() as may:
        assert may
