"""The form: what a model lets it say, what is asked for, and that it finds what the gateway would find."""

from __future__ import annotations

import pytest

from shared.contract import MAX_METADATA_CHARS, JobRequest, ModelBody
from shared.errors import FieldError, InvalidRequest
from shared.generation import MAX_PROMPT_CHARS, MAX_SEED, ModelCard, Scheduler, Size
from tests.integration.serving import CARD
from ui.choices import controls_of, exact_words, nearest_shape, shapes_style
from ui.form import DESCRIBED, FIELDS, LABELS, SLOTS, Form, check, placed, request_of
from ui.styles import read_styles
from worker.engine.card import card_of
from worker.engine.source import SSD_1B, Source

STYLES = read_styles()
SDXL = card_of(Source(SSD_1B, "a" * 40, None))


def body(card: ModelCard) -> ModelBody:
    return ModelBody.model_validate({**card.model_dump(), "ready_workers": 1, "is_default": True})


def form(card: ModelCard = SDXL, draft: Form | None = None, /, **said: object) -> dict[str, object]:
    """An untouched form with a prompt, but for what is said."""
    controls = controls_of([body(card)], body(card), draft or {}, STYLES)
    return {field: controls[field].value for field in FIELDS} | {"prompt": "a fox"} | said


def wrong(card: ModelCard = SDXL, /, **said: object) -> dict[str, str]:
    return dict(check(form(card, **said), card, STYLES))


class TestFields:
    def test_every_control_has_a_name_for_people_and_every_slot_a_control(self) -> None:
        assert set(LABELS) == set(FIELDS)
        assert set(SLOTS) <= set(FIELDS)
        assert {field for names in DESCRIBED.values() for field in names} <= set(FIELDS)

    def test_every_control_begins_with_what_the_card_takes(self) -> None:
        for card in (SDXL, CARD):
            assert wrong(card) == {}
            request_of(form(card), STYLES).resolve(card, drawn_seed=1)


class TestRequest:
    def test_a_style_stands_around_the_texts_and_the_typed_ones_are_remembered(self) -> None:
        request = request_of(form(prompt="a fox", negative_prompt="ugly", style="oil"), STYLES)

        assert request.prompt.startswith("oil painting of a fox, ")
        assert request.negative_prompt is not None
        assert request.negative_prompt.startswith("ugly, photograph")
        assert request.metadata == {
            "darkroom.style": "oil",
            "darkroom.prompt": "a fox",
            "darkroom.negative_prompt": "ugly",
        }

    def test_without_a_style_nothing_is_added(self) -> None:
        request = request_of(form(prompt="a fox"), STYLES)

        assert (request.prompt, request.metadata) == ("a fox", {})

    def test_a_text_that_metadata_can_not_hold_is_left_out_of_it(self) -> None:
        request = request_of(form(prompt="x" * (MAX_METADATA_CHARS + 1), style="oil"), STYLES)

        assert request.metadata.keys() == {"darkroom.style", "darkroom.negative_prompt"}

    @pytest.mark.parametrize(
        ("seed", "locked", "asked"),
        [(7, True, 7), (7, False, None), (None, True, None), (-1, True, None), (0, True, 0)],
    )
    def test_a_seed_is_asked_for_only_while_it_is_locked(self, seed: object, locked: bool, asked: int | None) -> None:
        assert request_of(form(seed=seed, seed_locked=locked), STYLES).seed == asked

    def test_an_exact_size_stands_in_place_of_the_shape(self) -> None:
        exact = request_of(form(exact=True, width=640, height=576), STYLES)
        shaped = request_of(form(exact=False, width=640, height=576), STYLES)

        assert (exact.width, exact.height) == (640, 576)
        assert (shaped.width, shaped.height) == (1024, 1024)

    def test_a_style_that_is_gone_is_said(self) -> None:
        with pytest.raises(InvalidRequest, match="style: "):
            request_of(form(style="gone"), STYLES)


class TestCheck:
    @pytest.mark.parametrize(
        ("slot", "said"),
        [
            ("prompt", {"prompt": "  "}),
            ("prompt", {"prompt": " ", "style": "oil"}),
            ("prompt", {"prompt": "x" * (MAX_PROMPT_CHARS + 1)}),
            ("negative_prompt", {"negative_prompt": "x" * (MAX_PROMPT_CHARS + 1)}),
            ("style", {"style": "gone"}),
            ("size", {"size": "63x64"}),
            ("exact", {"exact": True, "width": 1000, "height": 1024}),
            ("exact", {"exact": True, "width": None, "height": 1024}),
            ("exact", {"exact": True, "width": 640.5, "height": 1024}),
            ("num_inference_steps", {"num_inference_steps": SDXL.max_steps + 1}),
            ("guidance_scale", {"guidance_scale": -1}),
            ("seed", {"seed": MAX_SEED + 1, "seed_locked": True}),
            ("seed", {"seed": 1.5, "seed_locked": True}),
            ("num_images", {"num_images": SDXL.max_images + 1}),
            ("scheduler", {"scheduler": "heun"}),
            ("preset", {"preset": "best"}),
            ("output_size", {"output_size": "8x8"}),
        ],
    )
    def test_what_is_wrong_is_said_in_its_own_place_and_only_there(self, slot: str, said: dict[str, object]) -> None:
        assert wrong(**said).keys() == {slot}

    def test_everything_wrong_is_said_at_once_also_beside_a_value_of_the_wrong_kind(self) -> None:
        assert wrong(prompt="", seed=1.5, seed_locked=True, num_images=99).keys() == {"prompt", "seed", "num_images"}

    def test_a_seed_that_is_not_asked_for_can_not_be_wrong(self) -> None:
        assert wrong(seed=MAX_SEED + 1, seed_locked=False) == {}

    def test_an_exact_sizes_problem_names_the_side(self) -> None:
        assert wrong(exact=True, width=None, height=64)["exact"].startswith("Width: ")

    @pytest.mark.parametrize("steps", [0, 1, 50, 51])
    @pytest.mark.parametrize("width", [24, 32, 60, 128, 136])
    @pytest.mark.parametrize("prompt", ["", "a fox"])
    def test_it_says_what_the_gateways_own_check_says(self, steps: int, width: int, prompt: str) -> None:
        asked = form(CARD, exact=True, width=width, height=64, num_inference_steps=steps, prompt=prompt)
        try:
            request_of(asked, STYLES).resolve(CARD, drawn_seed=3)
            refused: dict[str, str] = {}
        except InvalidRequest as error:
            refused = dict(placed(error.errors, asked).by_slot)

        assert check(asked, CARD, STYLES) == refused


class TestRefusals:
    def test_a_finding_goes_to_its_controls_slot_and_the_rest_under_the_button(self) -> None:
        errors = (
            FieldError("size", "No."),
            FieldError("output_size.width", "Too small."),
            FieldError("metadata.style", "Odd."),
            FieldError("seed", "First."),
            FieldError("seed", "Second."),
        )

        assert placed(errors, {}).by_slot == {"size": "No.", "output_size": "Too small.", "seed": "First."}
        assert placed(errors, {"exact": True}).by_slot["exact"] == "No."
        assert placed(errors, {}).rest == (FieldError("metadata.style", "Odd."),)


class TestControls:
    def test_a_demo_model_is_offered_no_styles(self) -> None:
        demo = CARD.model_copy(update={"is_demo": True})

        assert not controls_of([body(demo)], body(demo), {"model": CARD.id, "style": "oil"}, STYLES)["style"].is_offered
        assert form(demo, {"model": CARD.id, "style": "oil"})["style"] == ""
        assert form(CARD, {"model": CARD.id, "style": "oil"})["style"] == "oil"

    def test_exact_sizes_are_offered_within_the_cards_rule_or_not_at_all(self) -> None:
        ours = controls_of([body(SDXL)], body(SDXL), {}, STYLES)
        fixed = SDXL.model_copy(update={"custom_sizes": None})
        draft = {"model": SDXL.id, "exact": True, "width": 640}
        without = controls_of([body(fixed)], body(fixed), draft, STYLES)

        assert (ours["width"].minimum, ours["width"].maximum, ours["width"].step) == (512, 2048, 64)
        assert "512 to 2048 pixels in multiples of 64" in exact_words(SDXL)
        assert (without["exact"].is_offered, without["exact"].value, without["width"].value) == (False, False, 1024)
        assert exact_words(fixed) == ""

    def test_a_draft_from_before_there_was_a_lock_keeps_its_seed(self) -> None:
        old = {"model": SDXL.id, "prompt": "kept", "seed": 5, "num_inference_steps": 9, "unheard_of": [1]}

        assert (form(SDXL, old)["seed"], form(SDXL, old)["seed_locked"]) == (5, True)
        assert form(SDXL, {**old, "seed": None})["seed_locked"] is False
        assert form(SDXL, {**old, "seed_locked": False})["seed_locked"] is False

    @pytest.mark.parametrize("value", [None, "", "nonsense", 1e99, -1, [], {}, True])
    @pytest.mark.parametrize("field", FIELDS)
    def test_no_draft_can_make_a_form_that_the_card_does_not_take(self, field: str, value: object) -> None:
        draft: dict[str, object] = {"model": SDXL.id, field: value}
        said = form(SDXL, draft)

        found = check({**said, "prompt": "a fox"}, SDXL, STYLES)

        assert found.keys() <= {"seed"}, "a seed is kept as typed, and told"

    def test_shapes_are_drawn_to_scale_by_their_radios_values(self) -> None:
        style = shapes_style(SDXL)

        assert 'input[value="1024x1024"])::before{width:30px;height:30px}' in style
        assert 'input[value="1344x768"])::before{width:30px;height:17px}' in style
        assert style.count("::before") == len(SDXL.aspect_ratios)

    @pytest.mark.parametrize(
        ("size", "nearest"),
        [((512, 512), "1024x1024"), ((1920, 1080), "1344x768"), ((600, 900), "832x1216"), ((1, 9999), "640x1536")],
    )
    def test_the_nearest_shape_is_the_most_alike(self, size: tuple[int, int], nearest: str) -> None:
        assert str(nearest_shape(SDXL, Size(width=size[0], height=size[1]))) == nearest

    def test_the_output_size_of_a_restored_picture_becomes_a_choice(self) -> None:
        draft = {"model": SDXL.id, "output_size": "300x200"}

        assert form(SDXL, draft)["output_size"] == "300x200"
        assert form(SDXL, {**draft, "output_size": "99999x5"})["output_size"] == ""

    def test_a_presets_own_sampler_can_be_chosen_with_it(self) -> None:
        request: JobRequest = request_of(form(preset="fast", scheduler="lcm"), STYLES)

        assert Scheduler.LCM not in SDXL.schedulers
        assert request.scheduler is Scheduler.LCM
