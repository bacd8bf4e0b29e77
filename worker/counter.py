"""The queue's counter: where a shift takes jobs and hands them back."""

from __future__ import annotations

import logging
from typing import final
from uuid import uuid4

import redis

from shared.broker import WakeUps
from shared.connection import run
from shared.errors import LeaseLost, QueueUnavailable
from shared.jobs import LeaseToken, WorkerId
from shared.lanes import Lane
from shared.scripts import Claimed, Lease, claim, release

_logger = logging.getLogger(__name__)


@final
class Counter:
    """Claims jobs of one pool for one worker; for one thread."""

    def __init__(self, client: redis.Redis, wake_ups: WakeUps, *, pool: str, worker: WorkerId, lease_s: float) -> None:
        self._client = client
        self._wake_ups = wake_ups
        self._pool = pool
        self._worker = worker
        self._lease_s = lease_s
        self._unanswered: LeaseToken | None = None

    @property
    def is_in_doubt(self) -> bool:
        """True while a claim has got no answer: it may have been heard, and a job may wait for it to be repeated."""
        return self._unanswered is not None

    @property
    def pool(self) -> str:
        """Whose jobs they are."""
        return self._pool

    def claim(self, lane: Lane | None = None, *, is_busy: bool = False) -> Claimed | None:
        """Take the job that goes next, in one lane or both; None if none waits or the queue does not answer.

        Who is busy leaves what has just come to a worker that is not.
        """
        is_repeated = self._unanswered is not None
        token = self._unanswered or LeaseToken(uuid4().hex)
        self._unanswered = token  # a claim that got no answer may have been heard: the next one repeats it
        try:
            call = claim(self._pool, self._worker, token, lease_s=self._lease_s, lane=lane, is_busy=is_busy)
            claimed = run(self._client, call)
        except QueueUnavailable:
            return None
        self._unanswered = None
        return self.claim(lane, is_busy=is_busy) if claimed is None and is_repeated else claimed

    def release(self, lease: Lease) -> None:
        """Hand a job back, not charged, and wake another worker for it. Never fails: at worst the lease ends."""
        try:
            run(self._client, release(lease))
            self._wake_ups.send(self._pool)
        except LeaseLost:
            return
        except QueueUnavailable:
            _logger.warning("the queue is away, so the job waits for its lease to end", extra={"job": lease.job_id})
