"""The page: its head, and the rooms behind its tabs."""

from __future__ import annotations

from typing import Any, Final, cast

import gradio as gr
from starlette.requests import HTTPConnection

from shared.client import Client
from ui.ask import QUIET
from ui.cards import theme_switch
from ui.control_room import ControlRoom
from ui.handlers import Handlers
from ui.notices import identity, nothing_served
from ui.studio import Studio
from ui.styles import Styles
from ui.visitors import Visitors

SWEEP_S: Final = 3600
"""Gradio's own temporary files are looked through, and dropped, at this age."""

MOST_OPEN: Final = 1000
"""Pages whose feeds are kept in memory; of more, who was away for longest is told all anew."""


def build_page(visitors: Visitors, styles: Styles) -> gr.Blocks:
    """Build it for whoever comes."""
    handlers = Handlers(styles)
    page = gr.Blocks(title="Darkroom", analytics_enabled=False, fill_width=True, delete_cache=(SWEEP_S, SWEEP_S))

    page.state_session_capacity = MOST_OPEN

    def greet(request: gr.Request) -> str:
        return identity(handlers.tenant_of(visitors.person(cast("HTTPConnection", request.request))))

    def operator(request: gr.Request) -> Client | None:
        return visitors.operator(cast("HTTPConnection", request.request))

    with page:
        with gr.Row(elem_id="head"):
            _html("brand", "<h1>Darkroom</h1>")
            served = _html("served", nothing_served())
            _html("theme", theme_switch())
            who = _html("who")
        with gr.Tabs(elem_id="rooms"):
            with gr.Tab("Pictures"):
                Studio(page, served, handlers, visitors, styles)
            with gr.Tab("Operators", visible=False):
                ControlRoom(page, operator)
        opened: dict[str, Any] = {"queue": False, **QUIET}
        page.load(greet, None, who, **opened)
    return page.queue(api_open=False)


def _html(elem_id: str, value: str = "") -> gr.HTML:
    return gr.HTML(value, elem_id=elem_id, js_on_load=None, apply_default_css=False)
