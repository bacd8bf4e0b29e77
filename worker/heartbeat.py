"""Keeps a worker's leases and its place in the fleet, from a thread of its own.

It stops when the shift makes no progress: a worker that hangs must lose its jobs to others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, final

import redis

from shared.connection import run
from shared.contract import WorkerState
from shared.errors import LayoutsApart, QueueUnavailable
from shared.generation import ModelCard
from shared.meters import ENGINE_SECONDS, REDIS_CALL_SECONDS, REDIS_ERRORS
from shared.parts import PERIOD_S, PartKind, this_part
from shared.scripts import Mode, announce, heartbeat, join, meter, renew
from shared.settings import Settings
from shared.vocabulary import Vocabulary
from worker.duty import Duty
from worker.measures import PART
from worker.news import Lost

BEATS_PER_LEASE: Final = 5
TELL_S: Final = 5.0
"""Between two times that what was counted is added to the fleet's."""

_logger = logging.getLogger(__name__)

_MEANING: Final = {
    Mode.WORK: "work",
    Mode.PAUSED: "pause; what runs is ended, nothing more is begun",
    Mode.DRAINED: "drain; what runs is ended if that is soon, else handed back",
}


@dataclass(frozen=True, slots=True)
class _Announcement:
    """What a worker says of its model."""

    card: ModelCard
    vocabulary: Vocabulary | None = None
    """None until the model is loaded."""


@final
class Heartbeat:
    """Renews the leases and publishes the worker's state, five times a lease, and what it counted now and then."""

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        duty: Duty,
        *,
        card: ModelCard,
        state: Callable[[], WorkerState],
        on_hung: Callable[[], None],
        on_apart: Callable[[LayoutsApart], None] = lambda error: _logger.critical("%s", error),
        on_orders: Callable[[Mode], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._announcement = _Announcement(card)
        self._state = state
        self._leases = duty.leases
        self._pulse = duty.pulse
        self._inbox = duty.inbox
        self._wish = duty.wish
        self._meters = duty.meters
        self._timesheet = duty.timesheet
        self._tell_again_at = 0.0
        self._on_hung = on_hung
        self._on_apart = on_apart
        self._on_orders = on_orders
        self._join_again_at = 0.0
        self._is_away = False
        self._is_unseen = False
        self._announced: _Announcement | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        if self._settings.state_file is not None:  # what a dead process said in this place is no state of this one
            with suppress(OSError):
                self._settings.state_file.unlink(missing_ok=True)
        self._thread.start()

    def close(self) -> None:
        """Beat no more."""
        self._closing.set()
        self._thread.join()

    def announce(self, card: ModelCard, vocabulary: Vocabulary) -> None:
        """Have the next beat announce what is known once the model is loaded."""
        self._announcement = _Announcement(card, vocabulary)

    def beat(self) -> None:
        """Renew the leases, tell the shift of the lost ones, publish the state, hear the orders, publish the card.

        Raises QueueUnavailable, LayoutsApart; probes on this machine are told the state all the same.
        """
        lease_s = self._settings.lease_s
        try:
            self._renew(lease_s)  # first: nothing that goes wrong with the rest shall cost a lease
        finally:
            state = self._state()
            self._show(state)
        if time.monotonic() >= self._join_again_at:
            self._join_again_at = time.monotonic() + PERIOD_S
            run(self._client, join(this_part(PartKind.WORKER, state.id)))
        said = self._announcement
        has_vocabulary = said.vocabulary is not None
        with self._meters.timed(REDIS_CALL_SECONDS, PART):
            orders = run(self._client, heartbeat(state, life_s=lease_s, has_vocabulary=has_vocabulary))
        if self._wish.hear(orders.mode):
            _logger.info("told by the operators: %s", _MEANING[orders.mode])
        self._on_orders(orders.mode)
        if not orders.is_announced or self._announced is not said:  # what is known may be another worker's
            run(self._client, announce(said.card, said.vocabulary))
            self._announced = said
        if time.monotonic() >= self._tell_again_at:
            self.tell()
            self._tell_again_at = time.monotonic() + TELL_S

    def tell(self) -> None:
        """Add what the worker has counted to the fleet's. Raises QueueUnavailable; then it is sent again next time."""
        for doing, seconds in self._timesheet.take().items():
            self._meters.add(ENGINE_SECONDS, seconds, doing, self._announcement.card.id)
        if (untold := self._meters.untold()) is not None:
            run(self._client, meter(self._meters.source, untold))
            self._meters.told()

    def _loop(self) -> None:
        while True:
            if self._pulse.age_s > self._settings.hung_step_s:
                self._on_hung()
                return
            try:
                self.beat()
                self._note(is_away=False)
            except QueueUnavailable:
                self._meters.count(REDIS_ERRORS, PART)
                self._note(is_away=True)
            except LayoutsApart as error:
                self._on_apart(error)
                return
            except Exception:
                _logger.exception("a heartbeat failed; the next one comes")
            if self._closing.wait(self._settings.lease_s / BEATS_PER_LEASE):
                return

    def _renew(self, lease_s: float) -> None:
        held = self._leases.held()
        if held:
            for lost in run(self._client, renew(held, lease_s=lease_s)):
                self._inbox.put(Lost(lost))

    def _show(self, state: WorkerState) -> None:
        file = self._settings.state_file
        if file is None:
            return
        try:
            draft = file.with_name(f"{file.name}.new")
            draft.write_text(f"{state.state}\n")
            draft.replace(file)  # a probe sees no half of it
        except OSError as error:
            if not self._is_unseen:
                _logger.warning("probes can't see how this worker is: %s", error)
            self._is_unseen = True
        else:
            self._is_unseen = False

    def _note(self, *, is_away: bool) -> None:
        if is_away and not self._is_away:
            _logger.warning("the queue does not answer; work goes on, leases may be lost")
        elif self._is_away and not is_away:
            _logger.info("the queue answers again")
        self._is_away = is_away
