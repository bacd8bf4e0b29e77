"""A worker's spans of attempts, without a worker: what is told, what is left out, and how each of them ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from shared.errors import StoreUnavailable
from shared.jobs import TraceParent, WorkerId
from shared.scripts import Claimed, Lease, reroute
from shared.tracing import about_job
from tests.collector import Kept
from tests.desk import Desk, claim_call, new_job, submit_call
from worker.attempts import Attempts, Outcome
from worker.stages import Passage, Stage

PARENT = TraceParent("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
PROMPT = "a zanzibarquartz garden"


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def attempts(kept: Kept) -> Attempts:
    return Attempts(kept.tracing, WorkerId("w"))


def claimed(queue: redis.Redis, trace: TraceParent | None = PARENT) -> Claimed:
    desk = Desk(queue)
    desk(submit_call(replace(new_job(prompt=PROMPT, steps=10), trace=trace)))
    return desk.claim()


def passage(lease: Lease, stage: Stage, error: Exception | None = None) -> Passage:
    return Passage(stage, lease, 0, 1000.5, 1001.25, error)


def test_a_job_that_is_not_traced_has_no_spans(queue: redis.Redis, kept: Kept, attempts: Attempts) -> None:
    taken = claimed(queue, None)

    attempts.begin(taken.job, taken.lease)
    attempts.passed(passage(taken.lease, Stage.DENOISE))
    with attempts.telling("finish", taken.lease):
        pass
    attempts.end(taken.lease, Outcome.FINISHED)

    assert kept.seen.spans == []


def test_stages_are_told_at_their_own_times_below_the_attempt(
    queue: redis.Redis, kept: Kept, attempts: Attempts
) -> None:
    taken = claimed(queue)
    attempts.begin(taken.job, taken.lease)
    attempts.passed(passage(taken.lease, Stage.DENOISE))
    attempts.end(taken.lease, Outcome.FINISHED)

    wait, stage, attempt = kept.seen.spans
    assert (wait.name, wait.parent, wait.began_ns) == ("wait", PARENT.split("-")[2], taken.job.created_at_ms * 10**6)
    assert (stage.name, stage.parent, attempt.name) == ("denoise", attempt.id, "attempt")
    assert (stage.began_ns, stage.ended_ns) == (1_000_500_000_000, 1_001_250_000_000)
    assert stage.facts == {"darkroom.picture": 0, "darkroom.job.steps": 10}
    assert attempt.facts["darkroom.worker.id"] == "w"


def test_a_job_that_went_to_another_pool_keeps_its_trace_and_each_span_names_its_own(
    queue: redis.Redis, kept: Kept, attempts: Attempts
) -> None:
    desk = Desk(queue)
    new = replace(new_job(model="dr/demo@l4"), roams=True, trace=PARENT)
    desk(submit_call(new))
    assert desk(reroute(new.id, source="dr/demo@l4", to="dr/demo@t4", work_ms=1))
    taken = desk(claim_call(model="dr/demo@t4"))
    assert taken is not None
    attempts.begin(taken.job, taken.lease)
    attempts.end(taken.lease, Outcome.FINISHED)

    (attempt,) = kept.seen.named("attempt")
    assert attempt.parent == PARENT.split("-")[2]
    assert (attempt.facts["darkroom.model"], attempt.facts["darkroom.pool"]) == ("dr/demo", "dr/demo@t4")
    assert about_job(new)["darkroom.pool"] == "dr/demo@l4"


def test_an_error_is_told_by_its_name_for_its_words_may_quote_a_prompt(
    queue: redis.Redis, kept: Kept, attempts: Attempts
) -> None:
    taken = claimed(queue)
    attempts.begin(taken.job, taken.lease)
    attempts.passed(passage(taken.lease, Stage.UPLOAD, StoreUnavailable(PROMPT)))
    with pytest.raises(ValueError, match=PROMPT), attempts.telling("fail", taken.lease):
        raise ValueError(PROMPT)
    attempts.end(taken.lease, Outcome.FAILED, "internal_error")

    _, upload, fail, attempt = kept.seen.spans
    assert [span.failed for span in (upload, fail, attempt)] == [True] * 3
    kinds = [span.facts["error.type"] for span in (upload, fail, attempt)]
    assert kinds == ["StoreUnavailable", "ValueError", "internal_error"]
    assert not any("zanzibar" in span.words for span in kept.seen.spans)


def test_an_attempt_ends_once_and_what_comes_later_is_not_its(
    queue: redis.Redis, kept: Kept, attempts: Attempts
) -> None:
    taken = claimed(queue)
    attempts.begin(taken.job, taken.lease)
    attempts.end(taken.lease, Outcome.LOST)
    attempts.end(taken.lease, Outcome.FINISHED)
    attempts.passed(passage(taken.lease, Stage.UPLOAD))

    (attempt,) = kept.seen.named("attempt")
    assert attempt.facts["darkroom.outcome"] == "lost"
    assert kept.seen.named("upload") == []


def test_what_is_under_way_when_the_worker_ends_is_seen(queue: redis.Redis, kept: Kept, attempts: Attempts) -> None:
    taken = claimed(queue)
    attempts.begin(taken.job, taken.lease)
    attempts.close()

    (attempt,) = kept.seen.named("attempt")
    assert attempt.facts["darkroom.outcome"] == "left"
