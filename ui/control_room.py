"""The control room: the operators' tab. Layout and wiring only.

with gr.Tabs(), gr.Tab("Operators", visible=False):
    ControlRoom(page, client_of)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import gradio as gr
from gradio.components import Component
from gradio.context import get_render_context

from shared.client import Client
from ui import assets, oversight
from ui.ask import QUIET
from ui.boards import SHELL
from ui.oversight import POLL_S, Boards, Order

CONNECT_JS: Final = f"""
import(new URL("{assets.PATH.lstrip("/")}/control_room.js", document.baseURI)).then(({{ connect }}) =>
  connect(element, {{ say: (what) => trigger("select", what), watch, news: () => props.value }})
);
"""
"""The boards' HTML is the browser's own once it stands: the script puts the news into it."""

ORDERS: Final[dict[str, Order]] = {"pause": "pause", "resume": "resume", "drain": "drain"}

UNQUEUED: Final[dict[str, Any]] = {"queue": False, **QUIET}

Updates = dict[Component | gr.Tab, Any]


class ControlRoom:
    """The room's components, placed into the tab that the page has opened, and their events.

    The tab shows itself to those for whom `client_of` has a client, and looks only while it is the selected one. When
    there is none any more, as while the gateway is away, what was seen last stays, and that is said.
    """

    def __init__(self, page: gr.Blocks, client_of: Callable[[gr.Request], Client | None]) -> None:
        self._client_of = client_of
        self._tab = _tab_being_built()
        self._seen = gr.State(Boards())
        self._timer = gr.Timer(POLL_S, active=False)
        self._boards = gr.HTML(
            None, html_template=SHELL, js_on_load=CONNECT_JS, elem_id="operators", apply_default_css=False
        )
        outputs: list[Component] = [self._boards, self._seen]
        page.load(self._on_open, None, self._tab, **UNQUEUED)
        tabs = cast("gr.Tabs", self._tab.parent)
        tabs.select(self._on_select, None, self._timer, **UNQUEUED)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]: made at run time
        self._timer.tick(self._on_look, self._seen, outputs, trigger_mode="once", **UNQUEUED)
        self._boards.select(self._on_press, self._seen, outputs, **UNQUEUED)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]: made at run time

    def _on_open(self, request: gr.Request) -> dict[str, Any]:
        return gr.update(visible=self._client_of(request) is not None)

    def _on_select(self, event: gr.SelectData) -> dict[str, Any]:
        return gr.update(active=event.value == self._tab.label)

    def _on_look(self, seen: Boards, request: gr.Request) -> Updates:
        client = self._client_of(request)
        return self._told(seen, oversight.out_of_reach(seen) if client is None else oversight.look(client, seen))

    def _on_press(self, seen: Boards, event: gr.EventData, request: gr.Request) -> Updates:
        """Do what was pressed. `open` comes when the boards stand, and have nothing on them yet."""
        client = self._client_of(request)
        if client is None:
            return self._told(seen, oversight.out_of_reach(seen))
        what = _said(event)
        if what.get("do") == "open":
            seen = Boards(seen.minutes)
            return self._told(seen, oversight.look(client, seen))
        if what.get("do") == "span":
            return self._told(seen, oversight.look(client, seen, minutes=int(what["minutes"])))
        if what.get("do") == "resend":
            said = oversight.resend(client, str(what.get("job")))
        elif order := ORDERS.get(str(what.get("do"))):
            said = oversight.direct(client, order, str(what.get("worker") or ""))
        else:
            return {}
        return self._told(seen, oversight.look(client, seen, said=said))

    def _told(self, seen: Boards, boards: Boards) -> Updates:
        news = boards.news_since(seen)
        updates: Updates = {self._seen: boards}
        if news:
            updates[self._boards] = news
        return updates


def _tab_being_built() -> gr.Tab:
    tab = get_render_context()
    if not isinstance(tab, gr.Tab):
        raise TypeError("the control room belongs into a tab")
    return tab


def _said(event: gr.EventData) -> dict[str, Any]:
    said = getattr(event, "_data", None)
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
