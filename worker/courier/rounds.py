"""A courier's shift: round by round, what is due is sent, and what came of it is noted.

A round is some deliveries to one webhook, sent at once. Many rounds go on side by side, and one webhook has one at a
time, so a receiver that hangs keeps nobody waiting but itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, final
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue
from redis.asyncio import Redis

from shared.batches import batch_body
from shared.connection import run_async
from shared.contract import job_body
from shared.errors import QueueUnavailable
from shared.jobs import trace_id
from shared.logs import About, about
from shared.scripts import collect, settle
from shared.tracing import OFF, Tracing, context_of
from shared.webhooks import Attempt, Delivery, DeliveryId, Message, Outcome, Round, WebhookEvent
from worker.courier.sender import Sender

_logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 8
"""Deliveries of a round: what a receiver must bear at a time."""
MOST_ROUNDS: Final = 64
MOST_FAILING: Final = 48
"""Of those rounds, for webhooks whose last one was refused: however many hang, others need not wait for them."""
LOOK_S: Final = 0.25
"""How often a shift looks for more while it sends."""
SPARE_S: Final = 5.0
"""What a round may take beyond its time-out until it counts as dead."""

PAUSES_S: Final = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
"""Before the second try, the third, and so on (Standard Webhooks' schedule): three days and a quarter in all."""


@final
class Rounds:
    """Sends what is due, for one event loop."""

    def __init__(
        self, redis: Redis, sender: Sender, *, timeout_s: float, dead_after_s: float, tracing: Tracing = OFF
    ) -> None:
        self._redis = redis
        self._sender = sender
        self._tracing = tracing
        self._hold_s = timeout_s + SPARE_S
        self._dead_after_s = dead_after_s

    async def run(self, *, is_stopping: Callable[[], bool]) -> None:
        """Send until nothing is due; once it `is_stopping`, end what is under way and begin nothing more."""
        under_way: dict[asyncio.Task[None], Round] = {}
        while True:
            taken = None
            if not is_stopping() and len(under_way) < MOST_ROUNDS:
                failing = sum(one.fails for one in under_way.values())
                taken = await self._collect(only_well=failing >= MOST_FAILING)
            if taken is not None:
                under_way[asyncio.create_task(self._send(taken))] = taken
            elif under_way:
                done, _ = await asyncio.wait(under_way, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del under_way[task]
                    if error := task.exception():
                        _logger.error("a round failed; it is sent again", exc_info=error)
            else:
                return

    async def _collect(self, *, only_well: bool) -> Round | None:
        call = collect(most=MOST_AT_ONCE, hold_s=self._hold_s, only_well=only_well)
        try:
            return await run_async(self._redis, call)
        except QueueUnavailable:
            _logger.warning("the queue is away: nothing is sent until it answers")
            return None
        except (ValueError, LookupError) as error:  # such as of another version; the others' rounds go on
            _logger.error("a round can't be read, and is tried again: %s", type(error).__name__)  # noqa: TRY400 it quotes
            return None

    async def _send(self, taken: Round) -> None:
        attempts = await asyncio.gather(*(self._deliver(taken, delivery) for delivery in taken.deliveries))
        said: dict[DeliveryId, Attempt] = {
            delivery.id: attempt for delivery, attempt in zip(taken.deliveries, attempts, strict=True)
        }
        try:
            off = await run_async(self._redis, settle(taken.webhook, said, dead_after_s=self._dead_after_s))
        except QueueUnavailable:
            _logger.warning("the queue is away: a round is sent again", extra={"webhook": taken.webhook})
            return
        if off is not None:
            where = {"webhook": taken.webhook, "receiver": _receiver_of(taken), "reason": off}
            _logger.warning("switched off", extra=where)

    async def _deliver(self, taken: Round, delivery: Delivery) -> Attempt:
        at_ms = time.time_ns() // 1_000_000
        if delivery.event is not WebhookEvent.TEST and delivery.job is None and delivery.batch is None:
            return Attempt(
                tries=delivery.tries,
                outcome=Outcome.DROPPED,
                at_ms=at_ms,
                took_ms=0,
                error="What it is about was deleted, so there is nothing to tell.",
            )
        with about(_about(delivery)):
            answer = await self._sender.send(taken.url, delivery.id, message_of(delivery), taken.secrets)
            pause_s = pause_before(delivery.tries + 1)
            outcome = Outcome.DELIVERED if not answer.error else Outcome.FAILED if pause_s is None else Outcome.AGAIN
            attempt = Attempt(
                tries=delivery.tries,
                outcome=outcome,
                at_ms=at_ms,
                took_ms=answer.took_ms,
                status=answer.status,
                error=answer.error,
                again_in_ms=pause_s * 1000 if outcome is Outcome.AGAIN and pause_s is not None else None,
            )
            _tell(taken, delivery, attempt)
            self._trace(taken, delivery, attempt)
        return attempt

    def _trace(self, taken: Round, delivery: Delivery, attempt: Attempt) -> None:
        """Tell of a try in the trace of the job that it is about, if that is traced."""
        job = delivery.job
        if not self._tracing.is_on or job is None or job.trace is None:
            return
        facts: dict[str, AttributeValue] = {
            "darkroom.job.id": job.id,
            "darkroom.tenant": job.tenant,
            "darkroom.webhook.id": taken.webhook,
            "darkroom.webhook.event": delivery.event.value,
            "darkroom.webhook.outcome": attempt.outcome.value,
            "darkroom.webhook.tries": attempt.tries,
            "server.address": _receiver_of(taken),
        }
        if attempt.status is not None:
            facts["http.response.status_code"] = attempt.status
        began_ns = attempt.at_ms * 1_000_000
        span = self._tracing.begin(
            "webhook", parent=context_of(job.trace), kind=SpanKind.CLIENT, facts=facts, at_ns=began_ns
        )
        if attempt.error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(began_ns + attempt.took_ms * 1_000_000)


def _about(delivery: Delivery) -> About:
    job = delivery.job
    return About() if job is None else About(job.asked or "", job.tenant, job=job.id, trace=trace_id(job.trace))


def _tell(taken: Round, delivery: Delivery, attempt: Attempt) -> None:
    """Log what came of a try. No warning: a receiver that fails is its tenant's trouble, not the operator's."""
    said: dict[str, object] = {
        "webhook": taken.webhook,
        "receiver": _receiver_of(taken),
        "event": delivery.event.value,
        "outcome": attempt.outcome.value,
        "tries": attempt.tries,
        "took_ms": attempt.took_ms,
    }
    if attempt.status is not None:
        said["status"] = attempt.status
    if delivery.batch is not None:
        said["batch"] = delivery.batch.id
    _logger.info("sent", extra=said)


def _receiver_of(taken: Round) -> str:
    """The host that is told; the rest of its URL may hold what nobody shall read."""
    return urlsplit(taken.url).hostname or ""


def message_of(delivery: Delivery) -> bytes:
    """Say a delivery in JSON: the same bytes with each try, as what has ended changes no more."""
    job, batch = delivery.job, delivery.batch
    data = job_body(job, now_ms=delivery.created_at_ms) if job else batch_body(batch) if batch else None
    at = datetime.fromtimestamp(delivery.created_at_ms / 1000, tz=UTC)
    return Message(type=delivery.event, timestamp=at, data=data).model_dump_json().encode()


def pause_before(tries: int) -> int | None:
    """How many seconds to wait before this try, the second being the first one that waits; None if there is none."""
    pauses = PAUSES_S[tries - 2 : tries - 1]
    return pauses[0] if pauses else None
