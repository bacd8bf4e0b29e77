from __future__ import annotations

from typing import Any

import pytest

from api.reasons import Reasons
from shared.jobs import Hold, JobStatus, WorkerId
from shared.scripts import Fleet, Mode
from tests.unit.api.waiting import MODEL, fleet, waiting_job, worker

WARMING = worker("warming", state="warming")
AWAY = worker("away", store_away=True)
OTHER_MODEL = worker("other", model="another/model")
LEAVING = worker("leaving", state="draining")


def code(served: Fleet, **changes: Any) -> str:  # noqa: ANN401 (a job's fields)
    found = Reasons(served, MODEL).of(waiting_job(**changes))
    assert found is not None
    assert found.message.endswith(".")
    return found.code


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        (fleet(worker()), "behind"),
        (fleet(), "no_worker"),
        (fleet(OTHER_MODEL), "no_worker"),
        (fleet(LEAVING), "no_worker"),
        (fleet(WARMING), "warming"),
        (fleet(WARMING, LEAVING), "warming"),
        (fleet(WARMING, worker()), "behind"),
        (fleet(lost=1), "no_worker"),
        (fleet(lost=2), "workers_failing"),
        (fleet(scaled=True), "starting"),
        (fleet(LEAVING, scaled=True), "starting"),
        (fleet(WARMING, scaled=True), "warming"),
        (fleet(lost=2, scaled=True), "workers_failing"),
        (fleet(mode=Mode.PAUSED, scaled=True), "paused"),
        (fleet(WARMING, lost=2), "workers_failing"),
        (fleet(worker(), lost=9), "behind"),
        (fleet(AWAY), "store_away"),
        (fleet(AWAY, worker()), "behind"),
        (fleet(AWAY, WARMING), "store_away"),
        (fleet(worker(), mode=Mode.PAUSED), "paused"),
        (fleet(worker(), mode=Mode.DRAINED), "paused"),
        (fleet(mode=Mode.PAUSED), "paused"),
        (fleet(worker(), modes={"w1": Mode.DRAINED}), "paused"),
        (fleet(worker(), LEAVING, OTHER_MODEL, modes={"w1": Mode.PAUSED}), "paused"),
        (fleet(worker(), WARMING, modes={"w1": Mode.PAUSED}), "warming"),
        (fleet(worker(), worker("w2"), modes={"w1": Mode.PAUSED}), "behind"),
        (fleet(worker(), AWAY, modes={"w1": Mode.PAUSED}), "store_away"),
        (fleet(lost=5, mode=Mode.PAUSED), "paused"),
    ],
)
def test_what_keeps_the_queue_from_moving_is_named(served: Fleet, expected: str) -> None:
    assert code(served) == expected


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        (fleet(worker()), "older_workers"),
        (fleet(worker(), worker("w2", contract=2)), "behind"),
        (fleet(worker(), worker("w2", contract=3)), "behind"),
        (fleet(worker(), worker("w2", contract=2, state="warming")), "warming"),
        (fleet(worker(), worker("w2", contract=2, state="draining")), "older_workers"),
        (fleet(worker(), worker("w2", contract=2), modes={"w2": Mode.PAUSED}), "older_workers"),
        (fleet(worker(), worker("w2", contract=2, model="another/model")), "older_workers"),
        (fleet(), "no_worker"),
        (fleet(worker(), mode=Mode.PAUSED), "paused"),
    ],
)
def test_a_job_that_its_workers_are_too_old_for_says_so(served: Fleet, expected: str) -> None:
    assert code(served, needs=2) == expected


def test_a_job_that_lost_its_worker_says_so_until_another_is_ready() -> None:
    lost = {"lost_workers": (WorkerId("gone"),)}

    assert code(fleet(), **lost) == code(fleet(WARMING), **lost) == "workers_failing"
    assert code(fleet(worker()), **lost) == "behind"


def test_a_job_that_joined_a_running_one_waits_for_nobody_else() -> None:
    joined = {"hold": Hold.JOINED, "position": None}

    for served in (fleet(worker()), fleet(worker(), mode=Mode.PAUSED), fleet()):
        assert code(served, **joined) == "joined"


def test_a_job_that_joined_a_waiting_one_is_held_up_by_what_holds_that_up() -> None:
    joined = {"hold": Hold.JOINED, "position": 2}

    assert code(fleet(worker()), **joined) == "joined"
    assert code(fleet(worker(), mode=Mode.PAUSED), **joined) == "paused"
    assert code(fleet(), **joined) == "no_worker"


def test_a_tenant_s_limit_counts_only_where_work_goes_on() -> None:
    limited = {"hold": Hold.RUNNING_LIMIT}

    assert code(fleet(worker()), **limited) == "running_limit"
    assert code(fleet(), **limited) == "no_worker"


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "It goes next."),
        (1, "1 job goes before it."),
        (2, "2 jobs go before it."),
        (12_345, "12,345 jobs go before it."),
    ],
)
def test_places_are_said_in_words(position: int, message: str) -> None:
    found = Reasons(fleet(worker()), MODEL).of(waiting_job(position))

    assert found is not None
    assert (found.code, found.message) == ("behind", message)


@pytest.mark.parametrize(
    ("deaths", "lost_workers", "start"),
    [
        (2, (), "2 workers of this model have died"),
        (3, (WorkerId("w"),), "3 workers of this model have died"),
        (0, (WorkerId("w"),), "The worker that drew it has died"),
        (1, (WorkerId("w"), WorkerId("v")), "The workers that drew it have died"),
    ],
)
def test_deaths_are_counted_in_words(deaths: int, lost_workers: tuple[WorkerId, ...], start: str) -> None:
    found = Reasons(Fleet((), (), lost={MODEL: deaths}), MODEL).of(waiting_job(lost_workers=lost_workers))

    assert found is not None
    assert found.message.startswith(start)


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.QUEUED])
def test_a_job_that_does_not_wait_needs_no_reason(status: JobStatus) -> None:
    assert Reasons(fleet(), MODEL).of(waiting_job(None, status=status)) is None
