"""The form on the page: its controls placed, what they do to each other, and what is shown in them.

What a press on Generate does is `ui.handlers`'; what the values mean is `ui.form`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final, cast

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from pydantic import ValidationError

from shared.contract import ModelBody
from shared.generation import MAX_SEED
from ui import controls
from ui.choices import PRESET_SETS, Control, description_of_preset, exact_words, shapes_style, values_of_preset
from ui.fitting import Fitted, fitted
from ui.form import FIELDS, Form, check
from ui.restore import Restored
from ui.seat import Seat
from ui.styles import Styles

DRAFT_JS: Final = f"""(draft, ...values) => {{
  const form = Object.fromEntries({json.dumps(FIELDS)}.map((name, i) => [name, values[i]]));
  if (!form.model) return [{{ ...draft, prompt: form.prompt }}];
  window.dispatchEvent(new CustomEvent("darkroom:kept", {{ detail: form }}));
  return [form];
}}"""
"""Before there is a model all but the prompt are placeholders: what was kept of them stays."""
DICE_JS: Final = f"() => [Math.floor(Math.random() * {MAX_SEED + 1}), true]"
SEED_JS: Final = 'seed => seed !== null && seed !== undefined && seed !== ""'
"""Whoever types a seed wants that one: it locks; an emptied field unlocks."""
LOCK_JS: Final = f"(locked, seed) => locked && seed === null ? Math.floor(Math.random() * {MAX_SEED + 1}) : seed"
"""A lock on nothing would hold nothing."""

RESTORE_HTML: Final = (
    '<button type="button" class="restore" data-do="choose-settings">Take the settings of a picture</button>'
    '<p class="hint">Or drop it anywhere on the page; AUTOMATIC1111\'s too.</p>'
)
RESTORE_JS: Final = 'window.addEventListener("darkroom:restore", (event) => trigger("upload", event.detail));'
"""`ui/static/drop.js` has the file read by the page's server."""

QUIET: Final[dict[str, Any]] = {"show_progress": "hidden", "api_visibility": "private"}
"""No spinner over what the page updates by itself, and no entry in a public API: that is the gateway's."""

CROWDED: Final = "That was not done: what you pressed before is still under way. Do it again in a moment."

Updates = dict[Block, Any]


class Ask:
    """The form's components. Placed into the Blocks that is being built by `place_*`, then wired once."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles
        self._slots: controls.Slots = {}
        self.controls: controls.Widgets = {}
        """By field."""

    @property
    def inputs(self) -> list[Component]:
        """The controls in the order of `FIELDS`."""
        return [self.controls[field] for field in FIELDS]

    @property
    def outputs(self) -> list[Any]:
        """Everything that `show` and `show_problems` may change."""
        return [*self.inputs, *self._slots.values(), self._shapes, self._more, *self._notes.values()]

    def place_restored(self) -> None:
        """Place where it is said what became of a picture's settings."""
        self._restored = gr.HTML("", elem_id="restored", js_on_load=None, apply_default_css=False)

    def place_words(self) -> None:
        """Place the texts."""
        self._place(controls.prompt(), "prompt")
        self.tokens = {"prompt": controls.tokens("prompt")}
        self._place(controls.negative_prompt(), "negative_prompt")
        self.tokens["negative_prompt"] = controls.tokens("negative_prompt")

    def place_settings(self) -> None:
        """Place style, model, shape, count and preset, and the rest under "More settings"."""
        self._place(controls.style(), "style")
        self._notes = {"style": controls.note("style")}
        self._place(controls.model(), "model")
        self._shapes = controls.shapes()
        self._place(controls.size(), "size")
        self._place(controls.num_images(), "num_images")
        self._place(controls.preset(), "preset")
        self._notes["preset"] = controls.note("preset")
        with gr.Accordion("More settings", open=False, elem_id="more") as self._more:
            before = set(self._slots)
            self._place_more()
        self._under_more = self._slots.keys() - before

    def place_restore(self) -> None:
        """Place where a picture's settings are asked for; it may be dropped anywhere on the page."""
        self._restore = gr.HTML(RESTORE_HTML, elem_id="restore", js_on_load=RESTORE_JS, apply_default_css=False)

    def wire(self, seat: gr.State) -> None:
        """Let controls fill others, be checked when they are left, and take a picture's settings over.

        `seat` holds the page's `Seat`, of which the form needs the models and the one that it is for.
        """
        self._wire_seed()
        preset, style = self.controls["preset"], self.controls["style"]
        quick: dict[str, Any] = {"queue": False, "preprocess": False, **QUIET}
        shown = [self.controls[name] for name in PRESET_SETS]
        chosen = [seat, preset, self.controls["negative_prompt"]]
        cast("Any", preset).input(self._on_preset, chosen, shown, trigger_mode="always_last", **quick)
        for field, control in (("preset", preset), ("style", style)):
            control.change(self._on_choice(field), [seat, control], self._notes[field], **quick)
        exact = self.controls["exact"]
        exact.change(_visible, exact, self._sides, **quick)
        gr.on(  # pyright: ignore[reportUnknownMemberType]: an option that is not used has no type
            [_left(control) for control in self.controls.values()],
            self._on_check,
            [seat, *self.inputs],
            list(self._slots.values()),
            trigger_mode="always_last",
            **quick,
        )
        restored = [*self.outputs, self._restored]
        self._restore.upload(self._on_restore, [seat, *self.inputs], restored, trigger_mode="multiple", **quick)

    def show(self, card: ModelBody, shown: Mapping[str, Control], *, is_same_card: bool = False) -> Updates:
        """Say to Gradio what the controls show, and may show.

        For the same card as before nothing appears or goes: Gradio 6.31 would close "More settings" at that.
        """
        updates: Updates = {self.controls[field]: _update(control) for field, control in shown.items()}
        if not is_same_card:
            for field, control in shown.items():
                updates[self.controls[field]]["visible"] = control.is_offered
        updates[self._shapes] = shapes_style(card)
        updates[self.controls["exact"]]["info"] = exact_words(card)
        for field, note in self._notes.items():
            updates[note] = self._note(field, card, shown[field].value)
        return updates

    def take_over(self, seat: Seat, taken: Fitted) -> Updates:
        """Show settings from elsewhere, and what of them this model can't take; in the seat's turn."""
        is_same_card = seat.card is not None and seat.card.id == taken.card.id
        seat.fit(taken)
        form = {field: control.value for field, control in taken.controls.items()}
        return {
            **self.show(taken.card, taken.controls, is_same_card=is_same_card),
            **self._problems_of(form, taken.card),
        }

    def show_problems(self, by_slot: Mapping[str, str]) -> Updates:
        """Say under each control what is wrong with it, and nothing under the others; none stays out of sight."""
        updates: Updates = {
            slot: f'<p role="alert">{escape(by_slot[field])}</p>' if field in by_slot else ""
            for field, slot in self._slots.items()
        }
        if by_slot.keys() & self._under_more:
            updates[self._more] = gr.update(open=True)
        return updates

    def _place(self, widgets: controls.Widgets, slot: str | None = None) -> None:
        for field, control in widgets.items():
            control.interactive = field == "prompt"  # the others, once a model says what they may be
        self.controls |= widgets
        if slot is not None:
            self._slots[slot] = controls.slot(slot)

    def _place_more(self) -> None:
        for field, control in controls.craft().items():
            self._place({field: control})
        for field in ("num_inference_steps", "guidance_scale", "scheduler"):
            self._slots[field] = controls.slot(field)
        with gr.Row(elem_id="seed-row"):
            self._place(controls.seed())
            self._dice = gr.Button("Dice", elem_id="dice", scale=1, min_width=88)
        self._slots["seed"] = controls.slot("seed")
        self._place(controls.exact())
        with gr.Row(elem_id="exact-size", visible=False) as self._sides:
            self._place(controls.sides())
        self._slots["exact"] = controls.slot("exact")
        self._place(controls.output_format(), "output_format")
        self._place(controls.output_size(), "output_size")

    def _wire_seed(self) -> None:
        seed, lock = cast("gr.Number", self.controls["seed"]), cast("gr.Checkbox", self.controls["seed_locked"])
        self._dice.click(None, None, [seed, lock], js=DICE_JS, **QUIET)
        cast("Any", seed).input(None, seed, lock, js=SEED_JS, **QUIET)
        cast("Any", lock).input(None, [lock, seed], seed, js=LOCK_JS, **QUIET)

    def _on_preset(self, seat: Seat, preset: object, negative: object) -> Updates:
        card = seat.card
        values = {} if card is None else values_of_preset(card, preset, negative)
        return {self.controls[name]: value for name, value in values.items()}

    def _on_choice(self, field: str) -> Callable[[Seat, object], str]:
        def say(seat: Seat, value: object) -> str:
            return self._note(field, seat.card, value)

        return say

    def _on_check(self, seat: Seat, *values: object) -> Updates:
        card = seat.card
        updates = self.show_problems({}) if card is None else self._problems_of(_form(values), card)
        updates.pop(self._more, None)  # whoever left a control sees it; a page that opens is half filled for a moment
        return updates

    def _on_restore(self, event: gr.EventData, seat: Seat, *values: object) -> Updates:
        card = seat.card
        if card is None:
            return {self._restored: _notes("alert", "There is no model yet that could take the settings.", ())}
        try:
            restored = Restored.model_validate(event._data)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]: all
        except ValidationError:
            return {self._restored: _notes("alert", "The page could not read it.", ())}
        taken = fitted(restored, seat.models, card, _form(values), self._styles)
        with seat.turn_if_few_wait() as may:
            if not may:
                return {self._restored: _notes("alert", CROWDED, ())}
            updates = self.take_over(seat, taken)
        return {**updates, self._restored: _notes("status", "The picture's settings are in the form.", taken.notes)}

    def _problems_of(self, form: Form, card: ModelBody) -> Updates:
        wrong = check(form, card, self._styles)
        if not str(form["prompt"] or "").strip():
            wrong = {slot: message for slot, message in wrong.items() if slot != "prompt"}  # it may be yet to come
        return self.show_problems(wrong)

    def _note(self, field: str, card: ModelBody | None, value: object) -> str:
        if field == "style":
            text = self._styles.description_of(value)
        else:
            text = "" if card is None else description_of_preset(card, value)
        return f"<p>{escape(text)}</p>" if text else ""


def _form(values: tuple[object, ...]) -> Form:
    return dict(zip(FIELDS, values, strict=True))


def _visible(is_on: object) -> dict[str, Any]:
    return gr.update(visible=bool(is_on))


def _left(control: controls.Widget) -> Any:  # noqa: ANN401 Gradio's events have no type of their own
    """Name the event that says that somebody is done with a control."""
    events = cast("Any", control)
    return events.blur if isinstance(control, gr.Textbox | gr.Number) else events.change


def _update(control: Control) -> dict[str, Any]:
    """Say to Gradio what a control shows, and within which bounds."""
    update: dict[str, Any] = gr.update(value=control.value, interactive=True)
    if control.choices is not None:
        update["choices"] = list(control.choices)
    if control.maximum is not None:
        update |= {"minimum": control.minimum, "maximum": control.maximum}
    if control.step is not None:
        update["step"] = control.step
    return update


def _notes(role: str, headline: str, notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div class="restored" role="{role}"><p>{escape(headline)}</p>{f"<ul>{items}</ul>" if items else ""}</div>'
