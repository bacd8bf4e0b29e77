"""Settings of a picture or a job into the form, as far as a model takes them.

What can't be taken over is said in a note, never passed over. Knows neither Gradio nor files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from shared.contract import JobBody, ModelBody
from shared.generation import ModelCard, Preset
from shared.infotext import SAMPLERS
from ui.again import form_of, unsaid_of
from ui.choices import Control, controls_of, nearest_shape
from ui.form import LABELS, Form, size_of
from ui.restore import Restored
from ui.styles import Styles

_Card = TypeVar("_Card", bound=ModelCard)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The form after it took settings over."""

    card: ModelBody
    """Of the model that it is for now: the file's own where that is served."""
    controls: Mapping[str, Control]
    notes: tuple[str, ...]


def fitted(found: Restored, models: Sequence[ModelBody], card: ModelBody, draft: Form, styles: Styles) -> Fitted:
    """Put what was found into the form, as far as a model takes it; what the file doesn't say stays as it was."""
    chosen = _named(found.model, models) or card
    notes = [*found.notes, *_model_notes(found, chosen)]
    wanted = {**found.fields, "seed_locked": found.fields.get("seed") is not None}
    wanted |= _preset_of(wanted, chosen, notes)
    wanted |= _size_of(wanted, chosen, notes)
    # Values of a draft for another model mean nothing here.
    base: Form = draft if draft.get("model") == chosen.id else {}
    controls = controls_of(models, chosen, {**base, **wanted, "model": chosen.id}, styles)
    for field, value in wanted.items():
        control = controls.get(field)
        if control is not None and value is not None and control.value != value:
            notes.append(f"{LABELS[field]} {_said(field, value)} is not offered here: left at {_read(control)}.")
    return Fitted(chosen, controls, tuple(notes))


def reused(job: JobBody, index: int, models: Sequence[ModelBody], card: ModelBody, styles: Styles) -> Fitted:
    """Put a job's settings into the form, with the seed of its picture `index`."""
    fields = {field: value for field, value in form_of(job, styles, index).items() if field != "model"}
    said = {"fields": fields, "notes": unsaid_of(job.params), "model": job.model}
    return fitted(Restored.model_validate(said), models, card, {}, styles)


def _named(name: str | None, models: Sequence[_Card]) -> _Card | None:
    """Find a model by its id, or by the short name that other programs write."""
    wanted = (name or "").casefold()
    by_id = (model for model in models if model.id.casefold() == wanted)
    by_name = (model for model in models if wanted in {model.title.casefold(), model.id.rpartition("/")[2].casefold()})
    return next(chain(by_id, by_name), None)


def _model_notes(found: Restored, card: ModelCard) -> list[str]:
    if found.model is None:
        return []
    if _named(found.model, [card]) is None:
        return [f"It was drawn by {found.model}, which is not served here: {card.title} will draw another picture."]
    if found.model_revision not in {None, card.revision}:
        return [f"It was drawn by another revision of {card.title}: the picture may differ."]
    return []


def _preset_of(wanted: Form, card: ModelCard, notes: list[str]) -> dict[str, object]:
    """Find the preset that brings the LoRA and the guidance's end that the picture had."""
    named = card.preset(str(wanted.get("preset")))
    adapter, cutoff = wanted.get("adapter"), wanted.get("guidance_cutoff")
    if named is not None and named.adapter == adapter:
        return {}
    same = [preset for preset in card.presets if preset.adapter == adapter]
    if adapter is not None and not same:
        notes.append(f"It was drawn with {adapter}, which is not offered here.")
    if not same:
        return {"preset": None}
    exact = [preset for preset in same if cutoff in {None, preset.guidance_cutoff}]
    guidance = wanted.get("guidance_scale")
    if not exact and isinstance(guidance, int | float) and guidance > 1:
        notes.append("Its guidance ended at another step than any preset's here: the picture may differ.")
    return {"preset": _likest(exact or same, wanted)}


def _likest(presets: Sequence[Preset], wanted: Form) -> str:
    fields = ("num_inference_steps", "guidance_scale", "scheduler")
    return max(presets, key=lambda preset: sum(getattr(preset, field) == wanted.get(field) for field in fields)).name


def _size_of(wanted: Form, card: ModelCard, notes: list[str]) -> dict[str, object]:
    """Say a size as one of the shapes, as an exact one, or as the nearest shape."""
    size = size_of(wanted.get("size"))
    if size is None:
        return {}
    if any(ratio.size == size for ratio in card.aspect_ratios):
        return {"size": str(size), "exact": False}
    if card.custom_sizes is not None and card.allows(size):
        shape = nearest_shape(card, size)
        return {"size": str(shape), "exact": True, "width": size.width, "height": size.height}
    nearest = nearest_shape(card, size)
    notes.append(f"{card.title} does not draw {size}: set to the nearest shape, {nearest}.")
    return {"size": str(nearest), "exact": False}


def _said(field: str, value: object) -> str:
    if field == "scheduler":
        return next((words for scheduler, words in SAMPLERS.items() if scheduler == value), str(value))
    return str(value)


def _read(control: Control) -> str:
    """Say a control's value as people read it."""
    return next((words for words, value in control.choices or () if value == control.value), str(control.value))
