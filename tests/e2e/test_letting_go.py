"""A visitor deletes from the full view, sends by the keyboard, and stars in a browser that can keep nothing."""

from __future__ import annotations

import signal
from typing import Final

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import Darkroom, as_visitor
from tests.e2e.visitor import Visitor
from ui.feed import FIRST

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

RED_CIRCLE = "a red circle on a blue background"

COUNT_PRESSES_JS: Final = """() => {
  window.presses = 0;
  document.querySelector("#generate").addEventListener("click", () => (window.presses += 1));
}"""

NOTE_CLICKS_JS: Final = """() => {
  window.details = [];
  document.addEventListener("click", ({ detail }) => window.details.push(detail));
}"""

FULL_STORAGE_JS: Final = """() => {
  Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
}"""


def draw(darkroom: Darkroom, visitor: Visitor, prompts: list[str], pictures: int = 1) -> None:
    """Have each of the prompts drawn, the last one newest."""
    with as_visitor(darkroom, visitor) as client:
        jobs = [client.submit(prompt, num_inference_steps=1, num_images=pictures, seed=7) for prompt in prompts]
        for job in jobs:
            client.wait(job.id)
    expect(visitor.page.locator("#feed > li.card.succeeded")).to_have_count(min(len(prompts), FIRST))


def test_the_full_view_goes_on_where_a_picture_was_deleted(visitor: Visitor, darkroom: Darkroom) -> None:
    draw(darkroom, visitor, [f"{RED_CIRCLE}, {name}" for name in ("one", "two", "three", "four")], pictures=2)
    view = visitor.page.locator("dialog.view")
    visitor.cards.nth(1).locator("figure.done a.sheet").nth(1).click()
    expect(view).to_contain_text("three")

    for left in ("two", "one", "four"):
        view.locator('[data-do="delete"]').click()
        visitor.page.locator("dialog[open]:not(.view)").get_by_role("button", name="Delete").click()
        expect(view.locator(".prompt")).to_have_text(f"{RED_CIRCLE}, {left}")

    expect(visitor.cards).to_have_count(1)


def test_the_full_view_says_how_many_pictures_delete_takes(visitor: Visitor, darkroom: Darkroom) -> None:
    draw(darkroom, visitor, [RED_CIRCLE], pictures=2)
    visitor.ask_for("a green square")
    visitor.expect_newest("succeeded")
    delete = visitor.page.locator('dialog.view [data-do="delete"]')
    visitor.newest.locator("a.sheet").click()
    expect(delete).to_have_text("Delete")

    visitor.page.keyboard.press("ArrowRight")

    expect(delete).to_have_text("Delete all 2")
    delete.click()
    expect(visitor.page.get_by_role("dialog", name="Delete?")).to_contain_text("its 2 pictures")


def test_the_second_press_of_a_double_click_does_not_meet_what_the_first_one_brought(
    visitor: Visitor, darkroom: Darkroom
) -> None:
    darkroom.worker.send(signal.SIGSTOP)
    try:
        visitor.ask_for(RED_CIRCLE)
        box = visitor.newest.locator('[data-do="cancel"]').bounding_box()
        assert box is not None
        mouse = visitor.page.mouse
        mouse.click(box["x"] + 8, box["y"] + 8)
        visitor.expect_newest("canceled")
        again = visitor.newest.locator('[data-do="retry"]')
        expect(again).to_be_visible()
        hit = "([x, y]) => document.elementFromPoint(x, y).closest('[data-do]')?.dataset.do"
        assert visitor.page.evaluate(hit, [box["x"] + 8, box["y"] + 8]) == "retry"
        visitor.page.evaluate(NOTE_CLICKS_JS)
        mouse.down(click_count=2)
        mouse.up(click_count=2)
        assert visitor.page.evaluate("window.details") == [2]
        visitor.ask_for("a green square")
    finally:
        darkroom.worker.send(signal.SIGCONT)

    visitor.expect_newest("succeeded")
    expect(visitor.cards).to_have_count(2)


def test_the_full_view_keeps_its_picture_when_newer_ones_push_it_out_of_the_feed(
    visitor: Visitor, darkroom: Darkroom
) -> None:
    draw(darkroom, visitor, [f"{RED_CIRCLE}, number {at}" for at in range(FIRST)])
    view = visitor.page.locator("dialog.view")
    oldest = visitor.cards.last.get_attribute("data-job")
    visitor.cards.last.locator("a.sheet").click()
    expect(view.locator(".prompt")).to_have_text(f"{RED_CIRCLE}, number 0")

    with as_visitor(darkroom, visitor) as client:
        client.wait(client.submit("a green square", num_inference_steps=1).id)
    expect(visitor.newest.locator(".prompt")).to_have_text("a green square")
    visitor.expect_newest("succeeded")
    expect(visitor.cards).to_have_count(FIRST + 1)

    expect(view.locator(".prompt")).to_have_text(f"{RED_CIRCLE}, number 0")
    assert visitor.cards.last.get_attribute("data-job") == oldest
    view.locator('[data-do="favourite"]').click()
    expect(view.locator('[data-do="favourite"]')).to_have_attribute("aria-pressed", "true")


def test_the_keyboard_sends_nothing_while_a_dialog_asks(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.page.evaluate(COUNT_PRESSES_JS)
    visitor.press("delete")

    visitor.page.keyboard.press("Control+Enter")
    assert visitor.page.evaluate("window.presses") == 0
    visitor.page.keyboard.press("Escape")
    expect(visitor.page.locator("dialog[open]")).to_have_count(0)
    visitor.page.keyboard.press("Control+Enter")

    assert visitor.page.evaluate("window.presses") == 1


def test_a_star_lights_though_the_browser_keeps_nothing(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.page.evaluate(FULL_STORAGE_JS)
    star = visitor.newest.locator('[data-do="favourite"]').first

    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    visitor.page.locator('[data-do="only-favourites"]').click()
    expect(visitor.page.locator("#feed > li.card:visible")).to_have_count(1)

    star.click()
    expect(star).to_have_attribute("aria-pressed", "false")


def test_favourites_of_long_ago_leave_no_gap(visitor: Visitor, darkroom: Darkroom) -> None:
    draw(darkroom, visitor, [f"{RED_CIRCLE}, number {at}" for at in range(FIRST + 6)])
    with as_visitor(darkroom, visitor) as client:
        jobs = client.jobs(limit=100).data
    visitor.page.evaluate(
        "(keys) => (localStorage['darkroom.favourites'] = JSON.stringify(keys))", [f"{jobs[-1].id}/0"]
    )
    only = visitor.page.locator('[data-do="only-favourites"]')

    only.click()
    expect(visitor.cards).to_have_count(1)
    only.click()
    expect(visitor.cards).to_have_count(FIRST)
    visitor.page.locator('[data-do="more"]').click()

    expect(visitor.cards).to_have_count(FIRST + 6)
    shown = [visitor.cards.nth(at).get_attribute("data-job") for at in range(FIRST + 6)]
    assert shown == [job.id for job in jobs]
    visitor.page.reload()
    expect(visitor.cards).to_have_count(FIRST + 6)


def test_what_is_found_at_first_sight_is_found_in_the_end(visitor: Visitor, darkroom: Darkroom) -> None:
    draw(darkroom, visitor, [RED_CIRCLE, "a green square"])
    field, heard = visitor.page.locator('[data-do="search"]'), visitor.page.locator("#feed[data-filtered]")

    for words, count in (("1 steps", 2), ("draw again", 0), ("steps circle", 1)):
        field.fill(words)
        expect(visitor.page.locator("#feed > li.card:visible")).to_have_count(count)
        expect(heard).to_be_attached()
        expect(visitor.cards).to_have_count(count)
        field.fill("")
        expect(visitor.cards).to_have_count(2)
