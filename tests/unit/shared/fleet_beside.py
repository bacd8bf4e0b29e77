"""The fleet's verbs on a real server, beside what they should have come to; the state machine drives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import pytest

from shared import scripts
from shared.errors import WorkerNotFound
from shared.jobs import WorkerId
from shared.keys import DEFAULT
from shared.scripts import Mode
from tests.desk import CARD, Desk, state

LIFE_S: Final = 3600.0
"""Longer than any test: a worker falls silent only when it is told to."""


@final
class FleetBeside:
    """Who came, who lives and what each was told."""

    def __init__(self, desk: Desk, modes: Callable[[], dict[str, Mode]]) -> None:
        self._desk = desk
        self._modes = modes
        self._born: set[str] = set()
        self._living: set[str] = set()

    def heartbeat(self, worker: WorkerId, *, is_known: bool) -> None:
        if is_known:
            self._desk(scripts.announce(CARD))
        told = self._desk(scripts.heartbeat(state(worker), life_s=LIFE_S))
        self._living.add(worker)
        self._born.add(worker)
        wanted = {self._modes().get("*", Mode.WORK), self._modes().get(worker, Mode.WORK)}
        assert told.mode is next(mode for mode in (Mode.DRAINED, Mode.PAUSED, Mode.WORK) if mode in wanted)
        assert told.is_announced or not is_known

    def leave(self, worker: WorkerId, *, failed: bool) -> None:
        self._desk(scripts.leave(worker, CARD.id, failed=failed))
        self._living.discard(worker)
        self._modes().pop(worker, None)
        if not failed:
            self._born.discard(worker)

    def fall_silent(self, worker: WorkerId) -> None:
        self._desk.client.delete(f"{DEFAULT.prefix}worker:{worker}")
        self._living.discard(worker)

    def direct(self, worker: WorkerId | None, mode: Mode) -> None:
        if worker is not None and worker not in self._living:
            with pytest.raises(WorkerNotFound):
                self._desk(scripts.direct(mode, worker))
            return
        self._desk(scripts.direct(mode, worker))
        self._modes().pop(worker or "*", None)
        if mode is not Mode.WORK:
            self._modes()[worker or "*"] = mode

    def look(self) -> None:
        fleet = self._desk(scripts.fleet())
        assert {worker.id for worker in fleet.workers} == self._living
        assert fleet.lost.get(CARD.id, 0) == len(self._born - self._living)
        assert dict(fleet.modes) == {name: mode for name, mode in self._modes().items() if name != "*"}
        assert fleet.mode == self._modes().get("*", Mode.WORK)
