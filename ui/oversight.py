"""What happens in the control room when time passes or an operator presses something. Knows the client, not Gradio."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final, Literal, Self

from shared.client import Client
from shared.errors import DarkroomError, GatewayUnavailable, JobNotFound, WorkerNotFound
from shared.oversight import FailedJob, SetAsideJob
from ui.boards import failed_board, fleet_board, history_board, queue_board
from ui.notices import away_notice, headline_of, plain_words
from ui.trends import SPANS

POLL_S: Final = 2.0
"""Between two looks while the tab is open."""
FAILED_AT_FIRST: Final = 20
"""Of the failed jobs, and of those set aside; each "Show more" shows as many more."""
MOST_FAILED: Final = 100
"""The gateway tells of no more."""
LOOKS_SAID: Final = 15
"""What came of a press is told for so many looks."""
MOST_SAID: Final = 4
"""Presses, the latest, of which is told at a time."""

Order = Literal["pause", "resume", "drain"]

_DONE: Final[Mapping[Order, str]] = {
    "pause": "begins nothing more; what runs is ended.",
    "drain": "begins nothing more; what takes long goes back to the queue.",
    "resume": "works again.",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a press."""

    about: str
    """The worker, or the job; "" for all workers."""
    words: str
    """HTML."""


class Watch:
    """One operator's open tab: what they want to see, and what came of their presses.

    Its events run side by side: what a look has found is told unless one that began later was told before it, and what
    came of a press is told by whichever look ends next.
    """

    def __init__(self) -> None:
        self.minutes = next(iter(SPANS))
        """How far the plots look back."""
        self.failed = FAILED_AT_FIRST
        """How many failed jobs are shown, and how many that were set aside."""
        self._said: dict[str, tuple[str, int]] = {}
        """By what a press was about: its words, and how many more looks tell of it."""
        self._begun = 0
        self._told = 0
        """The number of the latest look, by its begin, that was told."""
        self._is_away = False
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> Self:
        """Give a new one: Gradio copies what it is given first for each session."""
        return type(self)()

    def look_back(self, minutes: object) -> bool:
        """Have the plots look so far back from now on; False if that is not offered."""
        if not isinstance(minutes, int) or minutes not in SPANS:
            return False
        self.minutes = minutes
        return True

    def show_failed(self, most: object) -> bool:
        """Have so many failed jobs shown from now on; False if that is no number."""
        if not isinstance(most, int):
            return False
        self.failed = min(max(most, FAILED_AT_FIRST), MOST_FAILED)
        return True

    def say(self, said: Said) -> None:
        """Tell of a press from now on, and no longer of those about the same; after one for all, of no other."""
        with self._lock:
            kept = {about: one for about, one in self._said.items() if said.about not in ("", about)}
            self._said = dict([*kept.items(), (said.about, (said.words, LOOKS_SAID))][-MOST_SAID:])

    def begin(self) -> int:
        """Number a look that begins now."""
        with self._lock:
            self._begun += 1
            return self._begun

    def tell(self, number: int, boards: Mapping[str, str]) -> dict[str, str]:
        """Give what a look tells, with what came of the presses; nothing if a later one was told before."""
        with self._lock:
            if number < self._told:
                return {}
            self._told, self._is_away = number, False
            notice = "".join(words for words, _ in self._said.values())
            self._said = {about: (words, looks - 1) for about, (words, looks) in self._said.items() if looks > 1}
            return {"notice": notice, **boards}

    def tell_away(self, words: str, headline: str = "Out of reach.") -> dict[str, str]:
        """Say that nothing can be seen; what the browser was told before stays."""
        with self._lock:
            if not self._is_away:  # once an outage, not once a look
                _log.warning("The operators' tab: %s", words)
            self._is_away = True
        return {"notice": away_notice(headline, f"{words} What you see below may be old.")}


def look(client: Client, watch: Watch) -> dict[str, str]:
    """See how everything stands, as HTML by section; all of it each time, for an answer may get lost on its way.

    While the gateway is away, that is said and no more. Nothing is told of what a later look has told before.
    """
    number, minutes, most = watch.begin(), watch.minutes, watch.failed
    try:
        history = client.history(minutes=minutes)
        boards = {
            "fleet": fleet_board(client.workers()),
            "queue": queue_board(client.queue()),
            "failed": _failed(client, most, history.until),
            "history": history_board(history),
        }
    except DarkroomError as error:
        return watch.tell_away(plain_words(error), headline_of(error))
    return watch.tell(number, boards)


def refused(watch: Watch) -> dict[str, str]:
    """Say that this is no operator any more; what was seen last stays."""
    return watch.tell_away("The gateway does not take your key for an operator's any more.")


def unsure(watch: Watch, error: DarkroomError) -> dict[str, str]:
    """Say that nobody can tell whether this is still an operator; what was seen last stays."""
    return watch.tell_away(plain_words(error), headline_of(error))


def direct(client: Client, order: Order, worker: str = "") -> Said:
    """Tell a worker, or all of them, what to do."""
    who = f"Worker {worker}" if worker else "Every worker"
    try:
        if worker:
            client.direct_worker(order, worker)
        else:
            client.direct_all(order)
    except WorkerNotFound:
        return Said(worker, _notice("wait", f"{who} is gone.", "It needs no orders any more."))
    except DarkroomError as error:
        return Said(worker, _refusal(error))
    return Said(worker, _notice("done", who, _DONE[order]))


def resend(client: Client, job_id: str) -> Said:
    """Send a failed job again, for its tenant."""
    try:
        again = client.retry_failed(job_id)
    except JobNotFound:
        return Said(
            job_id, _notice("wait", "That job is gone.", "Its owner has deleted it, or it was kept long enough.")
        )
    except DarkroomError as error:
        return Said(job_id, _refusal(error))
    return Said(job_id, _notice("done", "Sent again.", f"Job {again.id} waits for {again.model}, for {again.tenant}."))


def _failed(client: Client, most: int, now: datetime) -> str:
    """Show what failed: first the jobs that were set aside, however many have failed since."""
    aside, failed = client.set_aside(limit=most).data, client.failed(limit=most).data
    is_full = most in (len(aside), len(failed))
    more = min(most + FAILED_AT_FIRST, MOST_FAILED) if is_full and most < MOST_FAILED else None
    first = {job.id for job in aside}
    return failed_board(
        [_as_failed(job) for job in aside], [job for job in failed if job.id not in first], now, more=more
    )


def _as_failed(job: SetAsideJob) -> FailedJob:
    """Leave the texts out."""
    return FailedJob(
        id=job.id,
        tenant=job.tenant,
        model=job.model,
        lane=job.lane,
        width=job.params.width,
        height=job.params.height,
        num_images=job.params.num_images,
        num_inference_steps=job.params.num_inference_steps,
        error=job.error,
        is_set_aside=True,
        attempts=job.attempts,
        lost_workers=job.lost_workers,
        created_at=job.created_at,
        failed_at=job.set_aside_at,
        retried_as=job.retried_as,
    )


def _refusal(error: DarkroomError) -> str:
    _log.warning("An operator's press: %s", error)
    headline = "No answer." if isinstance(error, GatewayUnavailable) else "Not now."
    return _notice("wait", headline, plain_words(error))


def _notice(kind: str, headline: str, message: str) -> str:
    return f'<p class="notice {kind}"><strong>{escape(headline)}</strong> {escape(message)}</p>'
