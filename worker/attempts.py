"""The spans of a worker: one for each attempt at a traced job, in it one for each stage that a picture went through.

    submit ─┬─ wait         from the submit, or from when it was handed back, to the claim, by Redis' clock
            └─ attempt      until the worker lets the job go
                 ├─ prompt, denoise, decode, encode, upload, record     of each picture, as `worker.stages` tells
                 └─ finish or fail

A job that says no trace has none: that was decided when it was submitted. A worker that is killed has sent some of what
had ended; the next attempt names it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, final

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from shared.jobs import Job, WorkerId
from shared.scripts import Lease
from shared.tracing import OFF, Tracing, about_job, context_of, inside
from worker.stages import Passage, Stage

NS_A_MS: Final = 1_000_000
NS_A_SECOND: Final = 1_000_000_000


class Outcome(StrEnum):
    """How an attempt ended."""

    FINISHED = "finished"
    """All pictures are stored, and the queue knows."""
    FAILED = "failed"
    """The job failed."""
    LOST = "lost"
    """The job was canceled, or is another's by now."""
    HANDED_BACK = "handed_back"
    """Not charged: the worker is to stop, or the object store is away."""
    LEFT = "left"
    """The process ended with it; the job goes to another once the lease is over."""


@final
@dataclass(frozen=True, slots=True)
class _Attempt:
    span: Span
    inside: Context
    steps: int


@final
class Attempts:
    """Those under way; for any thread."""

    def __init__(self, tracing: Tracing = OFF, worker: WorkerId | None = None) -> None:
        self._tracing = tracing
        self._worker = worker
        # Each call that several threads may make at once is one call of the dictionary's.
        self._under_way: dict[Lease, _Attempt] = {}

    def begin(self, job: Job, lease: Lease) -> None:
        """Begin the span of an attempt at a job that has just been claimed, and tell how long it waited."""
        if not self._tracing.is_on or job.trace is None:
            return
        parent = context_of(job.trace)
        facts = about_job(job) | {"darkroom.attempt": job.attempt, "darkroom.worker.id": self._worker or ""}
        if job.lost_workers:
            facts["darkroom.lost_workers"] = job.lost_workers
        if job.claimed_at_ms is not None:
            began_ms = job.created_at_ms if job.queued_at_ms is None else job.queued_at_ms
            self._tracing.tell(
                "wait",
                parent,
                began_ns=began_ms * NS_A_MS,
                ended_ns=job.claimed_at_ms * NS_A_MS,
                facts={"darkroom.job.id": job.id, "darkroom.lane": job.lane.value},
            )
        span = self._tracing.begin("attempt", parent=parent, kind=SpanKind.CONSUMER, facts=facts)
        self._under_way[lease] = _Attempt(span, inside(span), job.params.num_inference_steps)

    def passed(self, passage: Passage) -> None:
        """Tell of a stage, unless its attempt is over. `Stages` calls this."""
        attempt = self._under_way.get(passage.lease)
        if attempt is None:
            return
        facts: dict[str, AttributeValue] = {"darkroom.picture": passage.index}
        if passage.stage is Stage.DENOISE:
            facts["darkroom.job.steps"] = attempt.steps
        began_ns = round(passage.began_at * NS_A_SECOND)
        span = self._tracing.begin(passage.stage.value, parent=attempt.inside, facts=facts, at_ns=began_ns)
        if passage.error is not None:
            _fails(span, type(passage.error).__name__)
        span.end(round(passage.ended_at * NS_A_SECOND))

    @contextmanager
    def telling(self, verb: str, lease: Lease) -> Generator[None]:
        """Trace how the queue is told of a job's end."""
        attempt = self._under_way.get(lease)
        if attempt is None:
            yield
            return
        span = self._tracing.begin(verb, parent=attempt.inside)
        try:
            yield
        except Exception as error:
            _fails(span, type(error).__name__)
            raise
        finally:
            span.end()

    def end(self, lease: Lease, outcome: Outcome, code: str = "") -> None:
        """End an attempt's span, if that has not been done; `code` says why its job failed."""
        attempt = self._under_way.pop(lease, None)
        if attempt is None:
            return
        attempt.span.set_attribute("darkroom.outcome", outcome.value)
        if code:
            _fails(attempt.span, code)
        attempt.span.end()

    def close(self) -> None:
        """End those that are left, so that they are seen, and send all spans: that takes a bounded time."""
        for lease in tuple(self._under_way):
            self.end(lease, Outcome.LEFT)
        self._tracing.close()


def _fails(span: Span, name: str) -> None:
    """Say that it did, by a name alone: an error's words may quote a prompt."""
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR))
