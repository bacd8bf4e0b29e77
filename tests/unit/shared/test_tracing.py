"""Whether spans are sent, as what, and that nobody waits for whoever takes them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, get_current_span

from shared.jobs import trace_id
from shared.settings import Telemetry
from shared.tracing import (
    NOWHERE,
    OFF,
    SAID_SELDOM,
    Seldom,
    Tracing,
    context_of,
    inside,
    links_to,
    parent_of,
    start_tracing,
    trace_of,
)
from tests.collector import Collector, Kept, collector
from tests.servers import free_port, wait_until

PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
MALFORMED = ["", "x", PARENT[:-1], PARENT.replace("0", "g"), f"00-{32 * '0'}-0123456789abcdef-01"]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own variables are not these tests'."""
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL", "HEADERS"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    """What another test's process was told of is news here."""
    for name in SAID_SELDOM:
        logger = logging.getLogger(name)
        logger.filters[:] = [one for one in logger.filters if not isinstance(one, Seldom)]


@pytest.fixture
def receiver() -> Iterator[Collector]:
    with collector() as made:
        yield made


def start(monkeypatch: pytest.MonkeyPatch, url: str, **more: str) -> Tracing:
    for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": url, **more}.items():
        monkeypatch.setenv(name, value)
    return start_tracing("gateway", Telemetry())


def span_of(tracing: Tracing) -> Span:
    span = tracing.begin("one", parent=NOWHERE)
    span.end()
    return span


def test_without_an_endpoint_nothing_is_made_and_the_sdk_is_not_imported() -> None:
    script = """
import sys
from shared.settings import Telemetry
from shared.tracing import NOWHERE, OFF, parent_of, start_tracing
tracing = start_tracing("gateway", Telemetry())
assert tracing is OFF and not tracing.is_on
assert parent_of(tracing.begin("one", parent=NOWHERE)) is None
tracing.close()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={})
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "said",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"},
    ],
)
def test_the_standard_variables_can_say_that_nothing_is_sent(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)

    assert not Telemetry().is_wanted


@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "http://collector:4318"),
    ],
)
def test_what_can_not_be_sent_as_asked_is_said_and_nothing_breaks(
    variable: str, value: str, advice: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert start(monkeypatch, "http://collector:4318", **{variable: value}) is OFF

    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith("no traces are sent: ")
    assert advice in line


def test_spans_are_sent_with_the_headers_and_under_the_parts_name(
    receiver: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracing = start(monkeypatch, receiver.url, OTEL_EXPORTER_OTLP_HEADERS="Authorization=Basic%20aGVsbG8=")
    span_of(tracing)
    tracing.close()

    (seen,) = receiver.spans
    assert (seen.name, seen.service) == ("one", "darkroom-gateway")
    assert receiver.headers[0]["authorization"] == "Basic aGVsbG8="


def test_the_operators_name_for_the_service_counts_more(receiver: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    tracing = start(monkeypatch, receiver.url, OTEL_SERVICE_NAME="ours", OTEL_TRACES_SAMPLER="parentbased_traceidratio")
    span_of(tracing)
    tracing.close()

    assert receiver.spans[0].service == "ours"


def test_a_sampler_of_the_environment_decides(receiver: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    tracing = start(monkeypatch, receiver.url, **sampler)

    assert parent_of(span_of(tracing)) is None
    below = tracing.begin("two", parent=context_of(PARENT))
    assert (parent_of(below) or "").startswith(PARENT[:36])  # whoever is above has decided
    below.end()
    tracing.close()
    assert [span.name for span in receiver.spans] == ["two"]


def test_a_receiver_that_does_not_answer_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with collector(answers=False) as silent:
        tracing = start(monkeypatch, silent.url, OTEL_BSP_SCHEDULE_DELAY="1", OTEL_BSP_MAX_QUEUE_SIZE="600")
        span_of(tracing)
        wait_until(lambda: silent.headers != [], limit_s=10, what="it was sent to")
        for _ in range(5000):  # more than are kept
            span_of(tracing)
        tracing.close()  # and it has still not answered

        assert silent.spans == []
        silent.answers.set()

    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_receiver_that_is_away_is_told_of_once_without_the_headers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://ann:hunter2@127.0.0.1:{free_port()}"
    tracing = start(monkeypatch, url, OTEL_EXPORTER_OTLP_HEADERS="x-key=hunter2", OTEL_BSP_SCHEDULE_DELAY="1")
    span_of(tracing)
    tracing.close()

    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "said", ["Authorization: Basic hunter2", "x-key=hunter2;", 'x-key="hunter2"', "x-key=hun%0Ater2", "hunter2"]
)
def test_headers_that_can_not_be_read_are_no_headers_and_nobody_quotes_them(
    said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tracing = start(monkeypatch, "http://collector:4318", OTEL_EXPORTER_OTLP_HEADERS=said)

    assert tracing is OFF
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith("no traces are sent: OTEL_EXPORTER_OTLP_HEADERS")
    assert "ter2" not in caplog.text + repr(Telemetry())


@pytest.mark.parametrize("said", ["Authorization=Basic%20aGVsbG8=", "Authorization=Basic aGVsbG8=, x-team = ours,", ""])
def test_headers_are_read_as_the_sdk_reads_them(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", said)

    assert Telemetry().trouble == ""


def test_callers_whose_headers_are_wrong_fill_no_log(
    receiver: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start(monkeypatch, receiver.url).close()

    for parent, state in ((PARENT, "no state\x1b"), (PARENT, 600 * "a=b,"), (600 * "0", None)):
        context_of(parent, state)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_place_in_a_trace_is_said_and_read() -> None:
    tracing = Kept().tracing
    span = tracing.begin("one", parent=context_of(PARENT))

    said = parent_of(span)
    assert said is not None
    assert len(said) == 55
    assert trace_id(said) == trace_of(span) == PARENT.split("-")[1]
    assert get_current_span(context_of(said)).get_span_context().span_id == span.get_span_context().span_id
    assert get_current_span(inside(span)) is span


@pytest.mark.parametrize("said", MALFORMED)
def test_what_is_no_traceparent_leads_nowhere(said: str) -> None:
    assert not get_current_span(context_of(said)).get_span_context().is_valid
    assert links_to(said, None) == ()


def test_what_is_not_sampled_has_no_place_to_go_on_from() -> None:
    span = NonRecordingSpan(SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(0)))

    assert parent_of(span) is None
    assert trace_of(span) == trace_id(None) == ""
