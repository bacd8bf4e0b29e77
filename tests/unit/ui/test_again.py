"""A job asked for again: the same once more, a variation of a picture, its settings back in the form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.contract import JobBody, job_body
from tests.unit.shared.test_contract import JOB
from tests.unit.ui.test_form import SDXL, STYLES, body, form
from ui.again import again_of, form_of, variation_of
from ui.fitting import Fitted, reused
from ui.form import FIELDS, request_of
from ui.styles import Styles

CARD = body(SDXL)
SEED = 41


def job(**said: object) -> JobBody:
    """The job that came of a form."""
    request = request_of(form(SDXL, None, seed=SEED, seed_locked=True, **said), STYLES)
    params = request.resolve(SDXL, drawn_seed=1)
    drawn = replace(JOB, pool=SDXL.id, params=params, metadata=dict(request.metadata), lane=request.lane)
    return job_body(drawn, now_ms=JOB.created_at_ms)


def back(asked: JobBody, index: int = 0, styles: Styles = STYLES) -> Fitted:
    return reused(asked, index, (CARD,), CARD, styles)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"style": "oil", "prompt": "a fox", "negative_prompt": "ugly"},
        {"style": "ink", "prompt": "fox " * 200, "negative_prompt": ""},
        {"size": "768x1344", "output_format": "webp", "output_size": "512x512", "num_images": 3},
        {"exact": True, "width": 640, "height": 576},
        {"preset": "fast", "num_inference_steps": 4, "guidance_scale": 1.0, "scheduler": "lcm"},
        {"preset": "draft"},
    ],
    ids=lambda said: "-".join(said) or "untouched",
)
def test_reuse_gives_back_what_was_typed_and_asks_for_the_same(said: dict[str, object]) -> None:
    asked = job(**said)

    taken = back(asked)
    shown = {field: taken.controls[field].value for field in FIELDS}

    assert taken.notes == ()
    assert [(field, shown[field]) for field in said] == [
        (field, value.strip() if isinstance(value, str) else value) for field, value in said.items()
    ]
    assert request_of(shown, STYLES).resolve(SDXL, drawn_seed=1) == asked.params


def test_reuse_of_a_later_picture_takes_its_seed() -> None:
    shown = back(job(num_images=3), index=2).controls

    assert (shown["seed"].value, shown["seed_locked"].value) == (SEED + 2, True)


def test_a_style_that_is_gone_leaves_the_whole_prompt_that_was_drawn() -> None:
    asked = job(style="oil", prompt="a fox")

    shown = form_of(asked, Styles({}))

    assert (shown["style"], shown["prompt"]) == ("", asked.params.prompt)


def test_again_is_the_same_with_another_seed() -> None:
    asked = job(style="oil", prompt="a fox", num_images=2, preset="fast", scheduler="lcm", guidance_scale=1.0)

    again = again_of(asked)
    drawn = again.resolve(SDXL, drawn_seed=7)

    assert again.seed is None
    assert again.metadata == asked.metadata
    assert drawn.model_copy(update={"seed": SEED, "deterministic": True}) == asked.params


def test_again_of_a_variation_varies_the_same_picture_as_much_and_otherwise() -> None:
    asked = job(num_images=2)
    params = asked.params.model_copy(update={"variation_seed": 5, "variation_strength": 0.45, "deterministic": False})

    drawn = again_of(asked.model_copy(update={"params": params})).resolve(SDXL, drawn_seed=7)

    assert drawn.variation_seed not in {5, None}
    assert drawn.model_copy(update={"variation_seed": 5}) == params


def test_a_variation_keeps_the_pictures_seed_beside_its_own() -> None:
    request = variation_of(job(num_images=3), 1, variation_seed=5, strength=0.15).model_dump()

    assert (request["seed"], request["variation_seed"], request["variation_strength"]) == (SEED + 1, 5, 0.15)
    assert request["num_images"] == 3


def test_reuse_of_a_variation_says_that_its_seed_alone_draws_another_picture() -> None:
    asked = job()
    varied = asked.params.model_copy(update={"variation_seed": 5, "variation_strength": 0.15})

    (note,) = back(asked.model_copy(update={"params": varied})).notes

    assert f"a variation of the picture of seed {SEED}" in note
