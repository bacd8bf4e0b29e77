"""A visitor asks for pictures, watches them, keeps them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import expect

from shared.client import Client
from tests.e2e.conftest import DESKTOP, GRACE_S, PHONE, SMALL_PHONE, Darkroom
from tests.e2e.visitor import MANY, Visitor

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Come = Callable[..., Visitor]
MOST_STEPS = 100
RED_CIRCLE = "a red circle on a blue background"
COUNT_PRESSES_JS = """() => {
  window.presses = 0;
  document.querySelector("#generate").addEventListener("click", () => (window.presses += 1));
}"""


def infotext(png: bytes) -> str:
    """Read the parameters that a PNG carries."""
    with Image.open(io.BytesIO(png)) as image:
        return str(image.info["parameters"])


@pytest.mark.parametrize("size", [DESKTOP, PHONE, SMALL_PHONE], ids=["desktop", "phone", "small_phone"])
def test_a_prompt_becomes_a_picture_and_the_gateways_very_file(
    new_visitor: Come, darkroom: Darkroom, tmp_path: Path, size: tuple[int, int]
) -> None:
    visitor = new_visitor(size)
    expect(visitor.notices).to_contain_text("Demo model")
    visitor.prompt.fill(RED_CIRCLE)
    visitor.prompt.press("Control+Enter")
    visitor.expect_tray("succeeded")

    name, data = visitor.download(0, tmp_path)

    with Client(darkroom.gateway_url, api_key=darkroom.page_key) as client:
        assert data == client.image(visitor.job_id(), 0)
    assert data.startswith(b"\x89PNG")
    assert RED_CIRCLE.encode() in data, "the parameters are inside"
    assert name == f"darkroom-{visitor.job_id()}-0.png"
    expect(visitor.pictures).to_have_js_property("complete", value=True)
    assert visitor.pictures.evaluate("image => image.naturalWidth") > 0
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= size[0], "nothing to scroll sideways"


def test_progress_previews_and_each_picture_as_it_is_done(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE)

    visitor.expect_tray("running")
    expect(visitor.page.locator("#tray .headline")).to_contain_text("Drawing: step")
    expect(visitor.page.locator("#tray img.preview")).to_be_visible()
    expect(visitor.pictures.first).to_be_visible()
    visitor.expect_tray("succeeded")
    expect(visitor.pictures).to_have_count(MANY)


def test_a_preset_shows_what_it_stands_for(visitor: Visitor) -> None:
    steps = visitor.number("num_inference_steps")
    expect(visitor.preset("Quality")).to_be_checked()
    of_quality = steps.input_value()

    visitor.preset("Fast").check()

    expect(steps).not_to_have_value(of_quality)
    visitor.prompt.fill(RED_CIRCLE)
    visitor.generate.click()
    visitor.expect_tray("succeeded")
    visitor.preset("Quality").check()
    expect(steps).to_have_value(of_quality)


def test_an_example_fills_the_prompt(visitor: Visitor) -> None:
    example = visitor.page.locator("#examples button").first
    words = example.inner_text()

    example.click()

    expect(visitor.prompt).to_have_value(words)


def test_the_same_seed_draws_the_same_file_again(visitor: Visitor, tmp_path: Path) -> None:
    visitor.prompt.fill(RED_CIRCLE)
    visitor.page.locator("#dice").click()
    expect(visitor.number("seed")).not_to_have_value("")
    visitor.page.locator("#seed input").fill("")
    visitor.generate.click()
    visitor.expect_tray("succeeded")
    (_, first), first_id = visitor.download(0, tmp_path), visitor.job_id()

    visitor.page.locator("#tray button.seed").click()
    expect(visitor.number("seed")).not_to_have_value("")
    visitor.generate.click()
    expect(visitor.page.locator(f'#tray img[src*="{first_id}"]')).to_have_count(0)
    visitor.expect_tray("succeeded")
    (_, second), second_id = visitor.download(0, tmp_path), visitor.job_id()

    assert first_id != second_id
    assert infotext(first) == infotext(second)
    assert first == second


def test_a_running_job_is_canceled(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE)
    visitor.expect_tray("running")

    visitor.cancel.click()

    visitor.expect_tray("canceled")
    expect(visitor.generate).to_be_enabled()
    expect(visitor.cancel).to_be_disabled()


def test_two_visitors_have_their_own_jobs_and_a_waiting_one_is_canceled(new_visitor: Come) -> None:
    one, other = new_visitor(), new_visitor(PHONE)
    one.number("seed").fill("7")  # it is drawn alone, or the other would join it
    one.ask_for_much(RED_CIRCLE)
    one.expect_tray("running")
    other.ask_for_much("a green square")
    other.expect_tray("queued")
    expect(other.page.locator("#tray .headline")).to_contain_text("You are next")

    other.cancel.click()

    other.expect_tray("canceled")
    expect(other.page.locator("#tray .parameters")).to_contain_text("a green square")
    expect(one.page.locator("#tray .parameters")).to_contain_text(RED_CIRCLE)
    one.expect_tray("succeeded")


def test_what_is_wrong_stands_under_the_form_and_nothing_is_sent(visitor: Visitor) -> None:
    visitor.prompt.fill("   ")
    visitor.number("seed").fill("99999999999")

    visitor.generate.click()

    expect(visitor.problems).to_have_count(2)
    expect(visitor.problems.nth(0)).to_contain_text("Prompt")
    expect(visitor.problems.nth(1)).to_contain_text("Seed")
    visitor.expect_tray("empty")
    visitor.number("seed").fill("7")
    visitor.prompt.fill(RED_CIRCLE)
    visitor.generate.click()
    visitor.expect_tray("succeeded")
    expect(visitor.problems).to_have_count(0)


def test_a_reload_in_the_middle_loses_neither_the_job_nor_what_was_typed(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE)
    visitor.expect_tray("running")
    visitor.prompt.fill("typed meanwhile")

    visitor.page.reload()

    expect(visitor.prompt).to_have_value("typed meanwhile")
    expect(visitor.number("num_images")).to_have_value(str(MANY))
    expect(visitor.page.locator("#tray .parameters")).to_contain_text(RED_CIRCLE)
    visitor.expect_tray("succeeded")


def test_nothing_jumps_while_a_picture_is_drawn(visitor: Visitor) -> None:
    def places() -> list[FloatRect | None]:
        return [visitor.page.locator(what).bounding_box() for what in ("#generate", "#size", "#tray .sheet")]

    visitor.set_number("num_inference_steps", MOST_STEPS)  # one picture, and time to look while it is drawn
    visitor.prompt.fill(RED_CIRCLE)
    before = places()
    visitor.generate.click()
    visitor.expect_tray("running")
    while_drawn = places()
    visitor.expect_tray("succeeded")

    assert before == while_drawn == places()


def test_a_key_that_is_held_down_sends_once(visitor: Visitor) -> None:
    visitor.page.evaluate(COUNT_PRESSES_JS)
    visitor.prompt.fill(RED_CIRCLE)
    visitor.page.keyboard.down("Control")
    visitor.page.keyboard.down("Enter")
    visitor.expect_tray("succeeded")
    expect(visitor.generate).to_be_enabled()

    visitor.page.keyboard.down("Enter")  # again without `up`: as the keyboard repeats it

    assert visitor.page.evaluate("window.presses") == 1


def test_the_keyboard_is_enough(visitor: Visitor) -> None:
    visitor.prompt.focus()
    visitor.page.keyboard.type(RED_CIRCLE)
    for _ in range(2):
        visitor.page.keyboard.press("Tab")
    expect(visitor.generate).to_be_focused()

    visitor.page.keyboard.press("Enter")

    visitor.expect_tray("succeeded")


def test_a_gateway_that_restarts_is_seen_to_go_and_to_return(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.mark()
    darkroom.gateway.stop(GRACE_S)
    expect(visitor.notices).to_contain_text("The gateway does not answer.")
    visitor.prompt.fill(RED_CIRCLE)
    visitor.generate.click()
    expect(visitor.problems).to_contain_text("No answer")

    darkroom.start(darkroom.gateway)

    expect(visitor.notices).not_to_contain_text("does not answer")
    visitor.generate.click()
    visitor.expect_tray("succeeded")
    assert visitor.is_marked(), "the page was not reloaded"


def test_a_page_that_restarts_brings_everything_back(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.prompt.fill(RED_CIRCLE)
    visitor.generate.click()
    visitor.expect_tray("succeeded")
    picture = visitor.job_id()
    visitor.mark()
    darkroom.page.stop(GRACE_S)

    darkroom.start(darkroom.page)

    visitor.page.wait_for_function("window.marked === undefined")
    visitor.expect_tray("succeeded")
    assert visitor.job_id() == picture
    expect(visitor.prompt).to_have_value(RED_CIRCLE)
