"""What a real Prometheus makes of a real fleet: every panel has something to show, every alert has its metrics, and
none fires until something is wrong; then those do that are for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import pytest

from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, WATCH_KEY, bearer, guarded
from tests.integration.serving import Hand, Serving
from tests.integration.test_webhooks import courier
from tests.integration.worker.system import LIMIT_S, System
from tests.prometheus import Prometheus
from tests.promql import DASHBOARDS, asked, panels, rules, selectors, text_of
from tests.servers import RedisServer, S3Server, wait_until
from tests.unit.worker.courier.receivers import receiver

pytestmark = pytest.mark.timeout(900)  # a worker imports torch

NVIDIAS: Final = "darkroom_gpu"
"""Begins the name of what is told of NVIDIA GPUs, which no machine of these tests has."""
ONLY_IN_TROUBLE: Final = {
    'sum(rate(darkroom_http_requests_total{status=~"5.."}[1m]))',
    'darkroom_http_requests_total{route!="/readyz", status=~"5.."}',
}
"""What has no data while all is well."""


def questions() -> set[str]:
    """All that panels ask, and all series that alerts look at."""
    shown = {query for path in DASHBOARDS for panel in panels(path) for query in asked(panel)}
    watched = {text_of(one) for rule in rules() for one in selectors(rule.expr)}
    return {one for one in shown | watched if not any(str(s.name).startswith(NVIDIAS) for s in selectors(one))}


@final
@dataclass
class Watched:
    """A gateway that asks for keys, as its operator sees it, and the Prometheus that asks it."""

    gateway: Serving
    prometheus: Prometheus

    def post(self, path: str, body: object | None = None) -> Any:  # noqa: ANN401 any JSON
        answer = self.gateway.http.post(path, json=body, headers=bearer(OPERATOR_KEY))
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:  # noqa: ANN401 any JSON
        return self.gateway.http.get(path, headers=bearer(OPERATOR_KEY)).raise_for_status().json()

    def submit(self, **said: object) -> str:
        return str(self.post("/v1/jobs", {"prompt": "a fox", "num_inference_steps": 3, **said})["id"])

    def wait_ended(self, job: str) -> None:
        path = f"/v1/jobs/{job}"
        wait_until(lambda: self.get(path)["completed_at"] is not None, limit_s=LIMIT_S, what="the job ends")

    def wait_told(self, query: str, least: float, what: str) -> None:
        wait_until(lambda: self.prometheus.value(query) >= least, limit_s=LIMIT_S, what=what)

    def wait_answered(self, wanted: set[str]) -> None:
        """Wait until each of these queries has had data at some time."""
        left = set(wanted)

        def none_is_left() -> bool:
            left.difference_update([one for one in left if self.prometheus.has_shown(one)])
            return not left

        try:
            wait_until(none_is_left, limit_s=30, what="all have data")
        except AssertionError:
            assert sorted(left) == []

    def wait_firing(self, *names: str) -> dict[str, str]:
        """Wait until these fire; all that do, and how each is told."""
        try:
            wait_until(lambda: set(names) <= self.prometheus.firing().keys(), limit_s=60, what="they fire")
        except AssertionError:
            assert sorted(self.prometheus.firing()) == sorted(names)
        return self.prometheus.firing()


def some_service(watched: Watched) -> None:
    """A little of all that one does."""
    drawn = watched.submit(seed=1, reuse=False)
    watched.wait_ended(drawn)
    (picture,) = watched.get(f"/v1/jobs/{drawn}")["images"]
    watched.gateway.http.get(picture["url"], headers=bearer(OPERATOR_KEY)).raise_for_status()
    watched.wait_ended(watched.submit(lane="bulk", seed=2, reuse=False))
    watched.wait_ended(watched.submit(seed=1))  # whose picture is there
    assert watched.gateway.http.get(f"/v1/jobs/{'0' * 26}", headers=bearer(OPERATOR_KEY)).status_code == 404


def leave_midway(gateway: Serving) -> None:
    """Be gone before the request is whole."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    said = f"POST /v1/jobs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {OPERATOR_KEY}\r\n"
    with socket.create_connection((host, int(port))) as line:
        line.sendall(f"{said}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode())


def fail_jobs(watched: Watched, system: System) -> None:
    """Hand one back, and let seven fail."""
    with Hand(system.settings, system.card) as hand:
        watched.submit()
        hand.release(hand.take())
        hand.fail(hand.take(), "model_error", "It raised.")
        for number in range(6):
            watched.submit()
            hand.fail(hand.take(), "out_of_memory", "It does not fit.")
            if number == 0:
                watched.wait_told('darkroom_jobs_ended_total{code="out_of_memory"}', 1, "the first is counted")


@pytest.fixture
def redis_with_a_limit(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", options={"maxmemory": "1gb"}) as server:
        yield server


@pytest.fixture
def own_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        yield server


def test_dashboards_show_a_fleet_and_alerts_fire_for_what_is_wrong_with_it(
    redis_with_a_limit: RedisServer, own_s3_server: S3Server, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    settings = settings_for(redis_with_a_limit, own_s3_server).model_copy(
        update={"webhook_networks": "127.0.0.0/8", "max_attempts": 1, "max_batch": 1}
    )
    with ExitStack() as ending:
        system = System(settings, tiny_checkpoint, tmp_path)
        ending.callback(system.close)
        worker = system.start_worker()
        serves = ending.enter_context(ExitStack())
        gateway = serves.enter_context(guarded(settings))
        watched = Watched(gateway, ending.enter_context(Prometheus(tmp_path / "prometheus", gateway.url, WATCH_KEY)))
        told = ending.enter_context(receiver())
        tells = ending.enter_context(courier(settings, tmp_path / "courier.log"))
        worker.wait_ready()
        watched.post("/v1/webhooks", {"url": told.url})

        some_service(watched)
        watched.wait_told('darkroom_stage_seconds_count{stage="record"}', 2, "the worker has told of its jobs")
        watched.wait_told("darkroom_http_requests_total", 1, "the gateway has told of its requests")
        some_service(watched)
        many = [watched.submit(lane=lane, num_inference_steps=50, num_images=4) for lane in ("interactive", "bulk") * 3]
        leave_midway(gateway)
        watched.wait_told("count(darkroom_queue_jobs)", 2, "both lanes wait")
        watched.wait_answered(questions() - ONLY_IN_TROUBLE)
        assert watched.prometheus.firing() == {}
        assert {one for one in ONLY_IN_TROUBLE if watched.prometheus.has_shown(one)} == set()

        fired: dict[str, str] = {}
        watched.wait_told("darkroom_jobs_running", 1, "the worker is at it")
        worker.kill()
        fired |= watched.wait_firing("NoWorker", "JobsSetAside")
        for job in many:
            gateway.http.post(f"/v1/jobs/{job}/cancel", headers=bearer(OPERATOR_KEY))
        tells.kill()
        fail_jobs(watched, system)
        fired |= watched.wait_firing("OutOfMemory", "JobsFail", "CourierMissing")
        own_s3_server.kill()
        fired |= watched.wait_firing("StoreAway")
        assert gateway.http.post("/v1/jobs", json={"prompt": "a"}, headers=bearer(OPERATOR_KEY)).status_code == 503
        watched.wait_answered(ONLY_IN_TROUBLE)
        fired |= watched.prometheus.firing()
        redis_with_a_limit.kill()
        fired |= watched.wait_firing("RedisAway")
        serves.close()
        fired |= watched.wait_firing("GatewayAway")

    assert fired.keys() == {
        *("NoWorker", "JobsSetAside", "OutOfMemory", "JobsFail"),
        *("CourierMissing", "StoreAway", "RedisAway", "GatewayAway"),
    }
    assert [text for text in fired.values() if "no value" in text or "error" in text or "{{" in text] == []
