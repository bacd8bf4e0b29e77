"""The studio: the room where pictures are asked for and watched. Layout and wiring only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import gradio as gr

from ui.ask import DRAFT_JS, QUIET, Ask, Updates
from ui.fitting import Fitted
from ui.form import FIELDS, Form
from ui.handlers import IDLE_POLL_S, Handlers, View
from ui.styles import Styles

PICK_JS: Final = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-pick]");
  if (button) trigger("click", { field: button.dataset.pick, value: button.dataset.value });
});
"""
"""A button in our HTML says which control it fills, and with what."""

SHOW_JS: Final = """() => {
  if (window.innerWidth > 760) return;
  const wrong = document.querySelector(".problem p, .problems");
  const target = wrong || document.querySelector("#watch");
  target.scrollIntoView({ block: wrong ? "center" : "start" });
}"""
"""On a phone the tray is below the form: bring what came of a press into sight."""

BROWSER_KEY: Final = "darkroom"
"""Gradio scrambles what it keeps in the browser. With a key of our own a restarted page can read it;
it is the visitor's own form and job, so nothing is hidden from them."""

AT_ONCE: Final = 16
"""Submits and cancels that run at a time; each is one short request to the gateway."""


class Studio:
    """The room's components, placed into the Blocks that is being built, and their events."""

    def __init__(self, page: gr.Blocks, handlers: Handlers, styles: Styles) -> None:
        self._handlers = handlers
        self._ask = Ask(styles)
        self._job_id = gr.BrowserState(None, storage_key="darkroom.job", secret=BROWSER_KEY)
        self._draft = gr.BrowserState({}, storage_key="darkroom.form", secret=BROWSER_KEY)
        self._seen = gr.State(View())
        self._timer = gr.Timer(IDLE_POLL_S)
        with gr.Row(elem_id="head"):
            _html("brand", "<h1>Darkroom</h1>")
            self._served = _html("served", View().served)
        self._notices = _html("notices")
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="ask"):
                self._place_question()
            with gr.Column(elem_id="watch"):
                self._tray = _html("tray", View().tray)
            with gr.Column(elem_id="settings"):
                self._place_settings()
        self._reins = [self._generate, self._cancel, self._timer, self._seen]
        self._form = self._ask.inputs
        self._wire_looks(page)
        self._wire_presses()
        self._wire_form()

    def _place_question(self) -> None:
        self._ask.place_words()
        with gr.Row(elem_id="actions"):
            self._generate = gr.Button("Generate", variant="primary", interactive=False, elem_id="generate", scale=3)
            self._cancel = gr.Button("Cancel", variant="stop", interactive=False, elem_id="cancel", scale=1)
        self._problems = _html("problems")
        self._examples = _html("examples")

    def _place_settings(self) -> None:
        self._ask.place_settings()
        self._ask.place_restore()

    def _wire_looks(self, page: gr.Blocks) -> None:
        """Look when the page opens and whenever time has passed.

        A look is one short plain request; through Gradio's queue it would be a request and a stream.
        """
        self._look: dict[str, Any] = {
            "fn": self._on_look,
            "inputs": [self._seen, self._job_id, self._draft],
            "outputs": [*self._ask.outputs, self._served, self._notices, self._examples, self._tray, *self._reins],
            "queue": False,
            **QUIET,
        }
        page.load(**self._look)
        self._timer.tick(**self._look)

    def _wire_presses(self) -> None:
        """Submit and cancel; `preprocess` is off so that the gateway, not Gradio, judges every value."""
        press: dict[str, Any] = {"concurrency_limit": AT_ONCE, "preprocess": False, **QUIET}
        outputs = [self._job_id, self._problems, self._generate, *self._ask.outputs]
        submitted = self._generate.click(self._on_generate, [self._seen, *self._form], outputs, **press)
        submitted.then(**self._look).then(None, None, None, js=SHOW_JS, **QUIET)
        self._cancel.click(self._on_cancel, self._job_id, self._problems, **press).then(**self._look)

    def _wire_form(self) -> None:
        """Fill controls at a click, and keep the form in the browser as it changes."""
        self._ask.wire(self._seen, _for_another)
        seed, lock = self._ask.controls["seed"], self._ask.controls["seed_locked"]
        self._tray.click(_picked_seed, None, [seed, lock], queue=False, **QUIET)
        self._examples.click(_picked_prompt, None, self._ask.controls["prompt"], queue=False, **QUIET)
        for name, control in self._ask.controls.items():
            # Not `input`: a text box has that only for keys, not for what is pasted or dictated.
            kept = control.change(None, self._form, self._draft, js=DRAFT_JS, **QUIET)
            if name == "model":
                kept.then(**self._look)

    def _on_look(self, seen: View, job_id: str | None, draft: Form) -> Updates:
        view = self._handlers.look(seen, job_id, draft)
        updates: Updates = {self._seen: view}
        if view.card is not None and view.controls != seen.controls:
            updates |= self._ask.show(view.card, view.controls)
        for component, before, now in (
            (self._served, seen.served, view.served),
            (self._notices, seen.notices, view.notices),
            (self._examples, seen.examples, view.examples),
            (self._tray, seen.tray, view.tray),
        ):
            if now != before:
                updates[component] = now
        if view.can_generate != seen.can_generate or view.job_id != seen.job_id:
            # A submit has disabled the button, which `seen` does not know: the first look at a new job says it again.
            updates[self._generate] = gr.update(interactive=view.can_generate)
        if view.is_busy != seen.is_busy:
            updates[self._cancel] = gr.update(interactive=view.is_busy)
            updates[self._timer] = gr.update(value=view.poll_s)
        return updates

    def _on_generate(self, seen: View, *values: object) -> Updates:
        answer = self._handlers.generate(dict(zip(FIELDS, values, strict=True)), seen.card)
        updates: Updates = {self._problems: answer.problems, **self._ask.show_problems(answer.by_slot)}
        if answer.job_id is not None:
            updates[self._job_id] = answer.job_id
            updates[self._generate] = gr.update(interactive=False)  # at once: a second press would be a second job
            updates[self._ask.controls["seed"]] = answer.seed
        return updates

    def _on_cancel(self, job_id: str | None) -> str:
        return self._handlers.cancel(job_id).problems


def _for_another(seen: View, taken: Fitted) -> View:
    return replace(seen, card=taken.card, controls=dict(taken.controls))


def _html(elem_id: str, value: str = "") -> gr.HTML:
    """Place HTML of our own making, in which buttons with `data-pick` work."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=PICK_JS, apply_default_css=False)


def _picked_seed(event: gr.EventData) -> tuple[int, bool]:
    return int(event.value), True


def _picked_prompt(event: gr.EventData) -> str:
    return str(event.value)
