"""The form between a person and a request: what its controls say, what is asked for, and what is wrong with it.

Knows neither Gradio nor HTTP. A control is named by its field. What a model lets the controls say is in `ui.choices`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

from pydantic import ValidationError

from shared.contract import MAX_METADATA_CHARS, JobRequest
from shared.errors import FieldError, InvalidRequest, field_errors
from shared.generation import ModelCard, Size
from shared.words import newer_words
from ui.styles import Styles

Form = Mapping[str, object]
"""Values by field, raw as the browser sent them."""

FIELDS: Final = (
    "model",
    "prompt",
    "negative_prompt",
    "style",
    "size",
    "preset",
    "num_inference_steps",
    "guidance_scale",
    "seed",
    "seed_locked",
    "num_images",
    "scheduler",
    "exact",
    "width",
    "height",
    "output_format",
    "output_size",
)
"""The controls, in the order in which their values travel."""

LABELS: Final = {
    "model": "Model",
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "style": "Style",
    "size": "Shape",
    "exact": "Exact size",
    "width": "Width",
    "height": "Height",
    "preset": "Preset",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "seed_locked": "Lock",
    "num_images": "Pictures",
    "scheduler": "Sampler",
    "output_format": "File format",
    "output_size": "Resize",
}
"""What people read for a field."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"

SLOTS: Final = (
    "model",
    "prompt",
    "negative_prompt",
    "style",
    "size",
    "exact",
    "preset",
    "num_inference_steps",
    "guidance_scale",
    "seed",
    "num_images",
    "scheduler",
    "output_format",
    "output_size",
)
"""The fields with a place under their control where what is wrong with them is said."""

DESCRIBED: Final = {**{field: (field,) for field in SLOTS}, "exact": ("width", "height")}
"""Which controls a slot speaks of."""

SEED_IS_RANDOM: Final = -1
"""In other programs it asks for a new seed each time; people type it here too."""

_PLAIN: Final = ("num_inference_steps", "guidance_scale", "num_images", "scheduler", "output_format")
"""Fields that travel as they are, where the form has them."""

STYLE_CHOSEN: Final = "darkroom.style"
PROMPT_TYPED: Final = "darkroom.prompt"
NEGATIVE_TYPED: Final = "darkroom.negative_prompt"
"""Keys of our own in a job's metadata, the rest of which is its maker's: what was typed before a style was applied."""

_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Problems:
    """What is wrong: by slot what stands under a control, and the rest, which no control is to blame for."""

    by_slot: Mapping[str, str]
    rest: tuple[FieldError, ...] = ()


def request_of(form: Form, styles: Styles) -> JobRequest:
    """Say the form as a request; whether it can be drawn is the gateway's to judge.

    In a style the metadata carries the style and, where they fit in there, the texts as typed.

    Raises InvalidRequest where a value is not even of the right kind, such as a seed of 1.5, or a style is gone.
    """
    try:
        with newer_words():  # a model's sampler may be one
            return JobRequest.model_validate(_asked(form, styles))
    except ValidationError as error:
        raise InvalidRequest(field_errors(error.errors())) from error


class Texts(TypedDict):
    """What the model is given to read."""

    prompt: str
    negative_prompt: str


def drawn_texts(form: Form, styles: Styles) -> Texts:
    """Give the texts as they are drawn: with the style's words, if there is such a style."""
    style = _text(form, "style")
    typed = _text(form, "prompt"), _text(form, "negative_prompt")
    prompt, negative = styles.applied(style, *typed) if style in styles.by_name else typed
    return {"prompt": prompt, "negative_prompt": negative}


def check(form: Form, card: ModelCard, styles: Styles) -> Mapping[str, str]:
    """Find what is wrong with the form as the gateway would, by its own models and the model's card; by slot."""
    found: list[FieldError] = []
    try:
        asked = _asked(form, styles)
    except InvalidRequest as error:
        found += error.errors
        asked = _asked({**form, "style": ""}, styles)
    with newer_words():
        try:
            request = JobRequest.model_validate(asked)
        except ValidationError as error:
            found += field_errors(error.errors())
            unread = {one.field.partition(".")[0] for one in found}
            whole = {"prompt": "", **{field: value for field, value in asked.items() if field not in unread}}
            request = JobRequest.model_validate(whole)  # so that the other fields are judged too
    try:
        request.resolve(card, drawn_seed=0)
    except InvalidRequest as error:
        found += error.errors
    return placed(found, form).by_slot


def placed(errors: Sequence[FieldError], form: Form) -> Problems:
    """Put each finding where its control is; the first one of a slot is said."""
    by_slot: dict[str, str] = {}
    rest: list[FieldError] = []
    for error in errors:
        slot = _slot(error.field.partition(".")[0], form)
        if slot is None:
            rest.append(error)
        else:
            which = f"{LABELS[error.field]}: " if slot == "exact" and error.field != "size" else ""
            by_slot.setdefault(slot, f"{which}{error.message}")
    return Problems(by_slot, tuple(rest))


def size_of(text: object) -> Size | None:
    """Read a size such as `1024x768`; None for anything else."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else Size(width=int(found[1]), height=int(found[2]))


def _asked(form: Form, styles: Styles) -> dict[str, object]:
    prompt, negative = _text(form, "prompt"), _text(form, "negative_prompt")
    style = _text(form, "style")
    drawn_prompt, drawn_negative = styles.applied(style, prompt, negative)
    size = size_of(form.get("size"))
    asked: dict[str, object] = {
        "model": form.get("model") or None,
        "prompt": drawn_prompt,
        "negative_prompt": drawn_negative,
        "preset": form.get("preset") or None,
        "seed": _seed(form),
        "output_size": size_of(form.get("output_size")),
        "metadata": _metadata(style, prompt, negative) if style else {},
        "width": size and size.width,
        "height": size and size.height,
    }
    if form.get("exact"):
        # An empty number is a mistake here, and not the model's own size.
        asked |= {side: form.get(side) or 0 for side in ("width", "height")}
    return asked | {field: form[field] for field in _PLAIN if form.get(field) is not None}


def _metadata(style: str, prompt: str, negative: str) -> dict[str, str]:
    """Remember what was typed: what is too long for a metadata's value is left out.

    `ui.again` takes the style's words away instead.
    """
    typed = {STYLE_CHOSEN: style, PROMPT_TYPED: prompt, NEGATIVE_TYPED: negative}
    return {name: text for name, text in typed.items() if len(text) <= MAX_METADATA_CHARS}


def _seed(form: Form) -> object:
    seed = form.get("seed")
    return seed if form.get("seed_locked") and seed not in (None, "", SEED_IS_RANDOM) else None


def _text(form: Form, field: str) -> str:
    value = form.get(field)
    return value if isinstance(value, str) else ""


def _slot(field: str, form: Form) -> str | None:
    if field in {"width", "height"} or (field == "size" and form.get("exact")):
        return "exact" if form.get("exact") else "size"
    return field if field in SLOTS else None
