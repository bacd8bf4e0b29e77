from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import InvalidRequest
from shared.generation import (
    MAX_SEED,
    AspectRatio,
    Defaults,
    GenerationRequest,
    ModelCard,
    OutputFormat,
    Scheduler,
    Size,
    SizeRule,
    clean_text,
)

NAMED = (
    AspectRatio(name="Square 1:1", size=Size(width=64, height=64)),
    AspectRatio(name="Wide 2:1", size=Size(width=96, height=48)),
)
DEFAULTS = Defaults(
    size=Size(width=64, height=64),
    num_inference_steps=20,
    guidance_scale=7.5,
    scheduler=Scheduler.EULER,
    negative_prompt="blurry",
)
CARD = ModelCard(
    id="test/card",
    title="Card",
    revision="0",
    description="For tests.",
    aspect_ratios=NAMED,
    schedulers=(Scheduler.EULER, Scheduler.DDIM),
    defaults=DEFAULTS,
)
FREE = CARD.model_copy(update={"custom_sizes": SizeRule(min_side=32, max_side=128, multiple_of=8, max_pixels=64 * 128)})


def wrong(card: ModelCard = CARD, **fields: object) -> set[str]:
    request = GenerationRequest.model_validate({"prompt": "x", **fields})
    with pytest.raises(InvalidRequest) as caught:
        request.resolve(card, drawn_seed=1)
    return {error.field for error in caught.value.errors}


class TestResolve:
    def test_what_is_absent_comes_from_the_card(self) -> None:
        params = GenerationRequest(prompt=" x ").resolve(CARD, drawn_seed=11)

        assert params.prompt == "x"
        assert params.size == DEFAULTS.size
        assert params.num_inference_steps == DEFAULTS.num_inference_steps
        assert params.guidance_scale == DEFAULTS.guidance_scale
        assert params.scheduler == DEFAULTS.scheduler
        assert params.negative_prompt == DEFAULTS.negative_prompt
        assert params.seed == 11

    def test_what_is_said_stands_even_where_it_is_nothing(self) -> None:
        params = GenerationRequest(prompt="x", negative_prompt="", guidance_scale=0, seed=0).resolve(CARD, drawn_seed=9)

        assert (params.negative_prompt, params.guidance_scale, params.seed) == ("", 0, 0)

    def test_every_wrong_field_is_told_at_once(self) -> None:
        said: dict[str, object] = {
            "prompt": " \n",
            "width": 65,
            "height": 64,
            "num_inference_steps": 0,
            "guidance_scale": 31,
            "seed": MAX_SEED + 1,
            "num_images": 9,
            "scheduler": "lcm",
            "output_size": {"width": 15, "height": 64},
        }

        assert wrong(CARD, **said) == (set(said) - {"width", "height"}) | {"size"}

    @pytest.mark.parametrize(("seed", "index", "drawn"), [(0, 3, 3), (MAX_SEED, 0, MAX_SEED), (MAX_SEED, 2, 1)])
    def test_each_picture_has_a_seed_of_its_own(self, seed: int, index: int, drawn: int) -> None:
        params = GenerationRequest(prompt="x", seed=seed).resolve(CARD, drawn_seed=0)

        assert params.seed_of(index) == drawn

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_guidance_is_a_finite_number(self, value: float) -> None:
        with pytest.raises(ValidationError):
            GenerationRequest(prompt="x", guidance_scale=value)


class TestSizes:
    @pytest.mark.parametrize("ratio", NAMED)
    def test_named_sizes_are_drawn(self, ratio: AspectRatio) -> None:
        assert CARD.allows(ratio.size)
        assert FREE.allows(ratio.size)

    def test_without_a_rule_nothing_else_is(self) -> None:
        assert wrong(width=48, height=96) == {"size"}

    @pytest.mark.parametrize(
        ("width", "height", "allowed"),
        [
            (32, 32, True),
            (128, 64, True),
            (128, 72, False),  # too many pixels
            (24, 64, False),
            (136, 32, False),
            (33, 64, False),
        ],
    )
    def test_a_rule_allows_what_keeps_it(self, width: int, height: int, allowed: bool) -> None:
        assert FREE.allows(Size(width=width, height=height)) is allowed

    def test_half_a_size_is_none(self) -> None:
        assert wrong(width=64) == {"height"}
        assert wrong(height=64) == {"width"}

    def test_the_message_says_what_is_drawn(self) -> None:
        with pytest.raises(InvalidRequest, match=r"64x64, 96x48, or sides from 32 to 128 in multiples of 8"):
            GenerationRequest(prompt="x", width=1, height=1).resolve(FREE, drawn_seed=0)


class TestCleanText:
    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            ("  a  b\t c ", "a b c"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("\x00a\x1b[31m\x7f", "a[31m"),
            ("a\u202eb\u200bc\ufeff", "abc"),
            ("e\u0301", "é"),
            ("👩\u200d🚀", "👩\u200d🚀"),
            ("\ud800a\udfff", "a"),
            ("猫\u3000犬", "猫\u3000犬"),
        ],
    )
    def test_examples(self, text: str, clean: str) -> None:
        assert clean_text(text) == clean

    @settings(deadline=None)
    @given(st.text(alphabet=st.characters(), max_size=200))
    def test_cleaning_is_done_after_once_and_leaves_no_controls(self, text: str) -> None:
        clean = clean_text(text)

        assert clean_text(clean) == clean
        assert clean == clean.strip()
        assert all(char == "\n" or unicodedata.category(char) not in {"Cc", "Cs"} for char in clean)


def test_formats_know_their_types_and_endings() -> None:
    assert [(one.media_type, one.suffix) for one in OutputFormat] == [
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("image/webp", "webp"),
    ]
