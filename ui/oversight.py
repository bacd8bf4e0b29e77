"""What happens in the control room when time passes or an operator presses something. Knows the client, not Gradio."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import Final, Literal

from shared.client import Client
from shared.errors import DarkroomError, GatewayUnavailable, JobNotFound, WorkerNotFound
from ui.boards import failed_board, fleet_board, history_board, queue_board
from ui.notices import away_notice, plain_words
from ui.trends import SPANS

POLL_S: Final = 2.0
"""Between two looks while the tab is open."""
MOST_FAILED: Final = 20
LOOKS_SAID: Final = 15
"""What came of a press is told for so many looks."""

Order = Literal["pause", "resume", "drain"]

_DONE: Final[Mapping[Order, str]] = {
    "pause": "begins nothing more; what runs is ended.",
    "drain": "begins nothing more; what takes long goes back to the queue.",
    "resume": "works again.",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Boards:
    """What an operator's page shows."""

    minutes: int = next(iter(SPANS))
    """How far the plots look back."""
    shown: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTML by section."""
    said: str = ""
    """What came of the last press."""
    looks: int = 0
    """That have told of it."""

    def news_since(self, seen: Boards) -> dict[str, str]:
        """Tell the sections that have changed."""
        return {name: html for name, html in self.shown.items() if seen.shown.get(name) != html}


def look(client: Client, seen: Boards, *, minutes: int | None = None, said: str | None = None) -> Boards:
    """See how everything stands. While the gateway is away, what was seen last stays, and that is said.

    `minutes`: look so far back from now on; `said`: what to say of a press, until the next one.
    """
    back = minutes if minutes in SPANS else seen.minutes
    looks = seen.looks + 1 if said is None else 0
    words = said if said is not None else seen.said if looks < LOOKS_SAID else ""
    try:
        history = client.history(minutes=back)
        shown = {
            "notice": words,
            "fleet": fleet_board(client.workers()),
            "queue": queue_board(client.queue()),
            "failed": failed_board(client.failed(limit=MOST_FAILED), history.until),
            "history": history_board(history),
        }
    except DarkroomError as error:
        notice = away_notice("Out of reach.", f"{plain_words(error)} What you see below may be old.")
        if seen.shown.get("notice") != notice:  # once an outage, not once a look
            _log.warning("%s", error)
        return Boards(back, {**seen.shown, "notice": notice}, words, looks)
    return Boards(back, shown, words, looks)


def out_of_reach(seen: Boards) -> Boards:
    """Say that nobody can tell whether this is still an operator, and keep what was seen last."""
    words = "The gateway does not answer, or does not take your key for an operator's any more."
    notice = away_notice("Out of reach.", f"{words} What you see below may be old.")
    return replace(seen, shown={**seen.shown, "notice": notice})


def direct(client: Client, order: Order, worker: str = "") -> str:
    """Tell a worker, or all of them, what to do; what came of it as HTML."""
    who = f"Worker {worker}" if worker else "Every worker"
    try:
        if worker:
            client.direct_worker(order, worker)
        else:
            client.direct_all(order)
    except WorkerNotFound:
        return _notice("wait", f"{who} is gone.", "It needs no orders any more.")
    except DarkroomError as error:
        return _refusal(error)
    return _notice("done", who, _DONE[order])


def resend(client: Client, job_id: str) -> str:
    """Send a failed job again, for its tenant; what came of it as HTML."""
    try:
        again = client.retry_failed(job_id)
    except JobNotFound:
        return _notice("wait", "That job is gone.", "Its owner has deleted it, or it was kept long enough.")
    except DarkroomError as error:
        return _refusal(error)
    return _notice("done", "Sent again.", f"Job {again.id} waits for {again.model}, for {again.tenant}.")


def _refusal(error: DarkroomError) -> str:
    _log.warning("An operator's press: %s", error)
    headline = "No answer." if isinstance(error, GatewayUnavailable) else "Not now."
    return _notice("wait", headline, plain_words(error))


def _notice(kind: str, headline: str, message: str) -> str:
    return f'<p class="notice {kind}"><strong>{escape(headline)}</strong> {escape(message)}</p>'
