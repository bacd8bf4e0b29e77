"""Whoever hears the page, or sees it badly, can use it: axe-core looks over each of its states, in both themes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import DESKTOP, OPERATOR_KEY, PHONE
from tests.e2e.visitor import Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

Come = Callable[..., Visitor]
AXE: Final = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
AXE_JS: Final = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return {
    checked: found.passes.length,
    faults: found.violations.map((rule) => `${rule.impact} ${rule.id}: ${rule.nodes.map((node) => node.html)}`),
  };
}"""
LEAST_CHECKED: Final = 15
"""Rules that have something to judge in every state of the page."""

in_both_themes = pytest.mark.parametrize("theme", ["darkroom", "daylight"])


def come(new_visitor: Come, theme: str, size: tuple[int, int] = DESKTOP) -> Visitor:
    """Open the page in a theme."""
    visitor = new_visitor(size)
    if theme == "daylight":
        visitor.page.locator('[data-do="theme"]').click()
        expect(visitor.page.locator("html")).to_have_class("light")
    return visitor


def faults(page: Page) -> list[str]:
    """Have axe-core look over the page as it stands."""
    page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate(AXE_JS)
    assert found["checked"] >= LEAST_CHECKED
    return found["faults"]


@in_both_themes
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_feed_has_no_fault(new_visitor: Come, theme: str, size: tuple[int, int]) -> None:
    visitor = come(new_visitor, theme, size)
    visitor.ask_for("a red circle on a blue background")
    visitor.expect_newest("succeeded")
    assert faults(visitor.page) == []


@in_both_themes
def test_a_picture_in_full_has_no_fault(new_visitor: Come, theme: str) -> None:
    visitor = come(new_visitor, theme)
    visitor.ask_for("a yellow star on a black background")
    visitor.expect_newest("succeeded")
    visitor.pictures.first.locator('[data-do="open"]').click()
    expect(visitor.page.locator("dialog.view")).to_be_visible()
    assert faults(visitor.page) == []


@in_both_themes
def test_a_form_with_problems_has_no_fault(new_visitor: Come, theme: str) -> None:
    visitor = come(new_visitor, theme)
    visitor.open_more()
    visitor.set_number("seed", -5)
    visitor.generate.click()
    expect(visitor.problem("prompt")).to_be_visible()
    expect(visitor.problem("seed")).to_be_visible()
    assert faults(visitor.page) == []


@in_both_themes
def test_the_operators_tab_has_no_fault(new_visitor: Come, theme: str) -> None:
    page = come(new_visitor, theme).page
    page.get_by_role("button", name="Sign in").click()
    page.locator("#sign-in-key").fill(OPERATOR_KEY)
    page.locator("#sign-in-key").press("Enter")
    page.get_by_role("button", name="Sign out").wait_for()
    page.get_by_role("tab", name="Operators").click()
    expect(page.locator("#board-fleet tbody tr")).to_have_count(1)
    assert faults(page) == []


def test_forced_colours_draw_lines_where_backgrounds_told_things_apart(visitor: Visitor) -> None:
    page = visitor.page
    page.emulate_media(forced_colors="active")
    visitor.open_more()
    visitor.ask_for("a red circle on a blue background")
    visitor.expect_newest("succeeded")

    for what in ("#generate", "#dice", "#num_images input[type=range]", "#tokens-prompt .bar"):
        expect(page.locator(what)).to_have_css("border-top-style", "solid")
        expect(page.locator(what)).not_to_have_css("border-top-width", "0px")
    chosen, other = (page.locator(f"#size label:{which}").first for which in ("has(:checked)", "not(:has(:checked))"))
    assert border(chosen) != border(other)
    radio, others = (page.locator(f"#preset input:{which}").first for which in ("checked", "not(:checked)"))
    assert border(radio) != border(others)


def border(what: Locator) -> str:
    """Its colour, as it is drawn."""
    return str(what.evaluate("element => getComputedStyle(element).borderTopColor"))
