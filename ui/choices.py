"""What a model's card lets the form's controls say, and with what each begins.

Knows neither Gradio nor HTTP; what is made of the values is `ui.form`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final, TypeGuard

from shared.contract import ModelBody
from shared.generation import AspectRatio, ModelCard, Size
from shared.infotext import sampler_name
from ui.form import TIMES, Form, size_of
from ui.styles import Styles

Choices = tuple[tuple[str, str], ...]
"""What people read, and the value behind it."""

FORMATS: Final = (("PNG", "png"), ("JPEG", "jpeg"), ("WebP", "webp"))
OUTPUT_SIZES: Final = (("As drawn", ""), (f"512 {TIMES} 512", "512x512"))
NO_STYLE: Final = ("None", "")

PRESET_SETS: Final = ("negative_prompt", "num_inference_steps", "guidance_scale", "scheduler")
"""The controls that show what a preset stands for; what is then said in them beats the preset."""

_MODELS_OWN: Final = frozenset({*PRESET_SETS, "preset", "size", "exact", "width", "height"})
"""Fields whose values mean nothing to another model: there they start from its defaults."""

_SHAPE_SIDE: Final = 30
"""Pixels of a shape's longer side, as it is drawn beside its name."""


@dataclass(frozen=True, slots=True)
class Control:
    """What a control says, and what it may say: one of the choices, or a number within bounds."""

    value: str | float | None
    choices: Choices | None = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    is_offered: bool = True
    """False where the model leaves nothing to choose."""

    def with_value(self, value: object) -> Control:
        """Say this instead, if the control may say it."""
        if not self.is_offered and self.choices is None:
            fits = False
        elif self.choices is not None:
            fits = any(value == choice for _, choice in self.choices)
        elif isinstance(self.value, bool):
            fits = isinstance(value, bool)
        elif self.minimum is not None and self.maximum is not None:
            fits = _is_number(value) and self.minimum <= value <= self.maximum
        elif isinstance(self.value, str):
            fits = isinstance(value, str)
        else:
            fits = value is None or (_is_number(value) and isinstance(value, int))
        return replace(self, value=value) if fits else self


def controls_of(models: Sequence[ModelBody], card: ModelBody, draft: Form, styles: Styles) -> dict[str, Control]:
    """Make every control fit the card, with the draft's values where this model takes them."""
    defaults = card.defaults
    # A preset may bring a sampler that is good with its adapter alone.
    schedulers = dict.fromkeys((*card.schedulers, *(preset.scheduler for preset in card.presets)))
    kept = _kept(draft, card)
    controls = {
        "model": Control(card.id, tuple((model.title, model.id) for model in models), is_offered=len(models) > 1),
        "prompt": Control(""),
        "negative_prompt": Control(defaults.negative_prompt),
        "style": _styles(card, styles),
        "size": Control(
            str(defaults.size), tuple((shape_words(ratio), str(ratio.size)) for ratio in card.aspect_ratios)
        ),
        "preset": Control(
            defaults.preset,
            tuple((preset.title, preset.name) for preset in card.presets),
            is_offered=len(card.presets) > 1,
        ),
        "num_inference_steps": Control(defaults.num_inference_steps, minimum=1, maximum=card.max_steps),
        "guidance_scale": Control(defaults.guidance_scale, minimum=0, maximum=card.max_guidance),
        "seed": Control(None),
        # A seed that was kept before there was a lock was meant to stay.
        "seed_locked": Control("seed_locked" not in draft and draft.get("seed") is not None and "seed" in kept),
        "num_images": Control(1, minimum=1, maximum=card.max_images),
        "scheduler": Control(defaults.scheduler, tuple((sampler_name(name), name.value) for name in schedulers)),
        **_exact(card),
        "output_format": Control("png", FORMATS),
        "output_size": Control("", _output_sizes(draft, card)),
    }
    return {name: control.with_value(draft[name]) if name in kept else control for name, control in controls.items()}


def values_of_preset(card: ModelCard, name: object, negative: object) -> dict[str, object]:
    """Say what controls of `PRESET_SETS` show once a preset is chosen; none if the card has none such.

    A `negative` prompt that neither the model nor a preset says is the visitor's own, and stays.
    """
    preset = next((preset for preset in card.presets if preset.name == name), None)
    if preset is None:
        return {}
    values: dict[str, object] = {field: getattr(preset, field) for field in PRESET_SETS}
    told = {card.defaults.negative_prompt, *(preset.negative_prompt for preset in card.presets)}
    if negative and negative not in told:
        del values["negative_prompt"]
    return values


def description_of_preset(card: ModelCard, name: object) -> str:
    """Say what a preset is for; empty if the card has none such."""
    preset = card.preset(name) if isinstance(name, str) else None
    return "" if preset is None else preset.description


def shape_words(ratio: AspectRatio) -> str:
    """Name a shape, with its pixels."""
    return f"{ratio.name}\n{ratio.size.width} {TIMES} {ratio.size.height}"


def exact_words(card: ModelCard) -> str:
    """Say which sizes beside the shapes the card takes; empty if none."""
    rule = card.custom_sizes
    if rule is None:
        return ""
    return (
        f"Instead of the shape: sides from {rule.min_side} to {rule.max_side} pixels in multiples of "
        f"{rule.multiple_of}, {rule.max_pixels / 1e6:.3g} million pixels in all at most."
    )


def shapes_style(card: ModelCard) -> str:
    """Draw the card's shapes beside their radios: CSS rules by the radios' values."""
    rules = "".join(
        f'#size label:has(input[value="{ratio.size}"])::before{{width:{width}px;height:{height}px}}'
        for ratio in card.aspect_ratios
        for width, height in [_drawn(ratio.size)]
    )
    return f"<style>{rules}</style>"


def nearest_shape(card: ModelCard, size: Size) -> Size:
    """Find the card's named size whose shape is the most like this one's."""
    wanted = math.log(max(1, size.width) / max(1, size.height))
    shapes = [ratio.size for ratio in card.aspect_ratios] or [card.defaults.size]
    return min(shapes, key=lambda shape: abs(math.log(shape.width / shape.height) - wanted))


def _styles(card: ModelCard, styles: Styles) -> Control:
    """Offer the styles, but not to a model that draws plain shapes whatever is said."""
    offered = () if card.is_demo else styles.choices
    return Control("", (NO_STYLE, *offered), is_offered=bool(offered))


def _exact(card: ModelCard) -> Mapping[str, Control]:
    rule, size = card.custom_sizes, card.defaults.size
    sides = {"width": size.width, "height": size.height}
    if rule is None:
        return {
            "exact": Control(value=False, is_offered=False),
            **{side: Control(sides[side], is_offered=False) for side in sides},
        }
    bounded = Control(None, minimum=rule.min_side, maximum=rule.max_side, step=rule.multiple_of)
    return {"exact": Control(value=False), **{side: replace(bounded, value=value) for side, value in sides.items()}}


def _output_sizes(draft: Form, card: ModelCard) -> Choices:
    """Offer the usual ones, and the one that a restored picture had."""
    said = size_of(draft.get("output_size"))
    if (
        said is None
        or any(str(said) == size for _, size in OUTPUT_SIZES)
        or max(said.width, said.height) > card.max_output_side
    ):
        return OUTPUT_SIZES
    return (*OUTPUT_SIZES, (f"{said.width} {TIMES} {said.height}", str(said)))


def _kept(draft: Form, card: ModelBody) -> AbstractSet[str]:
    """Say which of the draft's fields mean something to this model."""
    if not draft.get("model"):
        return draft.keys() & {"prompt"}  # it was written before there was a model: the rest are placeholders
    return draft.keys() if draft["model"] == card.id else draft.keys() - _MODELS_OWN


def _drawn(size: Size) -> tuple[int, int]:
    scale = _SHAPE_SIDE / max(size.width, size.height)
    return max(1, round(size.width * scale)), max(1, round(size.height * scale))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
