"""The room's wiring: which components an event touches. No browser; tests/e2e has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import gradio as gr
import pytest
from gradio.components import Component

from tests.integration.serving import Hand
from ui.form import FIELDS
from ui.handlers import Handlers, View
from ui.studio import Studio
from ui.styles import read_styles


class Room:
    """A page's components by `elem_id`, and what its events call."""

    def __init__(self, handlers: Handlers) -> None:
        self._page = gr.Blocks()
        with self._page:
            Studio(self._page, handlers, read_styles())

    def component(self, elem_id: str) -> Component:
        return next(found for found in self._components() if found.elem_id == elem_id)

    def timer(self) -> Component:
        return next(found for found in self._components() if isinstance(found, gr.Timer))

    def on(self, component: Component, event: str) -> Callable[..., dict[Component, Any]]:
        """Find what an event calls; it returns the updates that the browser gets."""
        target = (component._id, event)  # pyright: ignore[reportPrivateUsage]: it has no other name
        calls = cast("Any", self._page).fns.values()  # half of their types are unknown
        return next(call.fn for call in calls if target in call.targets and call.fn is not None)

    def _components(self) -> list[Component]:
        return [block for block in self._page.blocks.values() if isinstance(block, Component)]


@pytest.fixture
def room(handlers: Handlers) -> Room:
    return Room(handlers)


@pytest.mark.parametrize("has_ended", [False, True])
def test_generate_is_off_from_the_answer_to_the_jobs_end_even_if_no_look_saw_it_run(
    room: Room, hand: Hand, handlers: Handlers, *, has_ended: bool
) -> None:
    generate = room.component("generate")
    first = handlers.look(View(), None, {})
    form = {name: control.value for name, control in first.controls.items()} | {"prompt": "a red cube"}

    sent = room.on(generate, "click")(first, *(form[name] for name in FIELDS))
    taken = hand.take()
    if has_ended:
        hand.fail(taken, "model_error", "It broke.")
    looked = room.on(room.timer(), "tick")(first, taken.job.id, {})

    assert sent[generate]["interactive"] is False
    assert looked[generate]["interactive"] is has_ended


def test_a_refused_form_can_be_sent_again(room: Room, hand: Hand, handlers: Handlers) -> None:
    assert hand.card is not None
    first = handlers.look(View(), None, {})
    form = {name: control.value for name, control in first.controls.items()} | {"prompt": " "}

    sent = room.on(room.component("generate"), "click")(first, *(form[name] for name in FIELDS))

    assert room.component("generate") not in sent
