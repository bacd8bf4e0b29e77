"""Generate, and what is chosen for it: every press counts once, and what came of it is seen."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import DESKTOP, PHONE, Darkroom
from tests.e2e.visitor import Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

RED_CIRCLE = "a red circle on a blue background"
GREEN_SQUARE = "a green square on a white background"
COUNT_PRESSES_JS = """() => {
  window.presses = 0;
  document.querySelector("#generate").addEventListener("click", () => (window.presses += 1));
}"""


def test_a_key_that_is_held_down_sends_once(visitor: Visitor) -> None:
    visitor.page.evaluate(COUNT_PRESSES_JS)
    visitor.prompt.fill(RED_CIRCLE)
    visitor.page.keyboard.down("Control")
    visitor.page.keyboard.down("Enter")
    visitor.expect_newest("succeeded")

    visitor.page.keyboard.down("Enter")  # again without `up`: as the keyboard repeats it

    assert visitor.page.evaluate("window.presses") == 1


def test_a_double_click_and_a_held_enter_send_once(visitor: Visitor) -> None:
    visitor.page.evaluate(COUNT_PRESSES_JS)
    visitor.prompt.fill(RED_CIRCLE)

    visitor.generate.dblclick()
    visitor.generate.focus()
    visitor.page.keyboard.down("Enter")
    visitor.page.keyboard.down("Enter")  # again without `up`: as the keyboard repeats it

    assert visitor.page.evaluate("window.presses") == 1 + 1


def test_who_presses_faster_than_the_page_answers_gets_all(visitor: Visitor) -> None:
    for prompt in (RED_CIRCLE, GREEN_SQUARE):
        visitor.prompt.fill(prompt)
        visitor.generate.click()

    expect(visitor.cards).to_have_count(2)
    assert set(visitor.cards.locator(".prompt").all_inner_texts()) == {RED_CIRCLE, GREEN_SQUARE}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_came_of_a_press_is_brought_into_sight(visitor: Visitor, size: tuple[int, int]) -> None:
    width, height = size
    visitor.page.set_viewport_size({"width": width, "height": height})
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    expect(visitor.newest).to_be_in_viewport()

    visitor.lock_seed(0)
    visitor.number("seed").fill("")
    visitor.page.keyboard.type("-7")
    visitor.page.evaluate("document.querySelector('#generate').scrollIntoView()")
    visitor.generate.click()

    expect(visitor.problem("seed")).to_be_in_viewport()
    expect(visitor.number("seed")).to_be_focused()
    expect(visitor.generate).not_to_have_attribute("aria-busy", "true")


def test_who_has_scrolled_down_sees_the_new_card(visitor: Visitor) -> None:
    for prompt in (RED_CIRCLE, GREEN_SQUARE):
        visitor.ask_for(prompt)
        visitor.expect_newest("succeeded")
    visitor.cards.last.locator('[data-do="delete"]').last.scroll_into_view_if_needed()

    visitor.prompt.fill("a yellow star")
    visitor.generate.click()

    expect(visitor.cards).to_have_count(3)
    expect(visitor.newest.locator(".prompt")).to_be_in_viewport()


def test_who_has_scrolled_down_sees_that_the_gateway_is_away(visitor: Visitor, darkroom: Darkroom) -> None:
    for prompt in (RED_CIRCLE, GREEN_SQUARE):
        visitor.ask_for(prompt)
        visitor.expect_newest("succeeded")
    visitor.cards.last.scroll_into_view_if_needed()

    darkroom.gateway.kill()

    expect(visitor.notices).to_contain_text("Out of reach")
    expect(visitor.notices).to_be_in_viewport()
    darkroom.start(darkroom.gateway)
    expect(visitor.notices).to_be_hidden()


def test_presets_that_are_walked_through_leave_the_values_of_the_last(visitor: Visitor) -> None:
    visitor.open_more()
    steps = visitor.number("num_inference_steps")
    quality = steps.input_value()
    visitor.preset("Draft").check()
    expect(steps).not_to_have_value(quality)

    visitor.preset("Draft").focus()
    for _ in range(2):
        visitor.page.keyboard.press("ArrowLeft")

    expect(visitor.preset("Quality")).to_be_checked()
    expect(steps).to_have_value(quality)


def test_who_types_on_is_left_to_it_when_something_is_wrong(visitor: Visitor) -> None:
    visitor.lock_seed(0)
    visitor.number("seed").fill("-7")
    visitor.prompt.fill(RED_CIRCLE)

    visitor.page.keyboard.press("Control+Enter")

    expect(visitor.problem("seed")).to_be_in_viewport()
    expect(visitor.prompt).to_be_focused()


def test_a_press_that_the_pages_server_could_not_take_leaves_the_button_as_it_was(visitor: Visitor) -> None:
    visitor.page.route("**/queue/join*", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    visitor.prompt.fill(RED_CIRCLE)

    with visitor.page.expect_response("**/queue/join*"):
        visitor.generate.click()

    expect(visitor.generate).not_to_have_attribute("aria-busy", "true")
    visitor.page.unroute_all(behavior="wait")
    visitor.ask_for(RED_CIRCLE)


def test_a_preset_leaves_a_negative_prompt_of_ones_own(visitor: Visitor) -> None:
    negative = visitor.page.locator("#negative_prompt textarea")
    negative.fill("blurry edges")
    visitor.open_more()
    steps = visitor.number("num_inference_steps").input_value()

    visitor.preset("Draft").check()

    expect(visitor.number("num_inference_steps")).not_to_have_value(steps)
    expect(negative).to_have_value("blurry edges")
