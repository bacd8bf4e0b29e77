"""What becomes of spans in a test: a receiver of OTLP over HTTP such as collectors have, or a list in this process."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, cast

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from shared.tracing import Tracing

NS_A_SECOND: Final = 1_000_000_000


@dataclass(frozen=True)
class Seen:
    """A span as it was received."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    """Empty: it began the trace."""
    began_ns: int
    ended_ns: int
    facts: Mapping[str, object]
    links: tuple[tuple[str, str], ...]
    """Trace and span of each."""
    failed: bool
    words: str
    """All text in it."""

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.id}-01"


@dataclass
class Collector:
    """What has come."""

    url: str
    spans: list[Seen] = field(default_factory=list[Seen])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    answers: threading.Event = field(default_factory=threading.Event)
    """Unset: it takes what comes and does not answer."""

    def named(self, name: str, **facts: object) -> list[Seen]:
        """Those of a name, in the order of their begin; `facts` with `_` for a dot."""
        found = [span for span in tuple(self.spans) if span.name == name]
        wanted = {key.replace("_", "."): value for key, value in facts.items()}
        return sorted((span for span in found if wanted.items() <= span.facts.items()), key=lambda span: span.began_ns)

    def children(self, parent: Seen) -> list[Seen]:
        return sorted((span for span in self.spans if span.parent == parent.id), key=lambda span: span.began_ns)

    def trace(self, trace: str) -> list[Seen]:
        return [span for span in self.spans if span.trace == trace]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        collector = cast("_Server", self.server).collector
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        collector.headers.append({name.lower(): value for name, value in self.headers.items()})
        collector.answers.wait()
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        assert self.path == "/v1/traces"
        collector.spans.extend(seen_in(request))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
        del format, args


class _Server(ThreadingHTTPServer):
    collector: Collector
    daemon_threads = True
    block_on_close = False  # one that does not answer is left behind


@contextmanager
def collector(*, answers: bool = True) -> Generator[Collector]:
    """Receive spans on a free port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.collector = made = Collector(f"http://127.0.0.1:{server.server_port}")
        if answers:
            made.answers.set()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def seen_in(request: ExportTraceServiceRequest) -> list[Seen]:
    """Read what was sent."""
    seen: list[Seen] = []
    for resource in request.resource_spans:
        service = _facts(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            seen += [
                Seen(
                    service=str(service),
                    name=span.name,
                    kind=type(span).SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    began_ns=span.start_time_unix_nano,
                    ended_ns=span.end_time_unix_nano,
                    facts=_facts(span.attributes),
                    links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    words=f"{resource.resource} {span}",
                )
                for span in scope.spans
            ]
    return seen


def _facts(said: Sequence[KeyValue]) -> dict[str, object]:
    return {one.key: _value(one.value) for one in said}


def _value(said: AnyValue) -> object:
    if said.HasField("array_value"):
        return tuple(_value(one) for one in said.array_value.values)
    return getattr(said, said.WhichOneof("value") or "string_value")


class Kept:
    """Spans of this process, each as soon as it has ended."""

    def __init__(self, *, part: float = 1.0) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBasedTraceIdRatio(part), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def forget(self) -> None:
        self._exporter.clear()

    @property
    def seen(self) -> Collector:
        """As a collector would have them."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415

        return Collector("", seen_in(encode_spans(self._exporter.get_finished_spans())))
