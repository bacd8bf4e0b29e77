"""`GET /metrics`: what happened, exactly, and the same from every gateway."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client.openmetrics import parser as open_metrics

from api.app import create_app
from api.edge import ELSEWHERE
from api.metrics import PREFIX
from shared.contract import Gpu, Memory
from shared.meters import METERS
from shared.settings import Settings
from shared.version import VERSION
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, WATCH_KEY, bearer, code_of, guarded, make_key
from tests.integration.scraping import Scrape
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def submit(gateway: Serving, prompt: str = "a fox", **more: object) -> str:
    response = gateway.http.post("/v1/jobs", json={"prompt": prompt, **more})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def test_each_meter_is_told_in_both_forms_and_no_other(settings: Settings) -> None:
    with serving(settings) as gateway, Hand(settings) as hand:
        submit(gateway)
        hand.fail(hand.take(), "model_error", "No.")
        text = Scrape(gateway)
        response = gateway.http.get("/metrics", headers={"Accept": OPEN_METRICS})

    wanted = {PREFIX + one.name for one in METERS}
    assert response.headers["Content-Type"].startswith(OPEN_METRICS)
    read = cast("Any", open_metrics).text_string_to_metric_families  # whose types are partly unknown
    assert {family.name for family in read(response.text)} == wanted
    assert {family.name for family in text.families} == wanted
    assert text("build_info", version=VERSION) == 1


def test_every_gateway_tells_what_became_of_all_jobs(settings: Settings) -> None:
    with serving(settings) as gateway, serving(settings) as other, Hand(settings) as hand:
        for lane in ("interactive", "bulk", "bulk"):
            submit(gateway, lane=lane, num_images=2)
        hand.fail(hand.take(), "out_of_memory", "It does not fit.")
        hand.release(hand.take())
        gateway.http.post(f"/v1/jobs/{submit(gateway)}/cancel").raise_for_status()
        failing = hand.take()
        hand.fail(failing, "of_tomorrow", "Nobody knows this code.")
        running = hand.take()

        def is_told(by: Serving) -> bool:
            return Scrape(by)("jobs_submitted_total", pool=CARD.id) == 4 and Scrape(by)("jobs_ended_total") == 3

        for one in (gateway, other):
            wait_until(lambda one=one: is_told(one), limit_s=20, what="what was remembered is old")
        told, others = Scrape(gateway), Scrape(other)

    assert running.job.params.num_images == 2
    assert told("jobs_ended_total", outcome="failed", code="out_of_memory") == 1
    assert told("jobs_ended_total", outcome="failed", code="internal_error") == 1
    assert told("jobs_ended_total", outcome="canceled", code="") == 1
    assert told("pictures_total", outcome="failed") == 4
    assert told("jobs_released_total") == 1
    assert (told("queue_jobs"), told("jobs_running")) == (0, 1)
    assert told("job_waited_seconds_count") == told("job_waited_seconds_bucket", le="+Inf") == 2
    assert told("workers", state="ready", pool=CARD.id) == 1
    assert told.of_the_queue() == others.of_the_queue()


def test_what_has_not_happened_yet_is_told_as_0_so_that_the_first_one_is_a_change(settings: Settings) -> None:
    failed = {"lane": "bulk", "outcome": "failed", "code": "out_of_memory", "pool": CARD.id}
    with serving(settings) as gateway:
        unserved = Scrape(gateway)
        with Hand(settings) as hand:
            wait_until(lambda: Scrape(gateway)("workers") == 1, limit_s=20, what="its pool is known")
            before = Scrape(gateway)
            submit(gateway, lane="bulk")
            hand.fail(hand.take(), "out_of_memory", "It does not fit.")
            wait_until(lambda: Scrape(gateway)("jobs_ended_total") == 1, limit_s=20, what="it is counted")
            after = Scrape(gateway)

    assert unserved.of("store_errors_total", part="worker", operation="put") == [0]
    assert unserved.of("leases_expired_total") == unserved.of("jobs_ended_total") == []  # of no pool yet
    assert before.of("jobs_ended_total", **failed) == before.of("leases_expired_total", pool=CARD.id) == [0]
    assert before.of("pictures_total", lane="interactive", outcome="succeeded") == [0]
    assert after.of("jobs_ended_total", **failed) == [1]


def test_a_gpu_is_told_once_however_many_workers_share_it_and_a_slice_tells_its_memory_alone(
    settings: Settings,
) -> None:
    def memory(used: int) -> Memory:
        return Memory(used_bytes=used, total_bytes=100)

    shared = Gpu(uuid="GPU-1", utilization=0.75, memory=memory(30), power_w=300.0, temperature_c=61)
    other = Gpu(uuid="GPU-2", utilization=0.5, memory=memory(20), power_w=100.5, temperature_c=48)
    part = Gpu(uuid="MIG-3", memory=memory(7))
    with serving(settings) as gateway:
        for gpu in (None, shared, shared, other, part):
            with Hand(settings) as hand:
                hand.arrive(gpu=gpu)
        wait_until(lambda: Scrape(gateway)("workers") == 5, limit_s=20, what="all are known")
        told = Scrape(gateway)
        listed = gateway.http.get("/v1/workers").raise_for_status().json()["data"]

    assert told("gpus", pool=CARD.id) == 2
    assert told("gpu_utilization", pool=CARD.id) == 1.25
    assert (told("gpu_memory_bytes", kind="used"), told("gpu_memory_bytes", kind="total")) == (57, 300)
    assert told("gpu_power_watts") == 400.5
    assert told("gpu_temperature_celsius") == 61
    assert [worker["gpu"] for worker in listed].count(None) == 1
    assert shared.model_dump() in [worker["gpu"] for worker in listed]


def test_without_a_gpu_nothing_is_told_of_any(settings: Settings) -> None:
    with serving(settings) as gateway, Hand(settings):
        told = Scrape(gateway)
    assert not any(told.labels(name, "pool") for name in ("gpus", "gpu_utilization", "gpu_temperature_celsius"))


def test_requests_are_counted_by_their_address_and_what_a_gateway_counted_outlives_it(settings: Settings) -> None:
    with serving(settings) as second:
        with serving(settings) as gateway, Hand(settings):
            job = submit(gateway)
            for _ in range(3):
                gateway.http.get(f"/v1/jobs/{job}").raise_for_status()
            gateway.http.get(f"/v1/jobs/{job}?wait=0.1").raise_for_status()
            assert gateway.http.get(f"/v1/jobs/{'0' * 26}").status_code == 404
            assert gateway.http.get("/somewhere").status_code == 404
            assert gateway.http.request("PROPFIND", "/elsewhere").status_code == 404

        def counted() -> bool:
            return Scrape(second)("http_requests_total", route="/v1/jobs/{job_id}", status="200") == 4

        wait_until(counted, limit_s=20, what="the farewell is told")
        told = Scrape(second)

    assert told("http_requests_total", method="POST", route="/v1/jobs", status="202") == 1
    assert told("http_requests_total", route="/v1/jobs/{job_id}", status="404", code="job_not_found") == 1
    assert told("http_requests_total", route=ELSEWHERE, status="404") == 2
    assert told("http_request_seconds_count", method="GET", route="/v1/jobs/{job_id}") == 4  # not the one that was held
    assert told("redis_call_seconds_count", part="gateway") >= 5
    assert told("store_call_seconds_count", part="gateway", operation="look") >= 1
    assert "PROPFIND" not in told.labels("http_requests_total", "method")
    assert told.labels("http_requests_total", "route") - {ELSEWHERE} <= set(create_app(Settings()).openapi()["paths"])


def test_it_is_for_those_who_watch(settings: Settings) -> None:
    with guarded(settings) as gateway:
        made = make_key(gateway, "prometheus", scopes=["watch"]).key
        for key in (WATCH_KEY, OPERATOR_KEY, made):
            assert gateway.http.get("/metrics", headers=bearer(key)).status_code == 200
        others = make_key(gateway, "ann", scopes=["read", "submit", "admin", "visit"]).key
        refused = [gateway.http.get("/metrics", headers=bearer(key)) for key in (PAGE_KEY, others)]
        assert [code_of(response) for response in refused] == ["scope_missing"] * 2
        assert code_of(gateway.http.get("/metrics")) == "key_required"


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "text/plain; version=0.0.4"),
        ("text/plain; version=of-tomorrow", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=x, text/plain", OPEN_METRICS),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.2", OPEN_METRICS),
    ],
)
def test_whatever_is_accepted_is_answered(settings: Settings, accept: str, answered: str) -> None:
    with serving(settings) as gateway:
        response = gateway.http.get("/metrics", headers={"Accept": accept})

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(answered)


@pytest.mark.parametrize("headers", [{}, {"Accept": OPEN_METRICS}])
def test_without_redis_it_says_so(own_redis_server: RedisServer, s3_server: S3Server, headers: dict[str, str]) -> None:
    with guarded(settings_for(own_redis_server, s3_server)) as gateway:
        wait_until(lambda: Scrape(gateway, **bearer(WATCH_KEY))("store_up") == 1, limit_s=20, what="the store is seen")
        own_redis_server.kill()

        def tells() -> bool:
            return "redis_up 0.0" in gateway.http.get("/metrics", headers={**bearer(WATCH_KEY), **headers}).text

        wait_until(tells, limit_s=20, what="what was remembered is old")
        told = Scrape(gateway, **bearer(WATCH_KEY))

    assert (told("redis_up"), told("store_up"), told("build_info")) == (0, 1, 1)
    assert told("jobs_submitted_total") == 0
    assert told.of("store_errors_total") == []  # a 0 would look as if it had been counted anew
