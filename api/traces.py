"""The gateway's spans: a request that changes something or is refused, and within it the submit that makes a job.

Knows which requests are traced and what is said of them; docs/operations/traces.md shows the tree. Polls and probes
that are answered have no span: they would be all that one sees.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Final, final

from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from api.context import Exchange, exchange
from shared.jobs import Job, NewJob, Submission, Submitted, TraceParent
from shared.logs import About
from shared.tracing import NOWHERE, Tracing, about_job, context_of, inside, links_to, parent_of

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@final
class Offer:
    """A job on its way into the queue, with the span of its submit if it is traced."""

    def __init__(self, new: NewJob, span: Span | None) -> None:
        self.new = new
        """To be submitted: it says from where its worker's spans go on."""
        self._span = span

    def took(self, submitted: Submitted | None) -> None:
        """Say what became of it; None: it was another line's turn."""
        if self._span is None:
            return
        how = "passed" if submitted is None else submitted.how.value
        self._span.set_attribute("darkroom.submission", how)
        if submitted is None:
            return
        job = submitted.job
        self._span.set_attribute("darkroom.job.id", job.id)
        # Whose work it is that this job shows.
        there = job.trace if submitted.how is Submission.REPEATED else job.pictures_trace
        for link in links_to(there):
            self._span.add_link(link.context)


@final
class Traces:
    """One gateway's."""

    def __init__(self, tracing: Tracing, *, trusts_callers: bool) -> None:
        self._tracing = tracing
        self._trusts_callers = trusts_callers
        self.is_on: Final = tracing.is_on

    def request(self, headers: Mapping[str, str], about: About, *, at_ns: int | None = None) -> Span:
        """Begin the span of a request that may change something, or of one that did not go well and began then."""
        theirs = headers.get("traceparent")
        # A stranger who could choose the trace could have all of its requests sampled: it gets a link.
        parent = context_of(theirs, headers.get("tracestate")) if self._trusts_callers else NOWHERE
        links = () if self._trusts_callers else links_to(theirs)
        facts: dict[str, AttributeValue] = {"darkroom.request.id": about.request}
        return self._tracing.begin(
            "request", parent=parent, kind=SpanKind.SERVER, facts=facts, links=links, at_ns=at_ns
        )

    def answered(self, span: Span, name: str, status: int | None, exchange: Exchange) -> None:
        """End a request's span with what it turned out to be: its method, and its route as the document has it."""
        about, code = exchange.about, exchange.code
        if span.is_recording():
            span.update_name(name)
            method, _, route = name.partition(" ")
            span.set_attribute("http.request.method", method)
            span.set_attribute("http.route", route)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if about.tenant:
                span.set_attribute("darkroom.tenant", about.tenant)
            if about.job:
                span.set_attribute("darkroom.job.id", about.job)
            if code:
                span.set_attribute("error.type", code)
            if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR, code or None))
        span.end()

    def repeated(self, job: Job) -> None:
        """Link the running request to the job that it made when it came before."""
        span = exchange().span
        if span is not None:
            for link in links_to(job.trace):
                span.add_link(link.context)

    @contextmanager
    def offered(self, new: NewJob, *, again: TraceParent | None = None) -> Generator[Offer]:
        """Trace a job's submit within the running request's span; `again`: the job that this is another try of."""
        request = exchange().span
        if request is None or not request.is_recording():
            yield Offer(new, None)
            return
        kind, facts = SpanKind.PRODUCER, about_job(new)
        span = self._tracing.begin("submit", parent=inside(request), kind=kind, facts=facts, links=links_to(again))
        with _ending(span):
            yield Offer(replace(new, trace=parent_of(span)), span)

    @contextmanager
    def offered_line(self, new: NewJob, *, batch: str, line: int, request: TraceParent | None) -> Generator[Offer]:
        """Trace a line's submit, a trace of its own; `request` brought the batch."""
        if not self.is_on:
            yield Offer(new, None)
            return
        kind, links = SpanKind.PRODUCER, links_to(request)
        facts = about_job(new) | {"darkroom.batch.id": batch, "darkroom.batch.line": line}
        span = self._tracing.begin("submit", parent=NOWHERE, kind=kind, facts=facts, links=links)
        with _ending(span):
            yield Offer(replace(new, trace=parent_of(span)), span)


@contextmanager
def _ending(span: Span) -> Generator[None]:
    """End a span; an error is told by its name alone, for its words may quote what a customer wrote."""
    try:
        yield
    except Exception as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        span.end()


def began_at(took_s: float) -> int:
    """When something that took so long until now began, in Unix nanoseconds."""
    return time.time_ns() - round(took_s * 1_000_000_000)
