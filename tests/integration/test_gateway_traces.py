"""The gateway's spans, as a collector would get them: which requests have one, what a job keeps, who may decide."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from shared.connection import run
from shared.jobs import LOCAL_TENANT, Job, JobId
from shared.keys import DEFAULT
from shared.scripts import read
from tests.collector import Collector, Kept, Seen
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

PROMPT: Final = "a zanzibarquartz garden"
THEIRS: Final = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
THEIR_TRACE, THEIR_SPAN = THEIRS.split("-")[1:3]
NOT_SAMPLED: Final = THEIRS[:-1] + "0"


@pytest.fixture(scope="module")
def kept() -> Kept:
    return Kept()


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, s3_server: S3Server, kept: Kept) -> Iterator[Serving]:
    with serving(settings_for(redis_server, s3_server), kept.tracing) as served:
        yield served


@pytest.fixture(autouse=True)
def nothing_kept(hand: Hand, kept: Kept) -> None:
    del hand
    kept.forget()


@contextmanager
def another(beside: Serving, kept: Kept, **changes: object) -> Generator[Serving]:
    """Another gateway on the same queue."""
    with serving(beside.settings.model_copy(update=changes), kept.tracing) as served:
        yield served


def submit(gateway: Serving, headers: Mapping[str, str] | None = None, **fields: object) -> dict[str, Any]:
    response = gateway.http.post("/v1/jobs", json={"prompt": PROMPT, "reuse": False, **fields}, headers=headers)
    assert response.status_code == 202, response.text
    body: dict[str, Any] = response.json()
    return body


def record(hand: Hand, job: Mapping[str, Any]) -> Job:
    return run(hand.redis, read(JobId(job["id"]), LOCAL_TENANT))


def only(spans: list[Seen]) -> Seen:
    assert len(spans) == 1, spans
    return spans[0]


def requests(seen: Collector) -> list[Seen]:
    return [span for span in seen.spans if span.kind == "server"]


def test_a_submit_is_in_its_request_and_its_job_keeps_the_place(gateway: Serving, hand: Hand, kept: Kept) -> None:
    job = submit(gateway, {"X-Request-ID": "of-the-test"}, num_inference_steps=3, num_images=2)

    wait_until(lambda: len(kept.seen.spans) == 2, limit_s=10, what="both spans have ended")
    request, submitted = only(requests(kept.seen)), only(kept.seen.named("submit"))
    assert (request.name, request.parent) == ("POST /v1/jobs", "")
    assert request.facts == {
        "http.request.method": "POST",
        "http.route": "/v1/jobs",
        "http.response.status_code": 202,
        "darkroom.request.id": "of-the-test",
        "darkroom.tenant": "local",
        "darkroom.job.id": job["id"],
    }
    assert (submitted.kind, submitted.parent, submitted.trace) == ("producer", request.id, request.trace)
    assert submitted.facts == {
        "darkroom.job.id": job["id"],
        "darkroom.tenant": "local",
        "darkroom.model": hand.card.id,
        "darkroom.pool": hand.card.id,
        "darkroom.lane": "interactive",
        "darkroom.job.width": 64,
        "darkroom.job.height": 64,
        "darkroom.job.steps": 3,
        "darkroom.job.pictures": 2,
        "darkroom.submission": "new",
    }
    assert record(hand, job).trace == submitted.traceparent
    assert PROMPT not in request.words + submitted.words


def test_the_usual_way_is_traced_as_the_short_one_is(gateway: Serving, hand: Hand, kept: Kept) -> None:
    job = submit(gateway, {"Prefer": "respond-async"})

    wait_until(lambda: len(kept.seen.spans) == 2, limit_s=10, what="both spans have ended")
    assert only(requests(kept.seen)).name == "POST /v1/jobs"
    assert record(hand, job).trace == only(kept.seen.named("submit")).traceparent


def test_reads_have_a_span_only_if_they_are_refused(gateway: Serving, kept: Kept) -> None:
    gateway.http.get("/v1/jobs").raise_for_status()
    gateway.http.get("/healthz").raise_for_status()
    assert gateway.http.get(f"/v1/jobs/{26 * '0'}").status_code == 404

    wait_until(lambda: kept.seen.spans != [], limit_s=10, what="the span has ended")
    refused = only(kept.seen.spans)
    assert (refused.name, refused.kind, refused.failed) == ("GET /v1/jobs/{job_id}", "server", False)
    assert refused.facts["error.type"] == "job_not_found"
    assert refused.ended_ns > refused.began_ns


def test_what_callers_make_up_names_no_span(gateway: Serving, kept: Kept) -> None:
    gateway.http.request("PURGE", f"/{PROMPT}?{PROMPT}", headers={"X-Odd": PROMPT})

    wait_until(lambda: kept.seen.spans != [], limit_s=10, what="the span has ended")
    request = only(kept.seen.spans)
    assert request.name == "_OTHER elsewhere"
    assert PROMPT not in request.words
    assert "zanzibar" not in request.words


def test_a_strangers_trace_is_linked_to_and_not_gone_on_with(gateway: Serving, kept: Kept) -> None:
    submit(gateway, {"traceparent": THEIRS, "tracestate": "theirs=1"})

    wait_until(lambda: len(kept.seen.spans) == 2, limit_s=10, what="both spans have ended")
    request = only(requests(kept.seen))
    assert (request.parent, request.links) == ("", ((THEIR_TRACE, THEIR_SPAN),))
    assert request.trace != THEIR_TRACE


def test_a_stranger_can_not_have_its_requests_sampled(gateway: Serving, hand: Hand) -> None:
    none = Kept(part=0.0)
    with another(gateway, none) as sparing:
        job = submit(sparing, {"traceparent": THEIRS})

    assert none.seen.spans == []
    assert record(hand, job).trace is None


def test_a_trusted_caller_decides(gateway: Serving, hand: Hand) -> None:
    none = Kept(part=0.0)
    with another(gateway, none, trust_traceparent=True) as trusting:
        followed = submit(trusting, {"traceparent": THEIRS})
        left_out = submit(trusting)

    request = only(requests(none.seen))
    assert (request.trace, request.parent, request.links) == (THEIR_TRACE, THEIR_SPAN, ())
    assert (record(hand, followed).trace or "").startswith(f"00-{THEIR_TRACE}-")
    assert record(hand, left_out).trace is None

    every = Kept(part=1.0)
    with another(gateway, every, trust_traceparent=True) as trusting:
        submit(trusting, {"traceparent": NOT_SAMPLED})
        submit(trusting, {"traceparent": f"what is {PROMPT}"})

    assert only(requests(every.seen)).parent == ""


def test_jobs_that_take_anothers_pictures_link_to_its_trace(gateway: Serving, hand: Hand, kept: Kept) -> None:
    drawer = submit(gateway, reuse=True, seed=1)
    submit(gateway, reuse=True, seed=1)
    taken = hand.take()
    hand.draw(taken, 0, b"picture")
    hand.finish(taken)
    submit(gateway, reuse=True, seed=1)

    wait_until(lambda: len(kept.seen.named("submit")) == 3, limit_s=10, what="the spans have ended")
    first, *others = kept.seen.named("submit")
    assert [span.facts["darkroom.submission"] for span in others] == ["joined", "reused"]
    assert [span.links for span in others] == [((first.trace, first.id),)] * 2
    assert len({first.trace, *(span.trace for span in others)}) == 3
    assert first.facts["darkroom.job.id"] == drawer["id"]


def test_a_repeated_submit_and_a_retry_link_to_the_job_before(gateway: Serving, hand: Hand, kept: Kept) -> None:
    once = {"Idempotency-Key": "of-the-test"}
    job = submit(gateway, once)
    assert submit(gateway, once)["id"] == job["id"]
    hand.fail(hand.take(), "internal_error", PROMPT)
    again = gateway.http.post(f"/v1/jobs/{job['id']}/retry").raise_for_status().json()

    wait_until(lambda: len(requests(kept.seen)) == 3, limit_s=10, what="the spans have ended")
    first, retried = kept.seen.named("submit")
    _, repeated, _ = sorted(requests(kept.seen), key=lambda span: span.began_ns)
    assert repeated.links == ((first.trace, first.id),)
    assert retried.links == ((first.trace, first.id),)
    assert retried.facts["darkroom.job.id"] == again["id"]


def test_each_line_of_a_batch_has_a_trace_that_links_to_the_batchs_request(
    gateway: Serving, hand: Hand, kept: Kept
) -> None:
    lines = [{"prompt": PROMPT, "reuse": False}] * 2
    batch = gateway.http.post("/v1/batches", json=lines).raise_for_status().json()

    wait_until(lambda: len(kept.seen.named("submit")) == 2, limit_s=10, what="the lines are jobs")
    request, submits = only(requests(kept.seen)), kept.seen.named("submit")
    assert [(span.parent, span.links) for span in submits] == [("", ((request.trace, request.id),))] * 2
    assert [span.facts["darkroom.batch.line"] for span in submits] == [1, 2]
    assert {span.facts["darkroom.batch.id"] for span in submits} == {batch["id"]}
    assert len({request.trace, *(span.trace for span in submits)}) == 3
    assert hand.take().job.trace == submits[0].traceparent
    assert not any(PROMPT in span.words for span in kept.seen.spans)


def test_without_tracing_a_job_keeps_no_trace(gateway: Serving, hand: Hand) -> None:
    with serving(gateway.settings) as plain:
        job = submit(plain, {"traceparent": THEIRS})

    assert record(hand, job).trace is None
    assert hand.redis.hget(f"{DEFAULT.prefix}job:{job['id']}", "trace") is None
