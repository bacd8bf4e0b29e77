"""Traces: what a job went through, from the request that made it to the webhook that told of its end.

Owns how a process makes spans, how a trace crosses the queue, and that nothing waits for whoever collects them. Which
spans there are, and what they say, is the parts' affair; docs/operations/traces.md tells readers. Built on
OpenTelemetry's API; its SDK and its exporter, which take time and memory, are imported once there is somewhere to send
spans to.

    tracing = start_tracing("gateway", Telemetry())     # OFF unless the environment names an endpoint
    span = tracing.begin("submit", kind=SpanKind.PRODUCER, parent=NOWHERE)
    new.trace = parent_of(span)                         # None if it is not sampled: then nobody goes on from it
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NoOpTracerProvider,
    Span,
    SpanKind,
    TracerProvider,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from shared.jobs import Job, NewJob, TraceParent
from shared.settings import Telemetry
from shared.version import VERSION

SCOPE: Final = "darkroom"
FAREWELL_S: Final = 2.0
"""How long a process that ends tries to send its last spans."""
SELDOM_S: Final = 60.0
"""Between two lines that spans could not be sent."""
SAID_SELDOM: Final = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")
"""Loggers that would tell with each try that spans are not taken, or that there are too many."""
ABOUT_CALLERS: Final = ("opentelemetry.trace.span", "opentelemetry.trace.propagation.tracecontext")
"""Loggers that would warn with each request of a caller whose headers are wrong, and quote them."""
NOWHERE: Final = Context()
"""No parent: a span that begins a trace. None would be whatever the running task is in."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()

_logger = logging.getLogger(__name__)


@final
class Tracing:
    """Makes one process' spans; for any thread."""

    def __init__(self, provider: TracerProvider, close: Callable[[], None] | None = None) -> None:
        self.is_on: Final = not isinstance(provider, NoOpTracerProvider)
        """False if every span would be thrown away: who asks first saves making it."""
        self._tracer = provider.get_tracer(SCOPE, VERSION)
        self._close = close

    def begin(
        self,
        name: str,
        *,
        parent: Context,
        kind: SpanKind = SpanKind.INTERNAL,
        facts: Mapping[str, AttributeValue] | None = None,
        links: Sequence[Link] = (),
        at_ns: int | None = None,
    ) -> Span:
        """Begin a span, now or at a time (Unix nanoseconds); whoever begins one ends it.

        `facts` never hold a prompt, a key, a password, or any text that a customer wrote.
        """
        return self._tracer.start_span(name, parent, kind, facts, links, at_ns)

    def tell(
        self, name: str, parent: Context, *, began_ns: int, ended_ns: int, facts: Mapping[str, AttributeValue]
    ) -> None:
        """Tell of what is over; times in Unix nanoseconds."""
        self.begin(name, parent=parent, facts=facts, at_ns=began_ns).end(ended_ns)

    def close(self) -> None:
        """Send what is left, for `FAREWELL_S` at most; nothing more is sent after that."""
        if self._close is None:
            return
        # Of its own, for the exporter may wait for a receiver that is away, and can't be interrupted.
        farewell = threading.Thread(target=self._close, name="traces' farewell", daemon=True)
        farewell.start()
        farewell.join(FAREWELL_S)


OFF: Final = Tracing(NoOpTracerProvider())


def parent_of(span: Span) -> TraceParent | None:
    """Say a span in the form of W3C's `traceparent`, for whoever goes on from it; None if it is not sampled."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return TraceParent(f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01")


def trace_of(span: Span) -> str:
    """The id of a span's trace, for lines of the log; empty if it is not sampled."""
    context = span.get_span_context()
    return format_trace_id(context.trace_id) if context.trace_flags.sampled else ""


def context_of(parent: str | None, state: str | None = None) -> Context:
    """Read a `traceparent`, and the `tracestate` beside it; `NOWHERE` if there is none, or it is none."""
    if parent is None:
        return NOWHERE
    said = {"traceparent": parent} if state is None else {"traceparent": parent, "tracestate": state}
    return _PROPAGATOR.extract(said, NOWHERE)


def inside(span: Span) -> Context:
    """Where a span's children begin."""
    return set_span_in_context(span, NOWHERE)


def links_to(*parents: str | None) -> tuple[Link, ...]:
    """Links to what led here without being above it; what is none is left out."""
    spans = (get_current_span(context_of(parent)) for parent in parents)
    return tuple(Link(span.get_span_context()) for span in spans if span is not INVALID_SPAN)


def about_job(job: Job | NewJob) -> dict[str, AttributeValue]:
    """Say which job a span is about, and how much work that is."""
    params = job.params
    return {
        "darkroom.job.id": job.id,
        "darkroom.tenant": job.tenant,
        "darkroom.model": job.model,
        "darkroom.pool": job.pool,
        "darkroom.lane": job.lane.value,
        "darkroom.job.width": params.width,
        "darkroom.job.height": params.height,
        "darkroom.job.steps": params.num_inference_steps,
        "darkroom.job.pictures": params.num_images,
    }


def start_tracing(part: str, telemetry: Telemetry) -> Tracing:
    """Let this process send spans, as `part`, if the environment says where to; never raises, never waits."""
    if not telemetry.is_wanted:
        return OFF
    if trouble := telemetry.trouble:
        _logger.error("no traces are sent: %s", trouble)
        return OFF
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (see above)
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    seldom = Seldom()
    for name in SAID_SELDOM:
        logging.getLogger(name).addFilter(seldom)
    for name in ABOUT_CALLERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    name = {"service.name": f"{SCOPE}-{part}"}
    ours = {"service.namespace": SCOPE, "service.version": VERSION, "host.name": socket.gethostname()}
    try:
        # What the environment says of the service counts more. The SDK reads that, as it does sampler, headers, limits.
        resource = Resource(ours).merge(Resource.create())
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource(name))
        provider = SdkProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except Exception as error:  # noqa: BLE001 (a variable of the SDK's that it can't read is no reason not to draw)
        _logger.error("no traces are sent, as OpenTelemetry can't be set up: %s", error)  # noqa: TRY400
        return OFF
    _logger.info("traces are sent", extra={"sampler": provider.sampler.get_description()})
    return Tracing(provider, provider.shutdown)


@final
class Seldom(logging.Filter):
    """Lets a line pass now and then: a receiver that is away would else be told of with each try."""

    def __init__(self) -> None:
        super().__init__()
        self._again_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass it if none has passed lately."""
        del record
        now = time.monotonic()
        if now < self._again_at:
            return False
        self._again_at = now + SELDOM_S
        return True
