"""How the bench of one Redis asks, counts and adds up, on a real server."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
import redis

from bench.callers import Callers, Talk, due_evenly, listening
from bench.price import BEATS, FORGOTTEN_AT_ONCE, Mix, Verb
from bench.spent import Spent
from bench.streams import CARD
from bench.whole_jobs import TERMS, Run, new_job, ran, state_of
from shared.call import Call
from shared.connection import run
from shared.jobs import JobStatus, new_job_id
from shared.keys import DEFAULT
from shared.scripts import announce, fleet, heartbeat, outlook, read, submit
from shared.settings import Settings

WORKERS = 3


@pytest.fixture
def url(redis_settings: Settings) -> str:
    return redis_settings.redis_url.get_secret_value()


@pytest.fixture
def fleet_of_three(queue: redis.Redis) -> redis.Redis:
    run(queue, announce(CARD))
    for number in range(WORKERS):
        run(queue, heartbeat(state_of(number), life_s=600))
    return queue


def test_answers_come_in_the_order_of_their_questions(url: str, fleet_of_three: redis.Redis) -> None:
    new = [new_job() for _ in range(40)]
    with Callers(url, 4) as callers:
        made = callers.ask_all(submit(job, TERMS) for job in new)
        found = callers.ask_all(read(job.id, job.tenant) for job in new)

    assert [one.job.id for one in made] == [job.id for job in found] == [job.id for job in new]
    assert {job.status for job in found} == {JobStatus.QUEUED}
    del fleet_of_three


def test_what_the_server_refuses_is_no_answer(url: str, queue: redis.Redis) -> None:
    del queue
    with Callers(url, 1) as callers, pytest.raises(RuntimeError, match="refused"):
        callers.ask_all([Call("no_such_verb", ("x",), (), lambda reply: reply)])


def test_a_wrong_password_is_told(url: str, queue: redis.Redis) -> None:
    del queue
    with pytest.raises(RuntimeError, match="password"):
        Callers(url.replace("redis://:", "redis://:not-"), 1)


def test_a_talk_for_which_no_connection_was_free_is_late(url: str, fleet_of_three: redis.Redis) -> None:
    said: list[float] = []

    def talk() -> Talk:
        for _ in range(3):
            yield outlook(CARD.id)
        said.append(time.monotonic())

    with Callers(url, 1) as callers:
        late = callers.hold([talk() for _ in range(5)])

    assert late == sorted(late)
    assert len(said) == 5
    del fleet_of_three


def test_whole_jobs_end_and_leave_nobody_running(url: str, fleet_of_three: redis.Redis) -> None:
    with Callers(url, 4) as callers:
        came = ran(callers, Run(20, None, 4, WORKERS, Mix(steps=3, previews=2, seconds=1)))

    ahead = run(fleet_of_three, outlook(CARD.id))
    assert (len(came.late_s), ahead.running) == (20, ())
    assert all(waiting.jobs == 0 for waiting in ahead.waiting.values())
    assert len(run(fleet_of_three, fleet()).workers) == WORKERS


def test_a_mix_counts_the_calls_that_a_life_makes(url: str, fleet_of_three: redis.Redis) -> None:
    mix = Mix(steps=5, previews=2, seconds=2)
    before = _functions(fleet_of_three)
    with Callers(url, 1) as callers:
        ran(callers, Run(FORGOTTEN_AT_ONCE, None, 1, WORKERS, mix))

    assert _functions(fleet_of_three) - before == round(FORGOTTEN_AT_ONCE * sum(mix.calls.values()))


def test_jobs_at_a_rate_are_due_one_after_the_other() -> None:
    due = due_evenly(5, 10)
    assert [round(at - due[0], 6) for at in due] == [0, 0.1, 0.2, 0.3, 0.4]


def test_what_a_server_spends_is_told_by_the_server(url: str, fleet_of_three: redis.Redis) -> None:
    before = Spent.now(fleet_of_three)
    with listening(url, DEFAULT.changes, 2), Callers(url, 2) as callers:
        callers.ask_all(submit(new_job(), TERMS) for _ in range(50))
    spent = Spent.now(fleet_of_three).since(before)

    assert spent.cpu_s > 0
    assert spent.turns > 0
    assert min(spent.log_bytes, spent.in_bytes, spent.memory_bytes) > 50 * 500
    assert spent.out_bytes > 50 * 2 * len(f"move:{new_job_id()}:")


def test_a_jobs_price_is_the_sum_of_its_calls() -> None:
    mix = Mix(steps=10, previews=4, seconds=3, polls=2)
    verbs = {name: Verb(2, 1, 1, 10, 0, 0) for name in mix.calls}
    calls = 4 + 1 + 10 + 2 + len(BEATS) * 3 + 2 / FORGOTTEN_AT_ONCE
    assert mix.price(verbs, "busy_us") == pytest.approx(calls)
    assert mix.price(verbs, "alone_us") == pytest.approx(2 * calls)
    assert mix.price(verbs | {"progress": Verb(0, 0, 0, 0, 0, 0)}, "log_bytes") == pytest.approx(10 * (calls - 7))


def _functions(client: redis.Redis) -> int:
    """How many functions the server has run."""
    said = cast("dict[str, dict[str, int]]", cast("Any", client).info("commandstats"))
    return said["cmdstat_fcall"]["calls"]
