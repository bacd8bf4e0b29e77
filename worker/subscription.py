"""A worker's subscription to its pool's wake-ups: it takes none while it may begin nothing, so that others get them."""

from __future__ import annotations

from typing import Any, cast, final

from celery.worker.consumer import Consumer  # pyright: ignore[reportMissingTypeStubs]: celery ships no types


@final
class Subscription:
    """Takes the wake-ups of one queue, or leaves them there."""

    def __init__(self, consumer: Consumer, queue: str) -> None:
        self._consumer = cast("Any", consumer)
        self._queue = queue

    def keep(self, *, is_wanted: bool) -> None:
        """Take wake-ups or leave them; from any thread, and soon. Say it again and again: a reconnect may lose it."""
        tasks = self._consumer.task_consumer  # None before the first connection, another after each
        if tasks is not None and tasks.consuming_from(self._queue) != is_wanted:
            change = self._consumer.add_task_queue if is_wanted else self._consumer.cancel_task_queue
            self._consumer.call_soon(change, self._queue)
