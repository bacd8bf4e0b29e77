"""The form between a person and a request: what its controls say, and what a model's card lets them say.

Knows neither Gradio nor HTTP. A control is named by its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from shared.contract import JobRequest, ModelBody
from shared.errors import FieldError, InvalidRequest
from shared.generation import Scheduler, Size

Form = Mapping[str, object]
"""Values by field, raw as the browser sent them."""

Choices = tuple[tuple[str, str], ...]
"""What people read, and the value behind it."""

FIELDS: Final = (
    "model",
    "prompt",
    "negative_prompt",
    "size",
    "preset",
    "num_inference_steps",
    "guidance_scale",
    "seed",
    "num_images",
    "scheduler",
    "output_format",
    "output_size",
)
"""The controls, in the order in which their values travel."""

LABELS: Final = {
    "model": "Model",
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "size": "Shape",
    "width": "Shape",
    "height": "Shape",
    "preset": "Preset",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "num_images": "Pictures",
    "scheduler": "Sampler",
    "output_format": "File format",
    "output_size": "Resize",
}
"""What people read for a field; the API's `width` and `height` are one control here."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"
FORMATS: Final = (("PNG", "png"), ("JPEG", "jpeg"), ("WebP", "webp"))
OUTPUT_SIZES: Final = (("As drawn", ""), (f"512 {TIMES} 512", "512x512"))

SAMPLERS: Final = {
    Scheduler.EULER: "Euler",
    Scheduler.EULER_ANCESTRAL: "Euler ancestral",
    Scheduler.DPMPP_2M_KARRAS: "DPM++ 2M Karras",
    Scheduler.UNIPC: "UniPC",
    Scheduler.DDIM: "DDIM",
    Scheduler.LCM: "LCM",
}

PRESET_SETS: Final = ("negative_prompt", "num_inference_steps", "guidance_scale", "scheduler")
"""The controls that show what a preset stands for; what is then said in them beats the preset."""

_MODELS_OWN: Final = frozenset({*PRESET_SETS, "preset", "size"})
"""Fields whose values mean nothing to another model: there they start from its defaults."""

_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Control:
    """What a control says, and what it may say: one of the choices, or a number within bounds."""

    value: str | float | None
    choices: Choices | None = None
    minimum: float | None = None
    maximum: float | None = None

    def with_value(self, value: object) -> Control:
        """Say this instead, if the control may say it."""
        if self.choices is not None:
            fits = any(value == choice for _, choice in self.choices)
        elif self.minimum is not None and self.maximum is not None:
            fits = isinstance(value, int | float) and self.minimum <= value <= self.maximum
        elif isinstance(self.value, str):
            fits = isinstance(value, str)
        else:
            fits = value is None or isinstance(value, int)
        return replace(self, value=value) if fits else self


def request_of(form: Form) -> JobRequest:
    """Say the form as a request; whether it can be drawn is the gateway's to judge.

    Raises InvalidRequest where a value is not even of the right kind, such as a seed of 1.5.
    """
    size = _size(form.get("size"))
    asked: dict[str, object] = {
        "model": form.get("model") or None,
        "prompt": form.get("prompt") or "",
        "negative_prompt": form.get("negative_prompt") or "",
        "width": size and size.width,
        "height": size and size.height,
        "preset": form.get("preset") or None,
        "seed": None if form.get("seed") in (None, "", -1) else form["seed"],
        "output_size": _size(form.get("output_size")),
    }
    for field in ("num_inference_steps", "guidance_scale", "num_images", "scheduler", "output_format"):
        if form.get(field) is not None:
            asked[field] = form[field]
    try:
        return JobRequest.model_validate(asked)
    except ValidationError as error:
        wrong = (FieldError(str(item["loc"][0]), f"{item['msg']}.") for item in error.errors())
        raise InvalidRequest(tuple(wrong)) from error


def controls_of(models: Sequence[ModelBody], card: ModelBody, draft: Form) -> dict[str, Control]:
    """Make every control fit the card, with the draft's values where this model takes them."""
    defaults = card.defaults
    sizes = (
        (f"{ratio.name}\n{ratio.size.width} {TIMES} {ratio.size.height}", ratio.size) for ratio in card.aspect_ratios
    )
    # A preset may bring a sampler that is good with its adapter alone.
    schedulers = dict.fromkeys((*card.schedulers, *(preset.scheduler for preset in card.presets)))
    controls = {
        "model": Control(card.id, tuple((model.title, model.id) for model in models)),
        "prompt": Control(""),
        "negative_prompt": Control(defaults.negative_prompt),
        "size": Control(str(defaults.size), tuple((words, str(size)) for words, size in sizes)),
        "preset": Control(defaults.preset, tuple((preset.title, preset.name) for preset in card.presets)),
        "num_inference_steps": Control(defaults.num_inference_steps, minimum=1, maximum=card.max_steps),
        "guidance_scale": Control(defaults.guidance_scale, minimum=0, maximum=card.max_guidance),
        "seed": Control(None),
        "num_images": Control(1, minimum=1, maximum=card.max_images),
        "scheduler": Control(defaults.scheduler, tuple((SAMPLERS[name], name.value) for name in schedulers)),
        "output_format": Control("png", FORMATS),
        "output_size": Control("", OUTPUT_SIZES),
    }
    kept = _kept(draft, card)
    return {name: control.with_value(draft[name]) if name in kept else control for name, control in controls.items()}


def values_of_preset(card: ModelBody, name: object) -> dict[str, object]:
    """Say what the controls of `PRESET_SETS` show once a preset is chosen; empty if the card has none such."""
    preset = next((preset for preset in card.presets if preset.name == name), None)
    return {} if preset is None else {field: getattr(preset, field) for field in PRESET_SETS}


def _kept(draft: Form, card: ModelBody) -> AbstractSet[str]:
    """Say which of the draft's fields mean something to this model."""
    if not draft.get("model"):
        return draft.keys() & {"prompt"}  # it was written before there was a model: the rest are placeholders
    return draft.keys() if draft["model"] == card.id else draft.keys() - _MODELS_OWN


def _size(text: object) -> Size | None:
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else Size(width=int(found[1]), height=int(found[2]))
