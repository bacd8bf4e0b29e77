"""Takes dead workers' jobs back to the queue and wakes somebody for what waits, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from typing import Final, final

import redis
from redis.exceptions import RedisError

from shared.broker import WakeUps
from shared.connection import run
from shared.errors import QueueUnavailable
from shared.keys import queue_of
from shared.scripts import reap
from shared.settings import Settings

SWEEPS_PER_LEASE: Final = 5

_logger = logging.getLogger(__name__)


@final
class Sweeper:
    """Sweeps five times a lease. Every worker and gateway does; one is enough."""

    def __init__(self, client: redis.Redis, settings: Settings, wake_ups: WakeUps) -> None:
        self._client = client
        self._settings = settings
        self._wake_ups = wake_ups
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def close(self) -> None:
        """Sweep no more."""
        self._closing.set()
        self._thread.join()

    def sweep(self) -> None:
        """Sweep once. Raises QueueUnavailable or RedisError."""
        swept = run(self._client, reap(lease_s=self._settings.lease_s, max_attempts=self._settings.max_attempts))
        for job_id in swept.requeued:
            _logger.warning("its worker was lost, it waits again", extra={"job": job_id})
        for job_id in swept.failed:
            _logger.error("its workers were lost too often, it failed", extra={"job": job_id})
        for job_id in swept.overdue:
            _logger.info("it had not ended by its deadline", extra={"job": job_id})
        for pool in swept.waiting_pools:
            # Behind busy workers one wake-up waits already; only a lost one is made good.
            if self._client.llen(queue_of(pool)) == 0:
                self._wake_ups.send(pool)

    def _loop(self) -> None:
        while not self._closing.wait(self._settings.lease_s / SWEEPS_PER_LEASE):
            try:
                self.sweep()
            except (QueueUnavailable, RedisError):
                continue  # the heartbeat says so already
            except Exception:
                _logger.exception("a sweep failed; the next one comes")
