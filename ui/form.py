"""The form between a person and a request: what its controls say, and what a model's card lets them say.

Knows neither Gradio nor HTTP. A control is named by its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from shared.contract import JobRequest, ModelBody
from shared.errors import FieldError, InvalidRequest
from shared.generation import Scheduler, Size

Form = Mapping[str, object]
"""Values by field, raw as the browser sent them."""

Props = dict[str, object]
"""What a control shows: its value and, where it has them, choices or bounds."""

FIELDS: Final = (
    "model",
    "prompt",
    "negative_prompt",
    "size",
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
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "num_images": "Pictures",
    "scheduler": "Sampler",
    "output_format": "File format",
    "output_size": "Resize",
}
"""What people read for a field; the API's `width` and `height` are one control here."""

FORMATS: Final = (("PNG", "png"), ("JPEG", "jpeg"), ("WebP", "webp"))
OUTPUT_SIZES: Final = (("As drawn", ""), ("Resize to 512 × 512", "512x512"))  # noqa: RUF001 (a true times sign, for people)

SAMPLERS: Final = {
    Scheduler.EULER: "Euler",
    Scheduler.EULER_ANCESTRAL: "Euler ancestral",
    Scheduler.DPMPP_2M_KARRAS: "DPM++ 2M Karras",
    Scheduler.UNIPC: "UniPC",
    Scheduler.DDIM: "DDIM",
    Scheduler.LCM: "LCM",
}

_MODELS_OWN: Final = frozenset({"negative_prompt", "size", "num_inference_steps", "guidance_scale", "scheduler"})
"""Fields whose values mean nothing to another model: there they start from its defaults."""

_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")


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


def controls_of(models: Sequence[ModelBody], card: ModelBody, draft: Form) -> dict[str, Props]:
    """Make every control fit the card, with the draft's values where this model takes them."""
    sizes = [(f"{ratio.name}\n{ratio.size.width} × {ratio.size.height}", str(ratio.size)) for ratio in card.aspect_ratios]  # noqa: RUF001 (as above)
    defaults = card.defaults
    controls: dict[str, Props] = {
        "model": {"choices": [(model.title, model.id) for model in models], "value": card.id},
        "prompt": {"value": ""},
        "negative_prompt": {"value": defaults.negative_prompt},
        "size": {"choices": sizes, "value": str(defaults.size)},
        "num_inference_steps": {"minimum": 1, "maximum": card.max_steps, "value": defaults.num_inference_steps},
        "guidance_scale": {"minimum": 0, "maximum": card.max_guidance, "value": defaults.guidance_scale},
        "seed": {"value": None},
        "num_images": {"minimum": 1, "maximum": card.max_images, "value": 1},
        "scheduler": {"choices": [(SAMPLERS[name], name.value) for name in card.schedulers], "value": defaults.scheduler.value},
        "output_format": {"choices": list(FORMATS), "value": "png"},
        "output_size": {"choices": list(OUTPUT_SIZES), "value": ""},
    }
    is_same_model = draft.get("model") == card.id
    for field, props in controls.items():
        keeps = is_same_model or field not in _MODELS_OWN
        if field in draft and keeps and _fits(draft[field], props):
            props["value"] = draft[field]
    return controls


def _fits(value: object, props: Props) -> bool:
    """True if a control with these choices or bounds can show the value."""
    choices, minimum, maximum = props.get("choices"), props.get("minimum"), props.get("maximum")
    if isinstance(choices, list):
        return any(value == choice[1] for choice in choices)
    if isinstance(minimum, int | float) and isinstance(maximum, int | float):
        return isinstance(value, int | float) and minimum <= value <= maximum
    return isinstance(value, str) if isinstance(props["value"], str) else value is None or isinstance(value, int)


def _size(text: object) -> Size | None:
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else Size(width=int(found[1]), height=int(found[2]))
