"""The studio: the room where pictures are asked for and watched. Layout and wiring only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

import gradio as gr
from gradio.components import Component

from shared.contract import ModelBody
from shared.generation import MAX_SEED
from ui import controls
from ui.cards import feed as feed_html
from ui.cards import theme_switch
from ui.choices import PRESET_SETS, Control, controls_of, values_of_preset
from ui.feed import FIRST, Asked, Feed, job_ids_of, news
from ui.form import FIELDS, SLOTS, Form, Problems
from ui.handlers import IDLE_POLL_S, Answer, Handlers, View
from ui.notices import identity, problem, problem_list
from ui.visitors import Visitors

PICK_JS: Final = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-pick]");
  if (button) trigger("click", { field: button.dataset.pick, value: button.dataset.value });
});
"""
"""A button in our HTML says which control it fills, and with what."""

FEED_JS: Final = """
import(new URL("static/studio.js", document.baseURI)).then(({ connect }) =>
  connect(element, { say: (what) => trigger("select", what), watch, news: () => props.value })
);
"""
"""The feed's HTML is the browser's own once it stands: `ui/static` puts the news into it."""

DICE_JS: Final = f"() => [Math.floor(Math.random() * {MAX_SEED + 1}), true]"
DRAFT_JS: Final = f"(...values) => [Object.fromEntries({json.dumps(FIELDS)}.map((name, i) => [name, values[i]]))]"

SHOW_JS: Final = """() => {
  if (window.innerWidth > 900) return;
  const wrong = document.querySelector(".problem:not(:empty), .problems");
  (wrong ?? document.querySelector("#room")).scrollIntoView({ block: wrong ? "center" : "start" });
}"""
"""On a phone the feed is below the form: bring what came of a press into sight."""

BROWSER_KEY: Final = "darkroom"
"""Gradio scrambles what it keeps in the browser. With a key of our own a restarted page can read it;
it is the visitor's own form, so nothing is hidden from them."""

AT_ONCE: Final = 16
"""Presses that run at a time; each is one short request to the gateway."""

QUIET: Final[dict[str, Any]] = {"show_progress": "hidden", "api_visibility": "private"}
"""No spinner over what the page updates by itself, and no entry in a public API: that is the gateway's."""

Updates = dict[Component, Any]


class Studio:
    """The room's components, placed into the Blocks that is being built, and their events."""

    def __init__(self, page: gr.Blocks, handlers: Handlers, visitors: Visitors) -> None:
        self._handlers = handlers
        self._visitors = visitors
        self._draft = gr.BrowserState({}, storage_key="darkroom.form", secret=BROWSER_KEY)
        self._seen = gr.State(View())
        self._asked = gr.State(Asked())
        self._timer = gr.Timer(IDLE_POLL_S)
        self._notices = _html("notices")
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="ask"):
                self._place_form()
            with gr.Column(elem_id="room"):
                self._feed = gr.HTML(
                    None,
                    html_template=feed_html(),
                    js_on_load=FEED_JS,
                    elem_id="pictures",
                    apply_default_css=False,
                )
        self._form = [self._controls[name] for name in FIELDS]
        self._reins = [self._feed, self._timer, self._seen]
        self._wire_looks(page)
        self._wire_presses()
        self._wire_form()

    def _wire_looks(self, page: gr.Blocks) -> None:
        """Look when the page opens and whenever time has passed.

        A look is a few short plain requests; through Gradio's queue it would be a request and a stream.
        """
        look: dict[str, Any] = {
            "fn": self._on_look,
            "inputs": [self._seen, self._asked, self._draft],
            "outputs": [*self._form, self._served, self._notices, self._examples, self._generate, *self._reins],
            "queue": False,
            "trigger_mode": "once",
            **QUIET,
        }
        page.load(self._on_open, None, self._who, queue=False, **QUIET)
        page.load(**look)
        self._timer.tick(**look)
        self._look = look

    def _wire_presses(self) -> None:
        """Submit, and what cards say; `preprocess` is off so that the gateway, not Gradio, judges every value."""
        press: dict[str, Any] = {"concurrency_limit": AT_ONCE, "preprocess": False, **QUIET}
        slots = [self._problems[name] for name in SLOTS]
        sent = self._generate.click(
            self._on_generate,
            [self._seen, *self._form],
            [*slots, self._refusal, self._controls["seed"], *self._reins],
            trigger_mode="once",
            **press,
        )
        sent.then(None, None, None, js=SHOW_JS, **QUIET)
        self._feed.select(  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]: made at run time
            self._on_card,
            [self._seen, self._asked, self._draft],
            [*self._form, self._refusal, self._asked, *self._reins],
            **press,
        )
        self._feed.upload(  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]: made at run time
            self._on_restore, self._seen, self._form, **press
        )

    def _wire_form(self) -> None:
        """Fill controls at a click, judge them as they change, and keep them in the browser."""
        seed, lock = self._controls["seed"], self._controls["seed_locked"]
        self._dice.click(None, None, [seed, lock], js=DICE_JS, **QUIET)
        self._examples.click(_picked_prompt, None, self._controls["prompt"], queue=False, **QUIET)
        preset = self._controls["preset"]
        shown = [self._controls[name] for name in PRESET_SETS]
        cast("Any", preset).input(self._on_preset, [self._seen, preset], shown, queue=False, preprocess=False, **QUIET)
        for name, control in self._controls.items():
            # Not `input`: a text box has that only for keys, not for what is pasted or dictated.
            kept = control.change(None, self._form, self._draft, js=DRAFT_JS, **QUIET)
            if name == "model":
                kept.then(**self._look)
        slots = [self._problems[name] for name in SLOTS]
        quick: dict[str, Any] = {"queue": False, "trigger_mode": "always_last", "preprocess": False, **QUIET}
        changes = [control.change for control in self._form]
        gr.on(changes, self._on_change, [self._seen, *self._form], slots, **quick)

    def _on_open(self, request: gr.Request) -> str:
        person = self._visitors.person(_connection(request))
        return identity(self._handlers.tenant_of(person))

    def _on_look(self, seen: View, asked: Asked, draft: Form, request: gr.Request) -> Updates:
        view = self._handlers.look(self._visitors.person(_connection(request)), seen, asked, draft)
        updates: Updates = {}
        if view.controls != seen.controls:
            updates |= self._shown(view)
        for component, before, now in (
            (self._served, seen.served, view.served),
            (self._notices, seen.notices, view.notices),
            (self._examples, seen.examples, view.examples),
        ):
            if now != before:
                updates[component] = now
        if view.can_generate != seen.can_generate:
            updates[self._generate] = gr.update(interactive=view.can_generate)
        return updates | self._told(seen, view)

    def _told(self, seen: View, view: View) -> Updates:
        """Bring the feed's news, and look again when it is time."""
        counted, what = news(seen.feed, view.feed)
        view = replace(view, feed=counted)
        updates: Updates = {self._seen: view}
        if what is not None:
            updates[self._feed] = what
        if view.poll_s != seen.poll_s:
            updates[self._timer] = gr.update(value=view.poll_s)
        return updates

    def _on_generate(self, seen: View, *values: object, request: gr.Request) -> Updates:
        form = dict(zip(FIELDS, values, strict=True))
        answer = self._handlers.generate(self._visitors.person(_connection(request)), seen.card, form)
        updates = self._in_slots(answer.problems.by_slot)
        updates[self._refusal] = answer.refusal or problem_list(answer.problems.rest)
        return updates | self._answered(seen, answer)

    def _on_card(self, seen: View, asked: Asked, draft: Form, event: gr.EventData, request: gr.Request) -> Updates:
        """Do what was pressed in the feed: something with a job, or with which of them are shown."""
        said = _said(event)
        what, person = str(said.get("do")), self._visitors.person(_connection(request))
        if what in {"search", "favourites", "more", "resend"}:
            asked = _asked(asked, said)
            seen = replace(seen, feed=Feed(asked=asked)) if what == "resend" else seen
            view = self._handlers.look(person, seen, asked, draft)
            return {self._asked: asked} | self._told(seen, view)
        index = said.get("index")
        answer = self._handlers.act(
            person, seen.feed, what, str(said.get("job")), index if isinstance(index, int) else 0
        )
        updates = self._answered(seen, answer)
        updates[self._refusal] = answer.refusal
        if answer.form is not None and seen.card is not None:
            updates |= self._filled(seen, answer.form)
        if answer.words:
            gr.Info(answer.words, duration=4)
        return updates

    def _on_restore(self, seen: View, event: gr.EventData) -> Updates:
        fields = _said(event).get("fields")
        return self._filled(seen, cast("Form", fields)) if isinstance(fields, dict) else {}

    def _on_preset(self, seen: View, preset: object) -> Updates:
        values = {} if seen.card is None else values_of_preset(seen.card, preset)
        return {self._controls[name]: value for name, value in values.items()}

    def _on_change(self, seen: View, *values: object) -> Updates:
        form = dict(zip(FIELDS, values, strict=True))
        # Nobody is told that the prompt is missing before Generate was pressed.
        wrong = {} if seen.card is None else dict(self._handlers.check(seen.card, form))
        if not str(form["prompt"] or "").strip():
            wrong.pop("prompt", None)
        return self._in_slots(wrong)

    def _answered(self, seen: View, answer: Answer) -> Updates:
        feed = seen.feed
        if answer.job is not None:
            feed = feed.with_job(answer.job)
        if answer.gone is not None:
            feed = feed.without(answer.gone)
        return self._told(seen, replace(seen, feed=feed))

    def _filled(self, seen: View, form: Form) -> Updates:
        if seen.card is None:
            return {}
        return self._shown(replace(seen, controls=controls_of(seen.models, _named(seen, form), form)))

    def _shown(self, view: View) -> Updates:
        """Say to Gradio what the controls show."""
        updates: Updates = {self._controls[name]: _update(control) for name, control in view.controls.items()}
        updates[self._controls["model"]]["visible"] = len(view.models) > 1
        updates[self._controls["preset"]]["visible"] = view.card is not None and len(view.card.presets) > 1
        return updates

    def _in_slots(self, wrong: Mapping[str, str]) -> Updates:
        return {self._problems[name]: problem(name, wrong.get(name, "")) for name in SLOTS}
