"""A courier's life: take calls from its Celery queue, work a shift for each, end when told to."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast, final

from celery import signals  # pyright: ignore[reportMissingTypeStubs]: celery ships no types

from shared.broker import COURIER_QUEUE, DELIVER, courier_queue, make_app
from shared.connection import connect, connect_async
from shared.errors import LayoutsApart, QueueUnavailable
from shared.logs import name_worker
from shared.settings import Settings
from shared.tracing import OFF, Tracing
from shared.worker_id import new_worker_id
from worker.courier.heartbeat import Heartbeat
from worker.courier.rounds import Rounds
from worker.courier.sender import Sender

_logger = logging.getLogger(__name__)


@final
class Courier:
    """One process that sends; several share the work."""

    def __init__(self, settings: Settings, tracing: Tracing = OFF) -> None:
        self._settings = settings
        self._tracing = tracing
        self._app = make_app(settings)
        self._is_stopping = False
        self.id = new_worker_id()
        self._heartbeat = Heartbeat(self.id, connect(settings))

    def run(self) -> int:
        """Work until a signal ends it; the process' exit code."""
        try:
            self._heartbeat.join()
        except LayoutsApart as error:
            _logger.critical("%s", error)
            return 1
        except QueueUnavailable:
            pass  # the heartbeat says it again
        app = cast("Any", self._app)
        app.conf.task_queues = [courier_queue()]
        app.task(name=DELIVER)(self._work_a_shift)
        self._heartbeat.begin(self._app)
        cast("Any", signals).worker_shutting_down.connect(self._on_shutting_down, weak=False)
        name_worker(self.id)
        _logger.info("ready", extra={"courier": self.id, "queue": COURIER_QUEUE})
        worker = app.Worker(
            hostname=f"courier-{self.id}",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        _logger.info("stopped", extra={"courier": self.id})
        return worker.exitcode or 0

    def _work_a_shift(self) -> None:
        try:
            asyncio.run(self._shift())
        finally:
            self._heartbeat.rest()

    async def _shift(self) -> None:
        settings = self._settings
        redis = connect_async(settings)
        try:
            async with Sender(settings.webhook_reach, timeout_s=settings.webhook_timeout_s) as sender:
                rounds = Rounds(
                    redis,
                    sender,
                    timeout_s=settings.webhook_timeout_s,
                    dead_after_s=settings.webhook_dead_after_s,
                    tracing=self._tracing,
                )
                await rounds.run(is_stopping=self._stops_now)
        finally:
            await redis.aclose()

    def _stops_now(self) -> bool:
        """True once no more rounds shall begin. A shift asks before each look, so it is seen to go on."""
        self._heartbeat.move()
        return self._is_stopping

    def _on_shutting_down(self, **_: object) -> None:
        """Let a shift begin no more rounds. Runs in a signal's handler: takes no lock, does not log."""
        self._is_stopping = True
