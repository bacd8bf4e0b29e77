"""What holds for every request: who may ask, sizes, headers, ids, the one body of errors."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.contract import Problem
from tests.conftest import settings_for
from tests.integration.serving import Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

pytestmark = pytest.mark.usefixtures("hand")


def refused(response: object, status: int, code: str) -> Problem:
    """Check that an answer is the one body of errors."""
    assert getattr(response, "status_code", None) == status
    headers = getattr(response, "headers", {})
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    problem = Problem.model_validate_json(getattr(response, "content", b""))
    assert (problem.status, problem.code, problem.request_id) == (status, code, headers["X-Request-ID"])
    assert problem.type == f"urn:darkroom:problem:{code}"
    assert problem.detail.endswith(".")
    return problem


class TestErrors:
    def test_an_unknown_address(self, gateway: Serving) -> None:
        refused(gateway.http.get("/nothing/here"), 404, "not_found")
        refused(gateway.http.get("/v1/jobs/"), 404, "not_found")
        refused(gateway.http.get("/docs"), 404, "not_found")

    def test_a_method_that_is_not_served(self, gateway: Serving) -> None:
        response = gateway.http.put("/v1/jobs", json={})

        refused(response, 405, "method_not_allowed")
        assert "GET" in response.headers["Allow"] or "POST" in response.headers["Allow"]

    @pytest.mark.parametrize("path", ["/v1/jobs", "/nothing", "/v1/jobs/x/cancel"])
    def test_a_body_that_says_that_it_is_too_large(self, gateway: Serving, path: str) -> None:
        body = json.dumps({"prompt": "x" * 300_000}).encode()

        response = gateway.http.post(path, content=body, headers={"Content-Type": "application/json"})

        refused(response, 413, "body_too_large")

    def test_a_body_that_turns_out_too_large(self, gateway: Serving) -> None:
        def chunks() -> Iterator[bytes]:
            yield b'{"prompt": "'
            for _ in range(100):
                yield b"x" * 10_000

        response = gateway.http.post("/v1/jobs", content=chunks(), headers={"Content-Type": "application/json"})

        refused(response, 413, "body_too_large")

    def test_what_nobody_foresaw_tells_nothing_but_its_id(
        self, gateway: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("secret: the pipes")

        monkeypatch.setattr("api.routes.models.catalog", broken)

        response = gateway.http.get("/v1/models", headers={"X-Request-ID": "req-7"})

        problem = refused(response, 500, "internal_error")
        assert "pipes" not in response.text
        assert problem.request_id == "req-7"
        assert "the pipes" in caplog.text


class TestWhoMayAsk:
    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[bad", "8.8.8.8"])
    def test_another_name_for_this_machine_is_no_way_in(self, gateway: Serving, host: str) -> None:
        refused(gateway.http.get("/v1/jobs", headers={"Host": host}), 421, "host_not_allowed")

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "127.0.0.2:1", "a.localhost"]
    )
    def test_this_machine_may_be_called_by_its_names(self, gateway: Serving, host: str) -> None:
        assert gateway.http.get("/v1/jobs", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:7860"},
        ],
    )
    def test_a_page_of_another_origin_may_not_write(self, gateway: Serving, headers: dict[str, str]) -> None:
        refused(gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers=headers), 403, "cross_origin")

    def test_the_same_origin_may(self, gateway: Serving) -> None:
        response = gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers={"Origin": gateway.url})

        assert response.status_code == 202

    def test_no_page_elsewhere_may_read(self, gateway: Serving) -> None:
        response = gateway.http.get("/v1/jobs", headers={"Origin": "https://evil.example"})

        assert not [name for name in response.headers if name.startswith("access-control-")]

    def test_an_open_gateway_takes_any_name(self, redis_server: RedisServer, s3_server: S3Server) -> None:
        opened = settings_for(redis_server, s3_server).model_copy(
            update={"api_host": "0.0.0.0", "allow_open_network": True}  # noqa: S104 - the thing under test
        )
        with serving(opened) as served:
            assert served.http.get("/healthz", headers={"Host": "pictures.example"}).status_code == 200


class TestRequestIds:
    def test_a_sane_id_comes_back(self, gateway: Serving) -> None:
        response = gateway.http.get("/healthz", headers={"X-Request-ID": "trace:1.2_3-4"})

        assert response.headers["X-Request-ID"] == "trace:1.2_3-4"

    @pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "<script>", '"'])
    def test_any_other_is_replaced(self, gateway: Serving, sent: str) -> None:
        chosen = gateway.http.get("/healthz", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

        assert len(chosen) == 16
        assert chosen != sent

    def test_log_lines_name_the_request_and_no_prompt(self, gateway: Serving, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, logger="api")

        gateway.http.post("/v1/jobs", json={"prompt": "my secret garden"}).raise_for_status()
        gateway.http.get("/a%0Afake line")

        def is_told(what: str) -> bool:
            lines = [record.getMessage() for record in caplog.records if record.name == "api.edge"]
            return any(line.startswith(what) for line in lines)

        # A line may come after its answer.
        wait_until(lambda: is_told("POST /v1/jobs 202 "), limit_s=10, what="the submit is told")
        wait_until(lambda: is_told("GET /a%0Afake%20line 404 "), limit_s=10, what="the path is told, escaped")
        assert "garden" not in caplog.text


class TestAnswers:
    def test_the_index_leads_on(self, gateway: Serving) -> None:
        links = gateway.http.get("/").json()

        for name in ("openapi", "models", "jobs", "ready", "alive"):
            assert gateway.http.get(links[name]).status_code == 200

    def test_answers_are_not_kept_by_caches_unless_they_say_so(self, gateway: Serving) -> None:
        for path in ("/v1/jobs", "/v1/models", "/readyz", "/nothing"):
            assert gateway.http.get(path).headers["Cache-Control"] == "no-store"

    def test_head_is_served_for_health(self, gateway: Serving) -> None:
        assert gateway.http.head("/healthz").status_code == 200
        assert gateway.http.head("/readyz").status_code == 200

    def test_two_hundred_submits_from_sixteen_threads(self, gateway: Serving) -> None:
        def submit(number: int) -> int:
            return gateway.http.post("/v1/jobs", json={"prompt": f"cube {number}"}).status_code

        with ThreadPoolExecutor(16) as threads:
            assert set(threads.map(submit, range(200))) == {202}

    def test_garbage_on_the_wire_is_survived(self, gateway: Serving) -> None:
        port = int(gateway.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            assert b"400" in raw.recv(1000)
        assert gateway.http.get("/healthz").status_code == 200
