"""The page: its head, and the rooms behind its tabs."""

from __future__ import annotations

from typing import Any, Final, cast

import gradio as gr
from gradio.blocks import Block
from starlette.requests import HTTPConnection

from shared.client import Client
from shared.errors import DarkroomError, KeyRefused
from ui.ask import QUIET
from ui.cards import theme_switch
from ui.control_room import ROOM, ControlRoom
from ui.handlers import IDLE_POLL_S, Handlers
from ui.notices import identity, nothing_served
from ui.studio import Studio
from ui.styles import Styles
from ui.visitors import Person, Visitors

SWEEP_S: Final = 3600
"""Gradio's own temporary files are looked through, and dropped, at this age."""

MOST_OPEN: Final = 1000
"""Pages whose feeds are kept in memory; of more, who was away for longest is told all anew."""


def build_page(visitors: Visitors, styles: Styles) -> gr.Blocks:
    """Build it for whoever comes."""
    handlers = Handlers(styles)
    page = gr.Blocks(title="Darkroom", analytics_enabled=False, fill_width=True, delete_cache=(SWEEP_S, SWEEP_S))

    page.state_session_capacity = MOST_OPEN

    def person(request: gr.Request) -> Person | None:
        return visitors.person(cast("HTTPConnection", request.request))

    def operator(request: gr.Request) -> Client | None:
        return visitors.operator(cast("HTTPConnection", request.request))

    def greet(request: gr.Request) -> dict[Block, Any]:
        """Say who this is, and open the control room to an operator; go on asking until the gateway has told both."""
        words, is_known = _name_of(handlers, person(request))
        updates: dict[Block, Any] = {who: identity(words, is_sure=is_known)}
        try:
            updates[control_room] = gr.update(visible=operator(request) is not None)
        except DarkroomError:
            is_known = False
        updates[asking] = gr.update(active=not is_known)
        return updates

    with page:
        with gr.Row(elem_id="head"):
            _html("brand", "<h1>Darkroom</h1>")
            served = _html("served", nothing_served())
            _html("theme", theme_switch())
            who = _html("who")
        asking = gr.Timer(IDLE_POLL_S)
        with gr.Tabs(elem_id="rooms"):
            with gr.Tab("Pictures"):
                Studio(page, served, handlers, visitors, styles)
            with gr.Tab("Operators", elem_id=ROOM, visible=False) as control_room:
                ControlRoom(operator)
        opened: dict[str, Any] = {"queue": False, "trigger_mode": "once", **QUIET}
        page.load(greet, None, [who, control_room, asking], **opened)
        asking.tick(greet, None, [who, control_room, asking], **opened)
    return page.queue(api_open=False)


def _name_of(handlers: Handlers, person: Person | None) -> tuple[str | None, bool]:
    """Word whose key somebody signed in with, None for a visitor; and whether that is known."""
    try:
        return handlers.tenant_of(person), True
    except KeyRefused:
        return "a key that is not known", True
    except DarkroomError:
        return "a key", False


def _html(elem_id: str, value: str = "") -> gr.HTML:
    return gr.HTML(value, elem_id=elem_id, js_on_load=None, apply_default_css=False)
