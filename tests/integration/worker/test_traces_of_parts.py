"""Traces of real processes, as a receiver of OTLP gets them: one a job, a branch an attempt. Nobody waits for it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from deploy.health import takes_calls
from deploy.probe import Gateway
from shared.jobs import LOCAL_TENANT, JobId
from shared.scripts import read
from tests.collector import Collector, Seen, collector
from tests.integration.test_gateway_process import environment
from tests.integration.worker.system import LIMIT_S, ROOT, System
from tests.servers import free_port, wait_until
from tests.unit.worker.courier.receivers import receiver

PROMPT: Final = "a zanzibarquartz garden"
NEGATIVE: Final = "no zanzibarquartz"
DRAWN: Final = ["prompt", "denoise", "decode", "encode", "upload", "record"]

pytestmark = pytest.mark.timeout(900)  # workers import torch


@contextmanager
def part(system: System, module: str, folder: Path, **more: str) -> Generator[subprocess.Popen[bytes]]:
    env = environment(system.settings, DARKROOM_WEBHOOK_NETWORKS="127.0.0.0/8", **more)
    with (folder / f"{module}.log").open("wb") as log:
        started = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        print((folder / f"{module}.log").read_text())  # noqa: T201 (pytest shows it when the test fails)


@contextmanager
def gateway(system: System, folder: Path) -> Generator[tuple[httpx2.Client, subprocess.Popen[bytes]]]:
    port = free_port()
    with (
        part(system, "api", folder, DARKROOM_API_PORT=str(port)) as process,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
    ):
        wait_until(Gateway(str(http.base_url)).is_up, limit_s=LIMIT_S, what="the gateway serves")
        yield http, process


def submit(http: httpx2.Client, **fields: object) -> str:
    body = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "reuse": False, **fields}
    response = http.post("/v1/jobs", json=body)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def wait_for(system: System, job: str, holds: Callable[[Any], bool], what: str) -> None:
    wait_until(lambda: holds(system(read(JobId(job), LOCAL_TENANT))), limit_s=LIMIT_S, what=what)


def names(spans: list[Seen]) -> list[str]:
    return [span.name for span in spans]


def submit_span(there: Collector, job: str) -> Seen:
    wait_until(lambda: there.named("submit", darkroom_job_id=job) != [], limit_s=LIMIT_S, what="the submit has come")
    return there.named("submit", darkroom_job_id=job)[0]


def came_from_worker(there: Collector, submitted: Seen) -> bool:
    return any(span.name == "prompt" for span in there.trace(submitted.trace))


def picture(spans: list[Seen], index: int) -> list[Seen]:
    """What a picture went through, in the order of its ends."""
    return sorted((one for one in spans if one.facts.get("darkroom.picture") == index), key=lambda one: one.ended_ns)


def test_a_job_is_one_trace_and_each_attempt_a_branch_of_it(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as there, receiver() as told:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with gateway(system, tmp_path) as (http, _), part(system, "worker.courier", tmp_path) as courier:
            wait_until(lambda: takes_calls(system.settings) is None, limit_s=LIMIT_S, what="the courier is ready")
            assert courier.poll() is None
            http.post("/v1/webhooks", json={"url": f"{told.url}?token=zanzibarquartz"}).raise_for_status()
            first, second = system.start_worker(drain_s=0), system.start_worker(drain_s=0)
            first.wait_ready()
            second.wait_ready()
            job = submit(http, num_inference_steps=3, num_images=2)
            whole = submit_span(there, job)
            wait_until(lambda: "webhook" in names(there.children(whole)), limit_s=LIMIT_S, what="all has come")
            long = submit(http, num_inference_steps=100, num_images=8)
            branched = submit_span(there, long)
            wait_until(lambda: came_from_worker(there, branched), limit_s=LIMIT_S, what="some of its stages have come")
            holder = system(read(JobId(long), LOCAL_TENANT)).worker
            victim, heir = (first, second) if first.is_the_one(holder) else (second, first)
            victim.kill()
            wait_for(system, long, lambda now: now.attempt == 2 and now.step >= 2, "the other one draws")
            assert heir.stop() == 0
            wait_until(lambda: "attempt" in names(there.children(branched)), limit_s=LIMIT_S, what="it is told")

    print(drawn(there, whole.trace), drawn(there, branched.trace))  # noqa: T201 (docs/operations/traces.md shows them)
    the_whole_tree(there, whole, job)
    the_second_branch(there, branched, long, str(holder))
    assert {span.service for span in there.spans} == {"darkroom-gateway", "darkroom-worker", "darkroom-courier"}
    assert not any("zanzibar" in span.words for span in there.spans)
    assert "trace=" + whole.trace in first.log + second.log


def drawn(there: Collector, trace: str) -> str:
    """Draw a trace as a tree, each span with its begin and its length in ms."""
    spans = there.trace(trace)
    known = {span.id for span in spans}
    tops = sorted((span for span in spans if span.parent not in known), key=lambda span: span.began_ns)
    origin = tops[0].began_ns

    def lines(span: Seen, depth: int) -> list[str]:
        at, took = (span.began_ns - origin) / 1e6, (span.ended_ns - span.began_ns) / 1e6
        facts = " ".join(f"{name.removeprefix('darkroom.')}={said}" for name, said in span.facts.items())
        own = f"{'  ' * depth}{span.name:<{24 - 2 * depth}} {at:9.1f} {took:8.1f}  {span.service:<16} {facts}"
        return [own, *(line for child in there.children(span) for line in lines(child, depth + 1))]

    return "\n" + "\n".join(line for top in tops for line in lines(top, 0))


def the_whole_tree(there: Collector, submitted: Seen, job: str) -> None:
    trace = there.trace(submitted.trace)
    (request,) = [span for span in trace if not span.parent]
    assert (request.name, submitted.parent) == ("POST /v1/jobs", request.id)
    wait, attempt, webhook = there.children(submitted)
    assert names([wait, attempt, webhook]) == ["wait", "attempt", "webhook"]
    assert (attempt.kind, webhook.kind) == ("consumer", "client")
    assert attempt.facts["darkroom.outcome"] == "finished"
    assert (attempt.facts["darkroom.job.id"], attempt.facts["darkroom.attempt"]) == (job, 1)
    assert "darkroom.lost_workers" not in attempt.facts
    assert (webhook.facts["http.response.status_code"], webhook.facts["server.address"]) == (200, "127.0.0.1")
    stages = there.children(attempt)
    assert [names(picture(stages, index)) for index in (0, 1)] == [DRAWN, DRAWN]
    assert stages[-1].name == "finish"
    assert len(stages) == 2 * len(DRAWN) + 1
    for span in stages:
        assert attempt.began_ns <= span.began_ns <= span.ended_ns <= attempt.ended_ns, span
    assert len(trace) == 2 + 3 + len(stages)  # nothing else is in it
    assert not any(span.failed for span in trace)


def the_second_branch(there: Collector, submitted: Seen, job: str, lost: str) -> None:
    waits = [span for span in there.children(submitted) if span.name == "wait"]
    (attempt,) = [span for span in there.children(submitted) if span.name == "attempt"]
    assert waits[-1].began_ns >= waits[0].ended_ns  # from when it was put back
    assert (attempt.facts["darkroom.job.id"], attempt.facts["darkroom.attempt"]) == (job, 2)
    assert attempt.facts["darkroom.lost_workers"] == (lost,)
    assert attempt.facts["darkroom.outcome"] == "handed_back"
    # What the killed one had ended is a branch of its own, though its root was never sent.
    known = {span.id for span in there.trace(submitted.trace)}
    orphans = [span for span in there.trace(submitted.trace) if span.parent and span.parent not in known]
    assert set(names(orphans)) <= set(DRAWN)
    assert len({span.parent for span in orphans}) == 1


def test_a_receiver_that_hangs_holds_nobody_up(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector(answers=False) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
        with gateway(system, tmp_path) as (http, process):
            worker = system.ready_worker()
            for _ in range(2):
                job = submit(http, num_inference_steps=3)
                wait_for(system, job, lambda now: now.status.is_terminal, "the job ends")
                assert http.get(f"/v1/jobs/{job}").json()["status"] == "succeeded"
            wait_until(lambda: len(silent.headers) >= 2, limit_s=LIMIT_S, what="both parts have tried")
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)
            assert worker.stop() == 0

        assert silent.spans == []
        silent.answers.set()
