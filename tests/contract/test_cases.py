"""Some hundreds of the cases that `make contract` draws, always the same ones; and what is left without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.events import NAMES, Pictured, Queued
from tests.contract.asking import Operation, operations_of
from tests.contract.cases import EXEMPTIONS, Outcome, run_cases
from tests.contract.conftest import DOCUMENT
from tests.contract.stage import stage
from tests.integration.serving import Serving
from tests.servers import RedisServer, S3Server

AN_OPERATION = 3


@pytest.fixture
def own_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        yield server


@pytest.fixture
def own_gateway(own_redis_server: RedisServer, own_s3_server: S3Server) -> Iterator[Serving]:
    with stage(own_redis_server, own_s3_server) as served:
        yield served


def test_the_gateway_keeps_to_its_document(gateway: Serving) -> None:
    outcome = run_cases(gateway.url, max_examples=AN_OPERATION)

    assert not outcome.failures, str(outcome)
    assert outcome.is_complete
    assert outcome.cases.total() > 500, str(outcome)
    assert set(outcome.cases) == {"examples", "coverage", "fuzzing", "stateful"}
    labels = {str(operation) for operation in operations_of(DOCUMENT)}
    assert labels <= set(outcome.operations), "some operation was not asked"
    assert {200, 202, 204, 401, 404, 405, 409, 415, 422} <= set(outcome.statuses)


def test_a_gateway_that_breaks_its_word_is_found_out(gateway: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_id(_incoming: str | None) -> str:
        return "no id"

    monkeypatch.setattr("api.edge.choose_request_id", no_id)
    monkeypatch.setitem(NAMES, Pictured, NAMES[Queued])

    outcome = run_cases(gateway.url, max_examples=1, phases=("examples",))

    for check in ("response_headers_conformance", "event_data_conformance"):
        assert any(check in failure for failure in outcome.failures), check


def test_each_exemption_is_of_an_operation_that_there_is() -> None:
    ids = {operation.described["operationId"] for operation in operations_of(DOCUMENT)}

    assert {one.operation_id for one in EXEMPTIONS} <= ids


class TestOutages:
    """Servers that are really stopped: what needs them answers 503 and says when to come back; nothing else fails."""

    def test_without_redis(self, own_gateway: Serving, own_redis_server: RedisServer) -> None:
        own_redis_server.kill()
        outcome = run_cases(own_gateway.url, max_examples=1, phases=("examples",))
        own_redis_server.start()

        keeps_to_problems(outcome)
        assert outcome.statuses[503] > 10, str(outcome)

    def test_without_the_store(self, own_gateway: Serving, own_s3_server: S3Server) -> None:
        own_s3_server.kill()
        outcome = run_cases(own_gateway.url, max_examples=1, phases=("examples",))

        keeps_to_problems(outcome)
        assert outcome.statuses[503] > 0, str(outcome)


def keeps_to_problems(outcome: Outcome) -> None:
    """Check that answers are as documented, Retry-After and all, and that 503 is the worst of them."""
    unexpected = [failure for failure in outcome.failures if ": not_a_server_error: " not in failure]
    assert not unexpected, "\n".join(unexpected)
    assert {status for status in outcome.statuses if status >= 500} <= {503}, str(outcome)
    assert outcome.is_complete


def test_operations_are_named_as_schemathesis_names_them() -> None:
    """Else the test above would ask for labels that never come."""
    assert str(Operation("GET", "/v1/jobs", {}, ())) == "GET /v1/jobs"
