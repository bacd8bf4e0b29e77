"""A visitor looks at pictures, follows links to them, keeps them and lets them go, with a mouse and with a finger."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect

from shared.jobs import new_job_id
from tests.e2e.conftest import GRACE_S, PHONE, Darkroom, as_visitor
from tests.e2e.visitor import Visitor
from ui.feed import FIRST

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Come = Callable[..., Visitor]
REST_MS = 300
RED_CIRCLE = "a red circle on a blue background"
GREEN_SQUARE = "a green square on a white background"

PASTE_JS: Final = """async (file) => {
  const data = new DataTransfer();
  data.items.add(new File([await (await fetch(file)).blob()], "picture.png", { type: "image/png" }));
  const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(paste);
}"""
"""As a file that was copied in a folder is pasted."""

COPY_JS: Final = """async (file) => {
  const picture = await (await fetch(file)).blob();
  await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
}"""
"""As "Copy image" of a browser does, which keeps the pixels and nothing else."""


HEAR_JS: Final = """() => {
  window.heard = [];
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) window.heard.push(...[...addedNodes].map((node) => node.textContent));
  }).observe(document.querySelector("body > .toasts"), { childList: true });
}"""
"""Note what a screen reader says."""


def two_pictures(visitor: Visitor) -> None:
    """Have two jobs drawn, a green square and before it a red circle."""
    for prompt in (RED_CIRCLE, GREEN_SQUARE):
        visitor.ask_for(prompt)
        visitor.expect_newest("succeeded")


def toast(visitor: Visitor, words: str) -> None:
    """Wait until something is said."""
    expect(visitor.page.locator(".toast", has_text=words).first).to_be_visible()


def choosing(page: Page) -> Locator:
    """Find the line that says to choose the second picture of a comparison."""
    return page.locator("body > .choosing", has_text="Now choose the picture")


def only_favourites(visitor: Visitor) -> None:
    """Star the first picture of each job that is shown, then have only those shown."""
    for card in visitor.cards.all():
        visitor.press("favourite", card)
    visitor.page.locator('[data-do="only-favourites"]').click()
    expect(visitor.page.locator("#feed[data-filtered]")).to_be_attached()


def swipe(page: Page, across: int, down: int = 0) -> None:
    """Draw a finger over the picture in full view, so many pixels to the right and down.

    It rests before it is lifted: else it is a fling to Chromium, and the tap after it no click but the fling's end.
    """
    box = page.locator("dialog.view .stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x + across / 2, "y": y + down / 2}]),
        ("touchMove", [{"x": x + across, "y": y + down}]),
        ("touchEnd", []),
    ):
        if kind == "touchEnd":
            page.wait_for_timeout(REST_MS)
        touch.send(  # pyright: ignore[reportUnknownMemberType]: its parameters have no types
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )
    touch.detach()


def test_a_link_opens_a_picture_that_is_not_among_the_latest(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        oldest = client.wait(client.submit(RED_CIRCLE, num_inference_steps=1).id)
        jobs = [client.submit(f"{GREEN_SQUARE}, number {at}", num_inference_steps=1) for at in range(FIRST)]
        for job in jobs:
            client.wait(job.id)
    expect(visitor.newest.locator(".prompt")).to_contain_text(f"number {FIRST - 1}")

    visitor.page.goto(f"{visitor.page.url}#job-{oldest.id}-0")

    expect(visitor.page.locator("dialog.view")).to_contain_text(RED_CIRCLE)
    visitor.page.reload()
    expect(visitor.page.locator("dialog.view")).to_contain_text(RED_CIRCLE)
    visitor.page.keyboard.press("Escape")
    expect(visitor.page.locator("dialog[open]")).to_have_count(0)


def test_a_link_to_a_strangers_picture_opens_nothing_and_says_so(new_visitor: Come) -> None:
    one, other = new_visitor(), new_visitor()
    one.ask_for(RED_CIRCLE)
    one.expect_newest("succeeded")

    for job_id in (one.job_id(), one.job_id(), new_job_id()):
        other.page.goto(f"{other.page.url.partition('#')[0]}#job-{job_id}-0")
        toast(other, "not among yours")
        other.page.locator(".toast").first.wait_for(state="detached")

    expect(other.page.locator("dialog[open]")).to_have_count(0)


def test_favourites_are_forgotten_once_the_gateway_has_deleted(visitor: Visitor, darkroom: Darkroom) -> None:
    def delete() -> None:
        visitor.press("delete")
        visitor.page.locator("dialog[open]").get_by_role("button", name="Delete").click()

    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.press("favourite")
    darkroom.gateway.stop(GRACE_S)

    delete()
    expect(visitor.page.locator("#refusal")).to_contain_text("No answer")
    darkroom.start(darkroom.gateway)
    expect(visitor.newest).to_have_attribute("data-favourite", "")
    assert visitor.page.evaluate("localStorage['darkroom.favourites']") == f'["{visitor.job_id()}/0"]'
    delete()

    expect(visitor.cards).to_have_count(0)
    assert visitor.page.evaluate("localStorage['darkroom.favourites']") == "[]"


def test_a_gateway_that_hangs_is_said_and_its_pictures_come_by_themselves(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    darkroom.gateway.send(signal.SIGSTOP)
    try:
        expect(visitor.notices).to_contain_text("The gateway does not answer.")
        tab = Visitor(visitor.page.context.new_page(), visitor.page.url)
        tab.page.goto(visitor.page.url)
        expect(tab.notices).to_contain_text("The gateway does not answer.")
    finally:
        darkroom.gateway.send(signal.SIGCONT)

    tab.expect_newest("succeeded")
    expect(tab.pictures.locator("img[data-seen]")).to_have_count(1)
    expect(visitor.notices).not_to_contain_text("does not answer")


def test_two_pictures_are_compared(visitor: Visitor) -> None:
    two_pictures(visitor)
    dialog = visitor.page.locator("dialog.compare")

    visitor.press("compare")
    expect(choosing(visitor.page)).to_be_visible()
    visitor.cards.nth(1).locator("a.sheet").click()

    expect(dialog).to_be_visible()
    expect(dialog.locator("figcaption")).to_contain_text([GREEN_SQUARE, RED_CIRCLE])
    dialog.locator("input[type=range]").press("End")
    assert dialog.locator(".both").evaluate("both => both.style.getPropertyValue('--line')") == "100%"
    dialog.get_by_role("button", name="Side by side").click()
    expect(dialog.locator("input[type=range]")).to_be_hidden()
    visitor.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_escape_ends_choosing_what_to_compare_with(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")

    visitor.press("compare")
    visitor.page.keyboard.press("Escape")
    visitor.pictures.first.locator("a.sheet").click()

    expect(visitor.page.locator("dialog.view")).to_be_visible()


def test_a_finger_ends_choosing_what_to_compare_with(new_visitor: Come) -> None:
    visitor = new_visitor(PHONE)
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.pictures.first.locator("a.sheet").tap()
    visitor.page.locator('dialog.view [data-do="compare"]').tap()
    expect(visitor.page.locator("dialog.view")).to_be_hidden()

    choosing(visitor.page).get_by_role("button", name="Stop comparing").tap()

    expect(choosing(visitor.page)).to_be_hidden()
    visitor.pictures.first.locator("a.sheet").tap()
    expect(visitor.page.locator("dialog.view")).to_be_visible()


def test_the_full_view_of_a_link_ends_choosing_too_by_the_keyboard(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    view = visitor.page.locator("dialog.view")
    visitor.press("compare")
    visitor.page.evaluate("hash => (location.hash = hash)", f"job-{visitor.job_id()}-0")
    expect(view).to_be_visible()

    view.get_by_role("button", name="Stop comparing").press("Enter")

    expect(view.locator(".choosing")).to_be_hidden()
    view.get_by_role("button", name="Close").click()
    expect(view).to_be_hidden()
    expect(choosing(visitor.page)).to_be_hidden()


def test_who_unstars_in_the_full_view_of_favourites_goes_on_from_there(new_visitor: Come, darkroom: Darkroom) -> None:
    visitor = new_visitor(PHONE)
    with as_visitor(darkroom, visitor) as client:
        for name in ("one", "two", "three", "four"):
            client.wait(client.submit(name, num_inference_steps=1).id)
    expect(visitor.pictures.locator("img[data-seen]")).to_have_count(1)
    expect(visitor.page.locator("figure.done")).to_have_count(4)
    only_favourites(visitor)
    view = visitor.page.locator("dialog.view")
    star = view.locator('[data-do="favourite"]')
    visitor.cards.nth(1).locator("a.sheet").tap()

    star.tap()
    expect(star).to_have_attribute("aria-pressed", "false")
    swipe(visitor.page, -150)
    expect(view.locator(".prompt")).to_have_text("two")
    expect(view.locator(".place")).to_have_text("2 of 3")
    star.tap()
    expect(star).to_have_attribute("aria-pressed", "false")
    visitor.page.keyboard.press("ArrowLeft")
    expect(view.locator(".prompt")).to_have_text("four")
    visitor.page.keyboard.press("ArrowRight")
    expect(view.locator(".prompt")).to_have_text("one")


def test_who_unstars_by_keyboard_goes_on_with_the_next_favourite(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        for name in ("one", "two", "three"):
            client.wait(client.submit(name, num_inference_steps=1).id)
    expect(visitor.page.locator("figure.done")).to_have_count(3)
    only_favourites(visitor)
    stars = visitor.page.locator('#feed [data-do="favourite"]')
    last, middle, first = (stars.nth(at) for at in (0, 1, 2))

    middle.press("Enter")
    expect(middle).to_be_hidden()
    expect(first).to_be_focused()
    first.press("Enter")
    expect(last).to_be_focused()
    last.press("Enter")
    expect(visitor.page.locator('[data-do="only-favourites"]')).to_be_focused()


def test_the_last_favourite_that_is_unstarred_leaves_a_word(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    only_favourites(visitor)
    expect(visitor.page.locator(".no-match")).to_be_hidden()

    visitor.press("favourite")

    expect(visitor.page.locator(".no-match")).to_be_visible()


def test_a_finger_turns_to_the_next_picture_and_back_and_pulls_the_view_away(new_visitor: Come) -> None:
    visitor = new_visitor(PHONE)
    two_pictures(visitor)
    visitor.pictures.first.locator("a.sheet").tap()
    view = visitor.page.locator("dialog.view")
    expect(view).to_contain_text(GREEN_SQUARE)

    swipe(visitor.page, -150)
    expect(view).to_contain_text(RED_CIRCLE)
    swipe(visitor.page, 150)
    expect(view).to_contain_text(GREEN_SQUARE)
    swipe(visitor.page, 0, down=200)
    expect(view).to_be_hidden()


def test_a_new_card_out_of_sight_is_said_and_a_press_shows_it(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        for at in range(6):
            client.wait(client.submit(f"{GREEN_SQUARE}, number {at}", num_inference_steps=1).id)
        expect(visitor.cards).to_have_count(6)
        visitor.cards.last.scroll_into_view_if_needed()
        client.submit(RED_CIRCLE, num_inference_steps=1)

    visitor.page.get_by_role("button", name=f"Show it: {RED_CIRCLE}").click()

    expect(visitor.newest).to_be_in_viewport()
    expect(visitor.newest.locator(".prompt")).to_have_text(RED_CIRCLE)


def test_many_new_cards_are_said_at_once(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.ask_for(GREEN_SQUARE)
    visitor.expect_newest("succeeded")
    visitor.page.evaluate(HEAR_JS)
    darkroom.worker.send(signal.SIGSTOP)
    darkroom.page.send(signal.SIGSTOP)
    try:
        with as_visitor(darkroom, visitor) as client:
            for at in range(5):
                client.submit(f"{RED_CIRCLE}, number {at}", num_inference_steps=1)
        darkroom.page.send(signal.SIGCONT)
        expect(visitor.cards).to_have_count(6)
    finally:
        darkroom.page.send(signal.SIGCONT)
        darkroom.worker.send(signal.SIGCONT)
    expect(visitor.page.locator("#feed > li.card.succeeded")).to_have_count(6)

    heard: list[str] = visitor.page.evaluate("window.heard")
    assert sum("new requests" in line for line in heard) == 1
    assert not any("Accepted: a" in line or "Show it" in line for line in heard)


def test_a_picture_that_is_pasted_gives_its_settings_back(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    file = visitor.pictures.first.get_attribute("data-file")
    visitor.prompt.fill("something else")

    visitor.page.evaluate(PASTE_JS, file)

    expect(visitor.prompt).to_have_value(RED_CIRCLE)


def test_a_picture_that_lost_its_settings_on_the_clipboard_says_what_to_do(visitor: Visitor) -> None:
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.prompt.fill("something else")

    visitor.page.evaluate(COPY_JS, visitor.pictures.first.get_attribute("data-file"))
    visitor.prompt.press("Control+v")

    toast(visitor, "use the original file")
    expect(visitor.prompt).to_have_value("something else")
