"""Answers get lost on the way and pages restart: what the browser shows is made good by itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.e2e.conftest import GRACE_S, Darkroom, as_visitor
from tests.e2e.visitor import Visitor
from tests.servers import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

LOOKS = "**/gradio_api/run/predict*"
RED_CIRCLE = "a red circle on a blue background"
GREEN_SQUARE = "a green square on a white background"


@contextmanager
def losing(page: Page, is_meant: Callable[[str], bool]) -> Generator[list[str]]:
    """Lose the first answer to a look that is meant, after the page has sent it; what was lost is given."""
    lost = list[str]()

    def answer(route: Route) -> None:
        response = route.fetch()
        if not lost and is_meant(response.text()):
            lost.append(response.text())
            route.abort()
        else:
            route.fulfill(response=response)

    page.route(LOOKS, answer)
    yield lost
    page.unroute_all(behavior="wait")


def test_a_card_ends_though_the_answer_that_said_so_was_lost(visitor: Visitor) -> None:
    visitor.mark()
    with losing(visitor.page, lambda answer: 'data-status=\\"succeeded\\"' in answer) as lost:
        visitor.ask_for(RED_CIRCLE)
        visitor.expect_newest("succeeded")

        assert lost
    expect(visitor.pictures).to_have_count(1)
    assert visitor.is_marked()


def test_the_page_is_whole_though_its_very_first_answer_was_lost(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")

    with losing(visitor.page, lambda answer: "demo" in answer) as lost:
        visitor.page.reload()
        expect(visitor.generate).to_be_enabled()
        assert lost
    visitor.expect_newest("succeeded")
    expect(visitor.page.locator("#served")).to_contain_text("1 worker ready")
    expect(visitor.prompt).to_have_value(RED_CIRCLE)


def test_what_is_said_of_an_outage_goes_though_the_answer_that_ends_it_was_lost(
    visitor: Visitor, darkroom: Darkroom
) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    darkroom.gateway.stop(GRACE_S)
    expect(visitor.notices).to_contain_text("does not answer")

    with losing(visitor.page, lambda answer: "1 worker ready" in answer) as lost:
        darkroom.start(darkroom.gateway)
        expect(visitor.notices).not_to_contain_text("does not answer")
        assert lost
    expect(visitor.page.locator("#served")).to_contain_text("1 worker ready")


def test_what_an_answer_that_was_overtaken_undid_is_made_good(visitor: Visitor, darkroom: Darkroom) -> None:
    held = list[tuple[Route, APIResponse]]()

    def hold_the_first(route: Route) -> None:
        response = route.fetch()
        if not held and "does not answer" in response.text():
            held.append((route, response))
        else:
            route.fulfill(response=response)

    def is_held() -> bool:
        visitor.page.wait_for_timeout(50)  # routes are answered meanwhile
        return bool(held)

    visitor.page.route(LOOKS, hold_the_first)
    darkroom.gateway.stop(GRACE_S)
    wait_until(is_held, limit_s=300, what="a look says that the gateway is away")
    darkroom.start(darkroom.gateway)
    visitor.page.locator('[data-do="search"]').fill("poster")
    expect(visitor.page.locator("#feed[data-filtered]")).to_be_attached()

    route, response = held[0]
    with visitor.page.expect_request(lambda request: '"number":0' in (request.post_data or "")):
        route.fulfill(response=response)

    expect(visitor.notices).not_to_contain_text("does not answer")
    expect(visitor.page.locator("#served")).to_contain_text("1 worker ready")


def test_a_search_that_was_not_heard_is_made_good(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        client.wait(client.submit(RED_CIRCLE, metadata={"project": "poster"}).id)
        client.wait(client.submit(GREEN_SQUARE).id)
    expect(visitor.cards).to_have_count(2)
    visitor.mark()

    with losing(visitor.page, lambda answer: '"search":"poster"' in answer) as lost:
        field = visitor.page.locator('[data-do="search"]')
        field.fill("poster")
        # The browser leaves the other card out at once; that Python was heard is told by the feed.
        expect(visitor.page.locator("#feed[data-filtered]")).to_have_count(1)
        assert lost
    expect(visitor.cards).to_have_count(1)
    expect(visitor.newest.locator(".prompt")).to_have_text(RED_CIRCLE)
    expect(field).to_have_value("poster")
    assert visitor.is_marked()


@pytest.mark.parametrize("is_proxied", [False, True], ids=["no_answer", "a_proxys_answer"])
def test_it_is_said_that_the_pages_server_is_away_and_nothing_is_loaded_anew(
    visitor: Visitor, is_proxied: bool
) -> None:
    def fail(route: Route) -> None:
        if is_proxied:
            route.fulfill(status=502, content_type="text/html", body="<html>Bad Gateway</html>")
        else:
            route.abort()

    visitor.mark()
    visitor.page.route(LOOKS, fail)
    line = visitor.page.locator(".notice.line")
    expect(line).to_contain_text("does not answer")
    expect(visitor.page.locator(".toast-body")).to_have_count(0)

    visitor.page.unroute_all(behavior="wait")

    expect(line).to_be_hidden()
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    assert visitor.is_marked()


def test_what_one_chose_is_done_though_its_request_was_lost_on_the_way(visitor: Visitor) -> None:
    lost = set[str]()

    def lose_each_once(route: Route) -> None:
        body = route.request.post_data or ""
        if body in lost:
            route.continue_()
        else:
            lost.add(body)
            route.abort()

    visitor.mark()
    visitor.open_more()
    steps = visitor.number("num_inference_steps").input_value()
    visitor.page.route(LOOKS, lose_each_once)

    visitor.preset("Draft").check()

    expect(visitor.number("num_inference_steps")).not_to_have_value(steps)
    assert lost
    assert visitor.is_marked()
    visitor.page.unroute_all(behavior="wait")


def test_a_page_that_is_loaded_again_shows_what_was_wanted(visitor: Visitor) -> None:
    for prompt in (RED_CIRCLE, GREEN_SQUARE):
        visitor.ask_for(prompt)
        visitor.expect_newest("succeeded")
    visitor.press("favourite")
    only, field = visitor.page.locator('[data-do="only-favourites"]'), visitor.page.locator('[data-do="search"]')
    only.click()
    expect(visitor.cards).to_have_count(1)

    visitor.page.reload()
    expect(only).to_have_attribute("aria-pressed", "true")
    expect(visitor.cards).to_have_count(1)
    expect(visitor.newest.locator(".prompt")).to_have_text(GREEN_SQUARE)

    field.fill("circle")
    expect(visitor.cards).to_have_count(0)
    visitor.page.reload()
    expect(field).to_have_value("circle")
    only.click()
    expect(visitor.newest.locator(".prompt")).to_have_text(RED_CIRCLE)
    expect(visitor.cards).to_have_count(1)


def test_a_page_that_restarts_shows_what_its_fields_say(visitor: Visitor, darkroom: Darkroom) -> None:
    for prompt in (RED_CIRCLE, GREEN_SQUARE):
        visitor.ask_for(prompt)
        visitor.expect_newest("succeeded")
    field = visitor.page.locator('[data-do="search"]')
    field.fill("circle")
    expect(visitor.cards).to_have_count(1)
    visitor.mark()
    darkroom.page.stop(GRACE_S)

    darkroom.start(darkroom.page)

    visitor.page.wait_for_function("window.marked === undefined")
    expect(visitor.generate).to_be_enabled()
    expect(field).to_have_value("circle")
    expect(visitor.cards).to_have_count(1)
