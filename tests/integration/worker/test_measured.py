"""What a fleet of real processes counts: jobs that end well and badly, steps, stages, a worker that is killed."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from tests.integration.scraping import Scrape
from tests.integration.serving import Hand, Serving, serving
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import wait_until
from worker.stages import Stage
from worker.timesheet import Doing

CLOCKS_APART_S: Final = 0.2
"""Between the clock of the day and the one that only goes."""

pytestmark = pytest.mark.timeout(900)  # a worker imports torch


def submit(gateway: Serving, **said: object) -> str:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a fox", **said})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def wait_ended(gateway: Serving, job: str) -> dict[str, Any]:
    def body() -> dict[str, Any]:
        return gateway.http.get(f"/v1/jobs/{job}").raise_for_status().json()

    wait_until(lambda: body()["completed_at"] is not None, limit_s=LIMIT_S, what="the job ends")
    return body()


def assert_its_time_adds_up(gateway: Serving) -> None:
    """Of the only worker's life, nothing is left out and nothing is counted twice."""
    (worker,) = gateway.http.get("/v1/workers").raise_for_status().json()["data"]
    began_at = worker["started_at_ms"] / 1000
    lived = time.time() - began_at
    wait_until(
        lambda: Scrape(gateway)("engine_seconds_total") > lived - CLOCKS_APART_S, limit_s=LIMIT_S, what="all is told"
    )
    told = Scrape(gateway)
    assert told("engine_seconds_total") < time.time() - began_at + CLOCKS_APART_S
    assert told.labels("engine_seconds_total", "doing") == set(Doing)
    assert min(told("engine_seconds_total", doing=doing) for doing in ("start", "steps", "idle")) > 0


def test_the_figures_add_up_though_a_worker_was_killed(system: System) -> None:
    settings = system.settings.model_copy(update={"max_attempts": 1})
    with serving(settings) as gateway, serving(settings) as other:
        doomed = system.ready_worker(max_attempts=1)
        drawn = wait_ended(gateway, submit(gateway, seed=1, num_inference_steps=3))
        reused = wait_ended(gateway, submit(gateway, seed=1, num_inference_steps=3))
        assert (drawn["reused"], reused["reused"]) == (False, True)

        def has_told() -> bool:
            told = Scrape(gateway)
            return told("stage_seconds_count", stage="record") == 1 and told("step_rows_count") >= 3

        wait_until(has_told, limit_s=LIMIT_S, what="the worker has told what it measured")
        assert_its_time_adds_up(gateway)
        long = submit(gateway, seed=2, num_inference_steps=100, num_images=4)
        wait_until(lambda: Scrape(gateway)("jobs_running") == 1, limit_s=LIMIT_S, what="it is seen to run")
        alive = Scrape(gateway)
        doomed.kill()
        assert wait_ended(gateway, long)["error"]["code"] == "worker_lost"
        with Hand(settings, system.card) as hand:
            failing = submit(gateway, seed=3)
            hand.fail(hand.take(), "out_of_memory", "It does not fit.")
            assert wait_ended(gateway, failing)["status"] == "failed"
        gateway.http.post(f"/v1/jobs/{submit(gateway, seed=4)}/cancel").raise_for_status()
        submit(gateway, seed=5)

        for one in (gateway, other):
            wait_until(lambda one=one: Scrape(one)("queue_jobs") == 1, limit_s=LIMIT_S, what="what was told is old")
        told, others = Scrape(gateway), Scrape(other)

    ended = {outcome: told("jobs_ended_total", outcome=outcome) for outcome in ("succeeded", "reused", "canceled")}
    assert ended == {"succeeded": 1, "reused": 1, "canceled": 1}
    assert told("jobs_ended_total", outcome="failed", code="worker_lost") == 1
    assert told("jobs_ended_total", outcome="failed", code="out_of_memory") == 1
    assert told("jobs_submitted_total", how="reused") == 1
    assert told("jobs_submitted_total") == 6
    assert told("jobs_submitted_total") == told("jobs_ended_total") + told("queue_jobs") + told("jobs_running")
    assert told("pictures_total") == 1 + 1 + 1 + 4 + 1
    assert (told("leases_expired_total"), told("jobs_set_aside")) == (1, 1)
    assert told("job_drew_seconds_count") == 1
    assert told("job_drew_seconds_sum") == pytest.approx(drawn["metrics"]["predict_time"])
    assert told.of_the_queue() == others.of_the_queue()
    for stage in Stage:
        assert told("stage_seconds_count", stage=stage, pool=system.card.id) >= 1
    assert told("stage_seconds_sum", stage="denoise") >= told("stage_seconds_sum", stage="prompt")
    assert alive("prompt_cache_total", found="no", pool=system.card.id) == 1  # the job's prompt
    assert alive("prompt_cache_total", found="yes") >= 1  # the default negative prompt, from warming
    assert told("store_call_seconds_count", part="worker", operation="put") >= 1
    assert told("redis_call_seconds_count", part="worker") >= 1
    assert told("step_seconds_count") == told("step_rows_count")
    assert alive("workers", state="ready") == 1
    assert 0 < alive("worker_memory_bytes", kind="used") < alive("worker_memory_bytes", kind="total")
