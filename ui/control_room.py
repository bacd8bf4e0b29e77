"""The control room: the operators' tab. Layout and wiring only.

with gr.Tabs(), gr.Tab("Operators", elem_id=ROOM, visible=False):
    ControlRoom(client_of)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import gradio as gr
from gradio.components import Component
from gradio.context import get_render_context

from shared.client import Client
from shared.errors import DarkroomError
from ui import assets, oversight
from ui.ask import QUIET
from ui.boards import SHELL
from ui.oversight import POLL_S, Watch

CONNECT_JS: Final = f"""
import(new URL("{assets.PATH.lstrip("/")}/control_room.js", document.baseURI)).then(({{ connect }}) =>
  connect(element, {{ say: (what) => trigger("select", what), watch, news: () => props.value }})
);
"""
"""The boards' HTML is the browser's own once it stands: the script puts the news into it."""

ROOM: Final = "control-room-tab"
"""The tab's `elem_id`."""

SELECTED_JS: Final = f"""async () => {{
  await new Promise((drawn) => setTimeout(drawn));
  const tab = document.getElementById("{ROOM}-button");
  return {{ __type__: "update", active: tab?.getAttribute("aria-selected") === "true" }};
}}"""
"""Look only while the tab is selected, as the browser has it now: whoever goes away and comes back is not overtaken."""

UNQUEUED: Final[dict[str, Any]] = {"queue": False, **QUIET}

Updates = dict[Component, Any]


class ControlRoom:
    """The room's components, placed into the tab that is being built, and their events.

    It looks only while its tab is the selected one. `client_of` gives an operator's client, None to anybody else, and
    raises while nobody can tell, as while the gateway is away: then what was seen last stays, and that is said.
    """

    def __init__(self, client_of: Callable[[gr.Request], Client | None]) -> None:
        self._client_of = client_of
        tab = _tab_being_built()
        self._watch = gr.State(Watch())
        self._timer = gr.Timer(POLL_S, active=False)
        self._boards = gr.HTML(
            None, html_template=SHELL, js_on_load=CONNECT_JS, elem_id="operators", apply_default_css=False
        )
        tabs = cast("gr.Tabs", tab.parent)
        tabs.select(None, None, self._timer, js=SELECTED_JS, trigger_mode="multiple", **UNQUEUED)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]: made at run time
        self._timer.tick(self._on_look, self._watch, self._boards, trigger_mode="once", **UNQUEUED)
        # Without "multiple", Gradio would drop what is pressed while another press is under way.
        self._boards.select(self._on_press, self._watch, self._boards, trigger_mode="multiple", **UNQUEUED)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]: made at run time

    def _on_look(self, watch: Watch, request: gr.Request) -> Updates:
        return self._asked(watch, request, lambda _: True)

    def _on_press(self, watch: Watch, event: gr.EventData, request: gr.Request) -> Updates:
        what = _said(event)
        return self._asked(watch, request, lambda client: _do(client, watch, what))

    def _asked(self, watch: Watch, request: gr.Request, do: Callable[[Client], bool]) -> Updates:
        """Do something for an operator, and look what became of it; nothing if `do` makes nothing of it."""
        try:
            client = self._client_of(request)
        except DarkroomError as error:
            return {self._boards: oversight.unsure(watch, error)}
        if client is None:
            return {self._boards: oversight.refused(watch)}
        news = oversight.look(client, watch) if do(client) else {}
        return {self._boards: news or gr.update()}


def _do(client: Client, watch: Watch, what: Mapping[str, Any]) -> bool:
    """Do what was pressed; False if that is nothing. `open` comes when the boards stand, with nothing on them yet."""
    match what:
        case {"do": "open"}:
            return True
        case {"do": "span", "minutes": minutes}:
            return watch.look_back(minutes)
        case {"do": "failed", "most": most}:
            return watch.show_failed(most)
        case {"do": "resend", "job": str(job_id)}:
            watch.say(oversight.resend(client, job_id))
            return True
        case {"do": "pause" | "resume" | "drain" as order, **rest} if isinstance(rest.get("worker", ""), str):
            watch.say(oversight.direct(client, order, rest.get("worker", "")))
            return True
        case _:
            return False


def _tab_being_built() -> gr.Tab:
    tab = get_render_context()
    if not isinstance(tab, gr.Tab):
        raise TypeError("the control room belongs into a tab")
    return tab


def _said(event: gr.EventData) -> dict[str, Any]:
    said = getattr(event, "_data", None)
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
