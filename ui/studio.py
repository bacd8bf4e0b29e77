"""The studio: the room where pictures are asked for and watched. Layout and wiring only."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any, Final, cast

import gradio as gr
from starlette.requests import HTTPConnection

from ui.ask import CROWDED, DRAFT_JS, QUIET, Ask, Updates
from ui.cards import feed
from ui.feed import news
from ui.form import FIELDS, Form
from ui.handlers import IDLE_POLL_S, Answer, Handlers, View
from ui.notices import problem_list
from ui.seat import Seat, Showing
from ui.styles import Styles
from ui.visitors import Person, Visitors

PICK_JS: Final = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-pick]");
  if (button) trigger("click", { field: button.dataset.pick, value: button.dataset.value });
});
"""
"""A button in our HTML says which control it fills, and with what."""

FEED_JS: Final = """
window.darkroom.connect(element, trigger);
watch("value", () => window.darkroom.apply(props.value));
if (props.value) window.darkroom.apply(props.value);
"""
"""The feed's HTML never changes for Gradio, so that it is the browser's own: `ui/static` puts the news into it."""

SHOWING_JS: Final = "(seat, draft, _) => [seat, draft, window.darkroom.showing?.() ?? null]"
"""A look says what the browser shows, in the place of the feed's value; nothing before the page's scripts are there."""

OPEN_JS: Final = """(draft, typed) => {
  const form = { ...draft, ...window.darkroom.left() };
  return [form, typed || (form.prompt ?? ""), form.negative_prompt ?? ""];
}"""
"""The browser's own texts are back at once. The prompt is the visitor's from then on; the negative prompt may be the
model's, and is theirs once a look is done."""

REST_JS: Final = """(...values) => new Promise((rested) => {
  clearTimeout(window.darkroom.typing);
  window.darkroom.typing = setTimeout(() => rested(values), 300);
})"""
"""Go on when the keys rest: a promise that is never kept is an event that was none."""

BROWSER_KEY: Final = "darkroom"
"""Gradio scrambles what it keeps in the browser. With a key of our own a restarted page can read it;
it is the visitor's own form, so nothing is hidden from them."""

AT_ONCE: Final = 16
"""Presses that run at a time; each is one short request to the gateway."""


class Studio:
    """The room's components, placed into the Blocks that is being built, and their events."""

    def __init__(
        self, page: gr.Blocks, served: gr.HTML, handlers: Handlers, visitors: Visitors, styles: Styles
    ) -> None:
        self._served = served
        self._handlers = handlers
        self._visitors = visitors
        self._ask = Ask(styles)
        self._draft = gr.BrowserState({}, storage_key="darkroom.form", secret=BROWSER_KEY)
        self._seat = gr.State(Seat())
        self._timer = gr.Timer(IDLE_POLL_S)
        self._notices = _html("notices")
        with gr.Row(elem_id="studio"):
            with gr.Column(elem_id="ask"):
                self._place_form()
            with gr.Column(elem_id="room"):
                self._feed = gr.HTML(
                    None, html_template=feed(), js_on_load=FEED_JS, elem_id="pictures", apply_default_css=False
                )
        self._told_of = [self._served, self._notices, self._examples, self._generate]
        self._reins = [self._feed, self._timer]
        self._wire_looks(page)
        self._wire_presses()
        self._wire_form()

    def _place_form(self) -> None:
        self._ask.place_restored()
        self._ask.place_words()
        self._generate = gr.Button("Generate", variant="primary", interactive=False, elem_id="generate")
        self._refusal = _html("refusal")
        with gr.Column(elem_id="settings"):
            self._examples = _html("examples")
            self._ask.place_settings()
            self._ask.place_restore()

    def _wire_looks(self, page: gr.Blocks) -> None:
        """Look when the page opens and whenever time has passed.

        A look is a few short plain requests; through Gradio's queue it would be a request and a stream.
        """
        self._look: dict[str, Any] = {
            "fn": self._on_look,
            "inputs": [self._seat, self._draft, self._feed],
            "js": SHOWING_JS,
            "outputs": [*self._ask.outputs, *self._told_of, *self._reins],
            "queue": False,
            "trigger_mode": "once",
            **QUIET,
        }
        prompt, negative = self._ask.controls["prompt"], self._ask.controls["negative_prompt"]
        opened = page.load(None, [self._draft, prompt], [self._draft, prompt, negative], js=OPEN_JS, **QUIET)
        opened.then(**self._look)
        self._timer.tick(**self._look)
        self._choice: dict[str, Any] = self._look | {"fn": self._on_choice, "trigger_mode": "always_last"}
        cast("Any", self._feed).input(**self._choice)

    def _wire_presses(self) -> None:
        """Submit, and what is pressed in the feed.

        `preprocess` is off so that the gateway, not Gradio, judges every value. Without "multiple", Gradio would drop
        what is pressed while another press is under way.
        """
        press: dict[str, Any] = {"concurrency_limit": AT_ONCE, "preprocess": False, "trigger_mode": "multiple", **QUIET}
        asked = [self._seat, *self._ask.inputs]
        outputs = [*self._ask.outputs, *self._told_of, self._refusal, *self._reins]
        sent = self._generate.click(self._on_generate, asked, outputs, **press)
        for answered in (sent.then, sent.failure):  # Gradio 6.31 does not go on to `then` after a failure
            answered(None, None, None, js="() => window.darkroom.sent()", **QUIET)
        cast("Any", self._feed).select(self._on_feed, self._seat, outputs, **press)

    def _wire_form(self) -> None:
        """Fill the prompt at a click, and keep the form in the browser as it changes."""
        self._ask.wire(self._seat)
        texts = [self._ask.controls[name] for name in ("prompt", "negative_prompt", "style", "model")]
        gr.on(  # pyright: ignore[reportUnknownMemberType]: an option that is not used has no type
            [text.change for text in texts],
            self._on_text,
            [self._seat, *self._ask.inputs],
            list(self._ask.tokens.values()),
            queue=False,
            preprocess=False,
            trigger_mode="always_last",
            js=REST_JS,
            **QUIET,
        )
        self._examples.click(
            _picked_prompt, None, self._ask.controls["prompt"], queue=False, trigger_mode="multiple", **QUIET
        )
        for name, control in self._ask.controls.items():
            # Not `input`: a text box has that only for keys, not for what is pasted or dictated.
            kept = control.change(None, [self._draft, *self._ask.inputs], self._draft, js=DRAFT_JS, **QUIET)
            if name == "model":
                kept.then(**self._choice)

    def _on_look(self, seat: Seat, draft: Form, showing: object, request: gr.Request) -> Updates:
        with seat.turn_if_free() as is_free:
            return self._looked(seat, draft, showing, request) if is_free else {self._timer: gr.update()}

    def _on_choice(self, seat: Seat, draft: Form, showing: object, request: gr.Request) -> Updates:
        """Look at once: the visitor has said which jobs they want to see, or for which model the form is.

        If too many wait, the next look says it too.
        """
        with seat.turn_if_few_wait() as may:
            return self._looked(seat, draft, showing, request) if may else {self._timer: gr.update()}

    def _on_text(self, request: gr.Request, seat: Seat, *values: object) -> Updates:
        said = self._handlers.count(self._person(request), seat.card, dict(zip(FIELDS, values, strict=True)))
        return {slot: said[field] for field, slot in self._ask.tokens.items()}

    def _on_generate(self, request: gr.Request, seat: Seat, *values: object) -> Updates:
        form: dict[str, object] = dict(zip(FIELDS, values, strict=True))
        with seat.turn_if_few_wait() as may:
            if not may:
                return self._crowded()
            answer = self._handlers.generate(self._person(request), seat.card, form)
            updates = self._ask.show_problems(answer.problems.by_slot)
            updates[self._refusal] = answer.refusal or problem_list(answer.problems.rest)
            return updates | self._answered(seat, answer)

    def _on_feed(self, seat: Seat, event: gr.EventData, request: gr.Request) -> Updates:
        """Do what was pressed with a job."""
        with seat.turn_if_few_wait() as may:
            if not may:
                return self._crowded()
            answer = self._handlers.act(self._person(request), seat.view, str(event.do), str(event.job), _index(event))
            updates: Updates = {self._refusal: answer.refusal}
            if answer.refusal:
                gr.Warning(escape(answer.words))  # Gradio takes it for HTML
            elif answer.words:
                gr.Info(escape(answer.words), duration=4)
            if answer.fitted is not None:
                updates |= self._ask.take_over(seat, answer.fitted)
            return updates | self._answered(seat, answer)

    def _crowded(self) -> Updates:
        gr.Warning(CROWDED)
        return {self._timer: gr.update()}

    def _looked(self, seat: Seat, draft: Form, showing: object, request: gr.Request) -> Updates:
        """Look, and show what was found and what of earlier answers has not arrived; `draft` is the browser's form."""
        if not seat.hear(Showing.read(showing)):
            return {self._timer: gr.update()}
        draft, seen, may_show = seat.hear_form(draft), seat.seen, seat.may_show
        view = self._handlers.look(self._person(request), seen, seat.asked, draft)
        updates: Updates = {}
        if view.card is not None and any(view.controls != one.controls for one in may_show):
            updates |= self._ask.show(view.card, view.controls)
            is_filled = seen.card is not None and seen.card.id == view.card.id
            for field, control in view.controls.items():
                if field == "prompt" or (is_filled and field in draft and draft[field] == control.value):
                    # The control says this, or what somebody has said in it since the look began.
                    del updates[self._ask.controls[field]]["value"]
        return self._told(seat, view, updates)

    def _answered(self, seat: Seat, answer: Answer) -> Updates:
        feed = seat.view.feed
        if answer.job is not None:
            feed = feed.with_job(answer.job)
        if answer.gone is not None:
            feed = feed.without(answer.gone)
        return self._told(seat, replace(seat.view, feed=feed), {})

    def _told(self, seat: Seat, view: View, updates: Updates) -> Updates:
        """Number what a view brings, add the feed's news, and look again when it is time."""
        what, views = news([one.feed for one in seat.may_show], view.feed), [*seat.may_show, view]
        for component, said, update in (
            (self._served, {one.served for one in views}, view.served),
            (self._notices, {one.notices for one in views}, view.notices),
            (self._examples, {one.examples for one in views}, view.examples),
            (self._generate, {one.can_generate for one in views}, gr.update(interactive=view.can_generate)),
            (self._timer, {one.poll_s for one in views}, gr.update(value=view.poll_s)),
        ):
            if seat.is_told_anew or len(said) > 1:
                updates[component] = update
        if what is not None or updates:
            updates[self._feed] = seat.tell(view, what)
        else:
            seat.keep(view)
        return {self._timer: gr.update()} | updates

    def _person(self, request: gr.Request) -> Person | None:
        return self._visitors.person(cast("HTTPConnection", request.request))


def _index(event: gr.EventData) -> int:
    said: dict[str, object] = event._data  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]: it may have no index
    index = said.get("index")
    return index if isinstance(index, int) and index >= 0 else 0


def _html(elem_id: str, value: str = "") -> gr.HTML:
    """Place HTML of our own making, in which buttons with `data-pick` work."""
    return gr.HTML(value, elem_id=elem_id, js_on_load=PICK_JS, apply_default_css=False)


def _picked_prompt(event: gr.EventData) -> str:
    return str(event.value)
