"""A visitor asks for pictures, watches them, keeps them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from PIL import Image
from playwright.sync_api import expect

from shared.errors import JobNotFound
from tests.e2e.conftest import DESKTOP, GRACE_S, PHONE, SMALL_PHONE, Darkroom, as_visitor
from tests.e2e.visitor import MANY, Visitor

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Route

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Come = Callable[..., Visitor]
MOST_STEPS = 100
RED_CIRCLE = "a red circle on a blue background"
GREEN_SQUARE = "a green square on a white background"
MOST_SHIFTED: Final = 0.05
"""Half of what is called good at https://web.dev/articles/cls; Gradio's word that it loads moves a little."""
WATCH_SHIFTS_JS = """
window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map(({ value }) => value)))
  .observe({ type: "layout-shift", buffered: true });
"""
TYPE_AND_RELOAD_JS = """(values) => {
  const setItem = Storage.prototype.setItem;
  Storage.prototype.setItem = function (name, value) {
    if (name !== "darkroom.form") setItem.call(this, name, value);
  };
  for (const [where, value] of Object.entries(values)) {
    const box = document.querySelector(where);
    box.value = value;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  location.reload();
}"""
"""As on a machine so slow that the page is gone before Gradio has kept what was typed."""
DROP_JS = """async (file) => {
  const bytes = await (await fetch(file)).blob();
  const data = new DataTransfer();
  data.items.add(new File([bytes], "picture.png", { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def leave(_route: Route) -> None:
    """Hold a request."""


def infotext(png: bytes) -> str:
    """Read the parameters that a PNG carries."""
    with Image.open(io.BytesIO(png)) as image:
        return str(image.info["parameters"])


PRESS_EACH: Final = """async (what) => {
  for (const one of document.querySelectorAll(what)) {
    one.click();
    await new Promise(requestAnimationFrame);
  }
}"""
"""As fast as the page can draw."""


@pytest.mark.parametrize("size", [DESKTOP, PHONE, SMALL_PHONE], ids=["desktop", "phone", "small_phone"])
def test_a_prompt_becomes_a_picture_and_the_gateways_very_file(
    new_visitor: Come, darkroom: Darkroom, tmp_path: Path, size: tuple[int, int]
) -> None:
    visitor = new_visitor(size)
    expect(visitor.page.locator("#served")).to_contain_text("Draws simple shapes")
    visitor.prompt.fill(RED_CIRCLE)
    visitor.prompt.press("Control+Enter")
    visitor.expect_newest("succeeded")

    name, data = visitor.download(0, tmp_path)

    with as_visitor(darkroom, visitor) as client:
        assert data == client.image(visitor.job_id(), 0)
    assert data.startswith(b"\x89PNG")
    assert RED_CIRCLE.encode() in data, "the parameters are inside"
    assert name == f"darkroom-{visitor.job_id()}-0.png"
    thumbnail = visitor.pictures.locator("img")
    expect(thumbnail).to_have_js_property("complete", value=True)
    assert thumbnail.evaluate("image => image.naturalWidth") > 0
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= size[0], "nothing to scroll sideways"


def test_progress_previews_and_each_picture_as_it_is_done(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE)

    visitor.expect_newest("running")
    expect(visitor.newest.locator(".headline")).to_contain_text("Drawing: step")
    expect(visitor.newest.locator("img.preview")).to_be_visible()
    expect(visitor.pictures.first).to_be_visible()
    visitor.expect_newest("succeeded")
    expect(visitor.pictures).to_have_count(MANY)


def test_who_runs_nothing_sees_no_tabs(visitor: Visitor) -> None:
    expect(visitor.page.locator("#rooms")).to_be_visible()
    expect(visitor.page.locator('#rooms [role="tab"]:visible')).to_have_count(0)


def test_several_jobs_stand_in_the_feed_at_once_and_each_is_canceled_by_itself(visitor: Visitor) -> None:
    visitor.lock_seed(7)  # it is drawn alone: what comes later waits
    visitor.set_number("num_images", MANY)
    visitor.set_number("num_inference_steps", MOST_STEPS)
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("running")
    visitor.ask_for(GREEN_SQUARE)
    expect(visitor.cards).to_have_count(2)
    expect(visitor.newest.locator(".headline")).to_contain_text("You are next")

    visitor.press("cancel")
    visitor.expect_newest("canceled")
    expect(visitor.cards.nth(1)).to_have_attribute("data-status", "running")
    visitor.press("cancel", visitor.cards.nth(1))

    expect(visitor.cards.nth(1)).to_have_attribute("data-status", "canceled")


def test_presses_in_quick_succession_are_all_heard(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        for seed in range(4):  # drawn alone, one after the other
            client.submit(RED_CIRCLE, num_inference_steps=40, num_images=4, seed=seed, reuse=False)
    expect(visitor.cards).to_have_count(4)

    visitor.page.evaluate(PRESS_EACH, "#feed [data-do=cancel]")

    expect(visitor.page.locator("#feed > li.card.canceled")).to_have_count(4)


def test_a_preset_shows_what_it_stands_for(visitor: Visitor) -> None:
    visitor.open_more()
    steps = visitor.number("num_inference_steps")
    expect(visitor.preset("Quality")).to_be_checked()
    of_quality = steps.input_value()

    visitor.preset("Fast").check()

    expect(steps).not_to_have_value(of_quality)
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.preset("Quality").check()
    expect(steps).to_have_value(of_quality)


def test_an_example_fills_the_prompt(visitor: Visitor) -> None:
    example = visitor.page.locator("#examples button").first
    words = example.inner_text()

    example.click()

    expect(visitor.prompt).to_have_value(words)


def test_tokens_are_counted_as_one_types(visitor: Visitor) -> None:
    line = visitor.page.locator("#tokens-prompt")

    visitor.prompt.fill(RED_CIRCLE)
    expect(line).to_contain_text("of 75 tokens")
    visitor.prompt.fill("a red circle and a blue square, " * 60)

    expect(line).to_contain_text("The end is not read")


def test_tokens_are_counted_once_the_keys_rest(visitor: Visitor) -> None:
    counts: list[str] = []
    typed = f'"{RED_CIRCLE[:2]}'
    visitor.page.on(
        "request", lambda request: counts.append(request.url) if typed in (request.post_data or "") else None
    )

    visitor.prompt.press_sequentially(RED_CIRCLE, delay=20)
    expect(visitor.page.locator("#tokens-prompt")).to_contain_text("of 75 tokens")

    assert 1 <= len(counts) < len(RED_CIRCLE) / 2


def test_the_same_seed_draws_the_same_file_again_and_another_one_another(visitor: Visitor, tmp_path: Path) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    (_, first), first_id = visitor.download(0, tmp_path), visitor.job_id()

    visitor.press("reuse")
    visitor.open_more()
    expect(visitor.page.locator("#seed_locked input")).to_be_checked()
    visitor.generate.click()
    expect(visitor.cards).to_have_count(2)
    visitor.expect_newest("succeeded")
    (_, second), second_id = visitor.download(0, tmp_path), visitor.job_id()
    visitor.press("again")
    expect(visitor.cards).to_have_count(3)
    visitor.expect_newest("succeeded")
    _, third = visitor.download(0, tmp_path)

    assert first_id != second_id
    assert infotext(first) == infotext(second)
    assert first == second
    assert third != first


def test_a_picture_is_varied(visitor: Visitor, tmp_path: Path) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    _, first = visitor.download(0, tmp_path)

    visitor.press("vary-subtle")

    expect(visitor.cards).to_have_count(2)
    visitor.expect_newest("succeeded")
    _, varied = visitor.download(0, tmp_path)
    assert "Variation seed strength" in infotext(varied)
    assert "Variation seed" not in infotext(first)


def test_a_dropped_picture_gives_its_settings_back(visitor: Visitor) -> None:
    visitor.open_more()
    visitor.set_number("num_inference_steps", 9)
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    seed = visitor.pictures.first.get_attribute("data-seed") or ""
    visitor.set_number("num_inference_steps", 12)
    visitor.prompt.fill("something else")

    visitor.page.evaluate(DROP_JS, visitor.pictures.first.get_attribute("data-file"))

    expect(visitor.prompt).to_have_value(RED_CIRCLE)
    expect(visitor.number("num_inference_steps")).to_have_value("9")
    expect(visitor.number("seed")).to_have_value(seed)


def test_the_full_view_goes_through_all_pictures_and_closes(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.ask_for(GREEN_SQUARE)
    visitor.expect_newest("succeeded")

    visitor.pictures.first.locator("a.sheet").click()
    view = visitor.page.locator("dialog[open]")
    expect(view).to_contain_text(GREEN_SQUARE)
    visitor.page.keyboard.press("ArrowRight")
    expect(view).to_contain_text(RED_CIRCLE)
    visitor.page.keyboard.press("Escape")

    expect(view).to_have_count(0)


def test_delete_asks_first_and_then_really_deletes(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    job_id = visitor.job_id()

    visitor.press("delete")
    visitor.page.locator("dialog[open]").get_by_role("button", name="Delete").click()

    expect(visitor.cards).to_have_count(0)
    with as_visitor(darkroom, visitor) as client, pytest.raises(JobNotFound):
        client.job(job_id)


def test_favourites_and_search_find_pictures(visitor: Visitor) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    visitor.press("favourite")
    visitor.ask_for(GREEN_SQUARE)
    visitor.expect_newest("succeeded")

    visitor.page.locator('[data-do="only-favourites"]').click()
    expect(visitor.page.locator("#feed > li.card:visible")).to_have_count(1)
    expect(visitor.page.locator("#feed > li.card:visible .prompt")).to_have_text(RED_CIRCLE)
    visitor.page.locator('[data-do="only-favourites"]').click()
    expect(visitor.page.locator("#feed > li.card:visible")).to_have_count(2)
    visitor.page.locator('[data-do="search"]').fill("green")

    expect(visitor.page.locator("#feed > li.card:visible .prompt")).to_have_text(GREEN_SQUARE)


def test_a_search_finds_what_the_card_does_not_say(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        client.wait(client.submit(RED_CIRCLE, metadata={"project": "poster"}).id)
        client.wait(client.submit(GREEN_SQUARE).id)
    expect(visitor.page.locator("#feed > li.card:visible")).to_have_count(2)

    visitor.page.locator('[data-do="search"]').fill("poster")

    expect(visitor.page.locator("#feed > li.card:visible .prompt")).to_have_text(RED_CIRCLE)
    visitor.page.locator('[data-do="search"]').fill("nobody wrote this")
    expect(visitor.page.locator(".no-match")).to_be_visible()


def test_thirty_jobs_are_shown_and_older_ones_when_asked(visitor: Visitor, darkroom: Darkroom) -> None:
    with as_visitor(darkroom, visitor) as client:
        jobs = [client.submit(f"a red circle, number {at}", num_inference_steps=1, seed=at) for at in range(30)]
        for job in jobs:
            client.wait(job.id)

    expect(visitor.cards).to_have_count(24)
    visitor.page.locator('[data-do="more"]').click()

    expect(visitor.cards).to_have_count(30)
    expect(visitor.cards.last.locator(".prompt")).to_have_text("a red circle, number 0")


def test_a_running_job_is_canceled(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE)
    visitor.expect_newest("running")

    visitor.press("cancel")

    visitor.expect_newest("canceled")
    expect(visitor.generate).to_be_enabled()


def test_two_visitors_see_their_own_jobs_alone(new_visitor: Come) -> None:
    one, other = new_visitor(), new_visitor(PHONE)
    one.ask_for(RED_CIRCLE)
    one.expect_newest("succeeded")
    other.ask_for(GREEN_SQUARE)
    other.expect_newest("succeeded")
    path = one.pictures.first.get_attribute("data-file") or ""

    expect(one.cards).to_have_count(1)
    expect(other.cards).to_have_count(1)
    assert other.page.request.get(f"{other.page.url}{path}").status == 404
    assert one.page.request.get(f"{one.page.url}{path}").status == 200


def test_another_tab_of_the_same_browser_has_the_same_pictures(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE, steps=100)  # the other tab has to open meanwhile
    tab = Visitor(visitor.page.context.new_page(), visitor.page.url)

    tab.open()

    expect(tab.newest.locator(".prompt")).to_have_text(RED_CIRCLE)
    tab.press("cancel")
    visitor.expect_newest("canceled")


def test_what_is_wrong_stands_beside_its_control_and_nothing_is_sent(visitor: Visitor) -> None:
    visitor.open_more()
    visitor.prompt.fill("   ")
    visitor.set_number("seed", 99_999_999_999)

    visitor.generate.click()

    expect(visitor.problem("prompt")).to_contain_text("empty")
    expect(visitor.problem("seed")).to_be_visible()
    expect(visitor.cards).to_have_count(0)
    visitor.set_number("seed", 7)
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    expect(visitor.problem("prompt")).to_have_count(0)
    expect(visitor.problem("seed")).to_have_count(0)


@pytest.mark.parametrize(
    ("field", "typed", "bounds"),
    [
        ("num_images", 99, "Must be from 1 to 8."),
        ("num_images", 0, "Must be from 1 to 8."),
        ("num_inference_steps", 400, "Must be from 1 to 100."),
        ("guidance_scale", 400, "Must be from 0 to 30."),
    ],
)
def test_a_number_out_of_bounds_is_not_changed_but_told_of(
    visitor: Visitor, field: str, typed: int, bounds: str
) -> None:
    visitor.open_more()
    before = visitor.number(field).input_value()

    visitor.set_number(field, typed)

    expect(visitor.problem(field)).to_have_text(bounds)
    visitor.prompt.fill(RED_CIRCLE)
    visitor.generate.click()
    expect(visitor.number(field)).to_have_value(str(typed))
    expect(visitor.problem(field)).to_have_text(bounds)
    expect(visitor.cards).to_have_count(0)
    visitor.set_number(field, int(before))
    expect(visitor.problem(field)).to_have_count(0)
    visitor.number(field).fill("")
    visitor.number(field).blur()
    expect(visitor.number(field)).to_have_value(before)


def test_a_reload_in_the_middle_loses_neither_the_job_nor_what_was_typed(visitor: Visitor) -> None:
    visitor.ask_for_much(RED_CIRCLE)
    visitor.expect_newest("running")
    visitor.prompt.fill("typed meanwhile")

    visitor.page.reload()

    expect(visitor.prompt).to_have_value("typed meanwhile")
    expect(visitor.number("num_images")).to_have_value(str(MANY))
    expect(visitor.newest.locator(".prompt")).to_have_text(RED_CIRCLE)
    visitor.expect_newest("succeeded")


def test_what_is_typed_in_the_very_moment_of_a_reload_is_kept(visitor: Visitor) -> None:
    texts = {"#prompt textarea": "half a thought", "#negative_prompt textarea": "no fog"}
    numbers = {"#num_images input[type=number]": "3"}

    for _ in range(2):  # the second time before a look has filled the form again
        with visitor.page.expect_navigation():
            visitor.page.evaluate(TYPE_AND_RELOAD_JS, texts | numbers)
        visitor.prompt.wait_for()
        visitor.page.reload()

        for box, value in (texts | numbers).items():
            expect(visitor.page.locator(box)).to_have_value(value)
        expect(visitor.generate).to_be_enabled()
        texts = {box: f"{value}, and more" for box, value in texts.items()}


def test_a_slow_first_look_overwrites_nothing_that_is_typed_meanwhile(visitor: Visitor) -> None:
    visitor.prompt.fill("of the last visit")
    expect(visitor.page.locator("#tokens-prompt")).to_contain_text("tokens")
    visitor.page.route("**/gradio_api/run/predict*", leave)
    visitor.page.reload()
    expect(visitor.prompt).to_have_value("of the last visit")

    visitor.prompt.fill("typed meanwhile")
    expect(visitor.page.locator("#negative_prompt textarea")).to_be_disabled()  # it may be the model's
    visitor.page.unroute("**/gradio_api/run/predict*")  # and what was held goes on

    expect(visitor.generate).to_be_enabled()
    expect(visitor.page.locator("#negative_prompt textarea")).to_be_enabled()
    expect(visitor.prompt).to_have_value("typed meanwhile")
    visitor.page.reload()
    expect(visitor.prompt).to_have_value("typed meanwhile")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_moves_as_the_page_loads(new_visitor: Come, size: tuple[int, int]) -> None:
    visitor = new_visitor(size)
    visitor.prompt.fill(RED_CIRCLE)
    page = visitor.page
    network = cast("Any", page.context.new_cdp_session(page))
    network.send("Network.enable")
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})  # as on a first visit
    page.add_init_script(WATCH_SHIFTS_JS)

    page.reload()

    expect(visitor.generate).to_be_enabled()
    expect(page.locator("#tokens-prompt")).to_contain_text("tokens")
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.evaluate("window.shifts.length") > 0, "the browser watches"
    assert page.evaluate("window.shifts.reduce((sum, value) => sum + value, 0)") < MOST_SHIFTED


def test_nothing_jumps_while_a_picture_is_drawn(visitor: Visitor) -> None:
    def places() -> list[FloatRect | None]:
        sheet = visitor.newest.locator(".sheet")
        return [place.bounding_box() for place in (visitor.generate, visitor.page.locator("#size"), sheet)]

    visitor.open_more()
    visitor.set_number("num_inference_steps", MOST_STEPS)  # one picture, and time to look while it is drawn
    visitor.ask_for(RED_CIRCLE)
    before = places()
    visitor.expect_newest("running")
    while_drawn = places()
    visitor.expect_newest("succeeded")

    assert before == while_drawn == places()


def test_the_keyboard_is_enough(visitor: Visitor) -> None:
    visitor.prompt.focus()
    visitor.page.keyboard.type(RED_CIRCLE)
    for _ in range(2):
        visitor.page.keyboard.press("Tab")
    expect(visitor.generate).to_be_focused()

    visitor.page.keyboard.press("Enter")

    visitor.expect_newest("succeeded")


def test_a_worker_that_is_killed_in_the_middle_loses_no_job(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.ask_for_much(RED_CIRCLE)
    visitor.expect_newest("running")

    darkroom.worker.kill()
    darkroom.start(darkroom.worker)

    visitor.expect_newest("succeeded")
    expect(visitor.pictures).to_have_count(MANY)


def test_a_gateway_that_restarts_is_seen_to_go_and_to_return(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.mark()
    darkroom.gateway.stop(GRACE_S)
    expect(visitor.notices).to_contain_text("The gateway does not answer.")
    visitor.prompt.fill(RED_CIRCLE)
    visitor.generate.click()
    expect(visitor.page.locator("#refusal")).to_contain_text("No answer")

    darkroom.start(darkroom.gateway)

    expect(visitor.notices).not_to_contain_text("does not answer")
    visitor.generate.click()
    visitor.expect_newest("succeeded")
    assert visitor.is_marked(), "the page was not reloaded"


def test_a_page_that_restarts_brings_everything_back(visitor: Visitor, darkroom: Darkroom) -> None:
    visitor.ask_for(RED_CIRCLE)
    visitor.expect_newest("succeeded")
    job_id = visitor.job_id()
    visitor.mark()
    darkroom.page.stop(GRACE_S)

    darkroom.start(darkroom.page)

    visitor.page.wait_for_function("window.marked === undefined")
    visitor.expect_newest("succeeded")
    assert visitor.job_id() == job_id
    expect(visitor.prompt).to_have_value(RED_CIRCLE)
