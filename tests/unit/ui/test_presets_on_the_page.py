"""The choice of a preset: what it fills in, and what is asked for then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.generation import ModelCard, Preset, Scheduler
from tests.integration.serving import CARD, Hand, Serving
from tests.unit.ui.pressing import form_of
from ui.choices import PRESET_SETS, values_of_preset
from ui.feed import Asked
from ui.form import request_of
from ui.handlers import Handlers, View
from ui.styles import Styles
from ui.visitors import Person

QUALITY = Preset(
    name="quality",
    title="Quality",
    description="All of it.",
    num_inference_steps=20,
    guidance_scale=5.0,
    scheduler=Scheduler.DDIM,
    negative_prompt="ugly",
)
FAST = Preset(
    name="fast",
    title="Fast",
    description="A few steps.",
    num_inference_steps=3,
    guidance_scale=1.0,
    guidance_cutoff=0.5,
    scheduler=Scheduler.LCM,
    adapter="some/lora@1",
)
PRESETTED: ModelCard = CARD.model_copy(update={"id": "test/presets", "presets": (QUALITY, FAST)})
NO_DRAFT: dict[str, object] = {}


Look = Callable[..., View]


@pytest.fixture
def look(handlers: Handlers, person: Person, hand: Hand, gateway: Serving) -> Look:
    """Open the page where a model with presets is served."""

    def opened(draft: dict[str, object], **defaults: object) -> View:
        hand.forget_all()
        card = PRESETTED.model_copy(update={"defaults": CARD.defaults.model_copy(update=defaults)})
        with Hand(gateway.settings, card):
            return handlers.look(person, View(), Asked(), draft)

    return opened


def test_the_presets_are_a_choice_and_the_cards_own_is_made(look: Look) -> None:
    controls = look(NO_DRAFT, preset="quality").controls

    assert controls["preset"].choices == (("Quality", "quality"), ("Fast", "fast"))
    assert controls["preset"].value == "quality"
    assert controls["scheduler"].choices == (("Euler", "euler"), ("DDIM", "ddim"), ("LCM", "lcm"))


def test_a_model_without_presets_offers_none(first: View) -> None:
    assert (first.controls["preset"].choices, first.controls["preset"].value) == ((), None)


def test_the_choice_of_this_browser_comes_back(look: Look) -> None:
    draft: dict[str, object] = {"model": PRESETTED.id, "preset": "fast", "num_inference_steps": 5, "scheduler": "lcm"}
    controls = look(draft, preset="quality").controls

    assert controls["preset"].value == "fast"
    assert (controls["num_inference_steps"].value, controls["scheduler"].value) == (5, "lcm")
    gone: dict[str, object] = {"model": PRESETTED.id, "preset": "best"}
    assert look(gone).controls["preset"].value is None


def test_choosing_one_fills_the_controls_and_they_beat_it(look: Look, styles: Styles) -> None:
    view = look(NO_DRAFT)
    card = view.card
    assert card is not None
    values = values_of_preset(card, "fast", card.defaults.negative_prompt)
    assert values.keys() == set(PRESET_SETS)
    assert values_of_preset(card, "best", "") == {}

    form = form_of(view, prompt="a fox", preset="fast", **values)
    plain = request_of(form, styles).resolve(PRESETTED, drawn_seed=1)
    more = request_of({**form, "num_inference_steps": 7}, styles).resolve(PRESETTED, drawn_seed=1)

    assert (plain.num_inference_steps, plain.scheduler, plain.negative_prompt) == (3, Scheduler.LCM, "")
    assert (plain.adapter, plain.guidance_cutoff) == ("some/lora@1", 0.5)
    assert more == plain.model_copy(update={"num_inference_steps": 7})


def test_a_negative_prompt_of_ones_own_outlives_the_choice(look: Look) -> None:
    card = look(NO_DRAFT).card
    assert card is not None

    assert "negative_prompt" not in values_of_preset(card, "fast", "hands")
    for told in ("", None, card.defaults.negative_prompt, *(preset.negative_prompt for preset in card.presets)):
        assert values_of_preset(card, "fast", told)["negative_prompt"] == ""


def test_it_is_said_which_presets_there_are(first: View, handlers: Handlers, person: Person) -> None:
    answer = handlers.generate(person, first.card, form_of(first, prompt="a fox", preset="fast"))

    assert answer.job is None
    assert "Tiny has none" in answer.problems.by_slot["preset"]
