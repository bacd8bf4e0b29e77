from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.batches import Line
from shared.errors import InvalidRequest
from shared.generation import (
    MAX_SEED,
    STRONG_VARIATION,
    SUBTLE_VARIATION,
    AspectRatio,
    Defaults,
    GenerationParams,
    GenerationRequest,
    ModelCard,
    OutputFormat,
    Preset,
    Scheduler,
    Size,
    SizeRule,
)
from shared.texts import clean_text

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
FAST = Preset(
    name="fast",
    title="Fast",
    description="A few steps.",
    num_inference_steps=6,
    guidance_scale=1.0,
    guidance_cutoff=0.5,
    scheduler=Scheduler.LCM,
    negative_prompt="ugly",
    adapter="some/lora@1",
)
SLOW = FAST.model_copy(
    update={"name": "slow", "guidance_scale": 9.0, "scheduler": Scheduler.DDIM, "adapter": None, "guidance_cutoff": 1.0}
)
PRESETTED = CARD.model_copy(update={"presets": (FAST, SLOW)})
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


class TestPresets:
    def test_a_preset_fills_what_is_absent(self) -> None:
        params = GenerationRequest(prompt="x", preset="fast").resolve(PRESETTED, drawn_seed=1)

        assert (params.preset, params.adapter) == ("fast", "some/lora@1")
        assert (params.num_inference_steps, params.guidance_scale, params.guidance_cutoff) == (6, 1.0, 0.5)
        assert (params.scheduler, params.negative_prompt) == (Scheduler.LCM, "ugly")
        assert params.size == DEFAULTS.size

    def test_what_is_said_beats_the_preset(self) -> None:
        params = GenerationRequest(
            prompt="x",
            preset="fast",
            num_inference_steps=3,
            guidance_scale=2.0,
            guidance_cutoff=0.0,
            scheduler=Scheduler.EULER,
            negative_prompt="",
        ).resolve(PRESETTED, drawn_seed=1)

        assert (params.preset, params.adapter) == ("fast", "some/lora@1")
        assert (params.num_inference_steps, params.guidance_scale, params.guidance_cutoff) == (3, 2.0, 0.0)
        assert (params.scheduler, params.negative_prompt) == (Scheduler.EULER, "")

    def test_without_a_preset_the_defaults_stand(self) -> None:
        params = GenerationRequest(prompt="x").resolve(PRESETTED, drawn_seed=1)

        assert (params.preset, params.adapter, params.guidance_cutoff) == (None, None, 1.0)
        assert params.num_inference_steps == DEFAULTS.num_inference_steps

    def test_a_card_may_have_a_default_preset(self) -> None:
        card = PRESETTED.model_copy(update={"defaults": DEFAULTS.model_copy(update={"preset": "slow"})})

        bare = GenerationRequest(prompt="x").resolve(card, drawn_seed=1)
        fast = GenerationRequest(prompt="x", preset="fast").resolve(card, drawn_seed=1)

        assert (bare.preset, bare.num_inference_steps, bare.guidance_scale) == ("slow", 6, 9.0)
        assert fast.preset == "fast"

    def test_an_unknown_preset_is_told_with_those_that_there_are(self) -> None:
        with pytest.raises(InvalidRequest, match=r"preset: Card has these: fast, slow\."):
            GenerationRequest(prompt="x", preset="best").resolve(PRESETTED, drawn_seed=0)
        with pytest.raises(InvalidRequest, match=r"preset: Card has none\."):
            GenerationRequest(prompt="x", preset="best").resolve(CARD, drawn_seed=0)

    def test_a_presets_scheduler_is_its_own(self) -> None:
        assert wrong(PRESETTED, preset="slow", scheduler="lcm") == {"scheduler"}

    def test_a_card_names_each_preset_once_and_its_default_among_them(self) -> None:
        with pytest.raises(ValidationError, match="same name"):
            ModelCard.model_validate({**CARD.model_dump(), "presets": [FAST, FAST]})
        with pytest.raises(ValidationError, match="default preset slow"):
            ModelCard.model_validate(
                {**CARD.model_dump(), "presets": [FAST], "defaults": {**DEFAULTS.model_dump(), "preset": "slow"}}
            )


class TestDeterministic:
    @pytest.mark.parametrize(("seed", "said", "is_so"), [(None, None, False), (0, None, True), (7, False, False)])
    def test_a_seed_asks_for_the_same_bytes_unless_the_request_says_otherwise(
        self, seed: int | None, *, said: bool | None, is_so: bool
    ) -> None:
        params = GenerationRequest(prompt="x", seed=seed, deterministic=said).resolve(CARD, drawn_seed=5)

        assert params.deterministic is is_so

    def test_it_can_be_asked_for_without_a_seed(self) -> None:
        assert GenerationRequest(prompt="x", deterministic=True).resolve(CARD, drawn_seed=5).deterministic


class TestVariations:
    def test_a_request_that_says_nothing_of_them_is_none(self) -> None:
        params = asked(seed=7)

        assert (params.variation_seed, params.variation_strength, params.is_variation) == (None, 0, False)
        assert (params.seed_of(2), params.variation_seed_of(2)) == (9, None)

    def test_all_pictures_of_a_job_vary_the_one_of_its_seed(self) -> None:
        params = asked(seed=7, variation_seed=MAX_SEED, variation_strength=0.2, num_images=3)

        assert params.is_variation
        assert [params.seed_of(index) for index in range(3)] == [7, 7, 7]
        assert [params.variation_seed_of(index) for index in range(3)] == [MAX_SEED, 0, 1]
        alone = params.alone(2)
        assert (alone.seed, alone.variation_seed, alone.num_images, alone.variation_strength) == (7, 1, 1, 0.2)
        assert (alone.seed_of(0), alone.variation_seed_of(0)) == (7, 1)

    @pytest.mark.parametrize("fields", [{}, {"seed": 7}, {"seed": 7, "num_images": 2}])
    def test_a_strength_without_a_variation_seed_has_one_drawn_that_is_not_the_seed(
        self, fields: dict[str, object]
    ) -> None:
        request = GenerationRequest.model_validate({"prompt": "x", "variation_strength": 0.3, **fields})
        params = [request.resolve(CARD, drawn_seed=drawn) for drawn in (1, 90, MAX_SEED)]

        assert [one.variation_seed for one in params] == [2, 91, 0]
        assert all(one.variation_seed != one.seed for one in params)

    def test_a_variation_seed_without_a_strength_is_subtle(self) -> None:
        assert asked(variation_seed=3).variation_strength == SUBTLE_VARIATION
        assert 0 < SUBTLE_VARIATION < STRONG_VARIATION < 1

    def test_strength_0_is_no_variation_whatever_the_variation_seed(self) -> None:
        assert asked(seed=7, variation_seed=3, variation_strength=0) == asked(seed=7)

    @pytest.mark.parametrize("strength", [-0.1, 1.1])
    def test_the_strength_is_a_share(self, strength: float) -> None:
        assert wrong(variation_strength=strength) == {"variation_strength"}

    @pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
    def test_the_variation_seed_is_a_seed(self, seed: int) -> None:
        assert wrong(variation_seed=seed) == {"variation_seed"}

    def test_they_cost_as_much_as_other_pictures(self) -> None:
        assert asked(variation_seed=3, num_images=2).cost == asked(num_images=2).cost

    def test_parameters_of_before_are_none(self) -> None:
        kept = asked(seed=7).model_dump(exclude={"variation_seed", "variation_strength"})

        assert GenerationParams.model_validate(kept) == asked(seed=7)


class TestGuidanceCutoff:
    @pytest.mark.parametrize("cutoff", [-0.1, 1.1])
    def test_it_is_a_share(self, cutoff: float) -> None:
        assert wrong(guidance_cutoff=cutoff) == {"guidance_cutoff"}

    @pytest.mark.parametrize(
        ("steps", "cutoff", "guided"),
        [(20, 1.0, 20), (20, 0.5, 11), (20, 0.0, 1), (7, 0.5, 4), (3, 0.99, 3), (1, 0.0, 1), (25, 0.4, 11)],
    )
    def test_the_first_steps_are_guided(self, steps: int, cutoff: float, guided: int) -> None:
        params = asked(num_inference_steps=steps, guidance_cutoff=cutoff)

        assert params.num_guided_steps == guided
        assert [params.is_guided_at(step) for step in range(steps)] == [True] * guided + [False] * (steps - guided)
        assert params.is_guided

    def test_only_guided_steps_cost_twice(self) -> None:
        whole, half, none = asked(), asked(guidance_cutoff=0.5), asked(guidance_scale=1.0)

        assert (whole.cost, half.cost, none.cost) == (164, 127, 82)  # 64 x 64 x (40, 31, 20) / 1000
        assert not none.is_guided
        assert not none.is_guided_at(0)

    def test_parameters_of_before_are_guided_all_the_way(self) -> None:
        kept = asked().model_dump(exclude={"preset", "adapter", "guidance_cutoff", "deterministic"})
        params = GenerationParams.model_validate(kept)

        assert params.num_guided_steps == params.num_inference_steps
        assert not params.deterministic


def asked(**fields: object) -> GenerationParams:
    return GenerationRequest.model_validate({"prompt": "x", **fields}).resolve(CARD, drawn_seed=1)


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


@pytest.mark.parametrize("record", [GenerationParams, Line])
def test_a_record_that_can_not_be_read_quotes_no_prompt(record: type[GenerationParams | Line]) -> None:
    with pytest.raises(ValidationError) as error:
        record.model_validate_json('{"prompt": "a fox", "params": {"prompt": "a fox"}}')

    assert "a fox" not in str(error.value)
