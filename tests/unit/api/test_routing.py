"""Where jobs go: to the pool of their model in which they will have ended first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from api.catalog import card_for, catalog, pools_of
from api.estimate import Forecast
from api.outlook import Outlooks
from api.reasons import Reasons
from api.routing import Route, Routes
from shared.cli.prompts import Line, check
from shared.contract import JobRequest, WorkerState
from shared.errors import InvalidRequest
from shared.generation import ModelCard
from shared.jobs import WorkerId
from shared.lanes import Lane
from shared.scripts import Fleet, Mode, Outlook, RunningWork, WaitingWork
from tests.desk import CARD
from tests.unit.api.waiting import PARAMS, outlook, speed, waiting_job, worker

MODEL = CARD.id
PLAIN, L4, H100 = MODEL, f"{MODEL}@l4", f"{MODEL}@h100"
FAST, SLOW = (speed(step_ms=10),), (speed(step_ms=100),)
NO_WORK: Mapping[str, Outlook] = {}


def card(pool: str, **changes: object) -> ModelCard:
    return CARD.model_copy(update={"id": pool, **changes})


def in_pool(pool: str, *, fast: bool = False, name: str = "", **changes: object) -> WorkerState:
    made = worker(name or f"of-{pool}", model=pool, speeds=FAST if fast else SLOW)
    return made.model_copy(update=changes)


def fleet(*workers: WorkerState, cards: tuple[str, ...] = (L4, H100), **changes: object) -> Fleet:
    return replace(Fleet(tuple(map(card, cards)), workers), **changes)  # pyright: ignore[reportArgumentType]: a fleet's


class Seen:
    """What looks at the queue have found; no look is taken."""

    def __init__(self, served: Fleet, aheads: Mapping[str, Outlook]) -> None:
        self.served = served
        self.aheads = {name: outlook() for name in (PLAIN, L4, H100)} | dict(aheads)
        self.asked: list[str] = []
        self.looked_at_s = time.monotonic()

    async def forecast(self, pool: str) -> tuple[Forecast, Outlook, float]:
        self.asked.append(pool)
        ahead = self.aheads[pool]
        return Forecast(ahead, self.served, pool), ahead, 1000 * (time.monotonic() - self.looked_at_s)


def routed(served: Fleet, aheads: Mapping[str, Outlook] = NO_WORK, name: str = MODEL, jobs: int = 1) -> list[Route]:
    routes = Routes(cast("Outlooks", Seen(served, aheads)))

    async def find() -> list[Route]:
        return [await routes.find(served, name, PARAMS, Lane.INTERACTIVE) for _ in range(jobs)]

    return asyncio.run(find())


def busy(work_ms: int, pool: str) -> Outlook:
    work = RunningWork(WorkerId(f"of-{pool}"), Lane.INTERACTIVE, work_ms, 0, 10, 0)
    return outlook(work)


def waits(work_ms: int, jobs: int = 1) -> Outlook:
    return outlook(waiting={Lane.INTERACTIVE: WaitingWork(jobs, work_ms)})


BOTH = fleet(in_pool(L4), in_pool(H100, fast=True))


class TestAChoice:
    def test_of_two_idle_pools_the_faster_draws(self) -> None:
        (route,) = routed(BOTH)
        assert (route.pool, route.roams) == (H100, True)

    def test_a_queue_before_the_faster_one_sends_jobs_to_the_slower(self) -> None:
        assert routed(BOTH, {H100: waits(600_000)})[0].pool == L4
        assert routed(BOTH, {H100: busy(600_000, H100)})[0].pool == L4

    def test_what_was_just_sent_there_counts_though_no_look_has_seen_it(self) -> None:
        found = [route.pool for route in routed(BOTH, jobs=40)]
        assert 0 < found.count(L4) < found.count(H100)

    def test_the_work_is_told_by_what_that_pool_has_measured(self) -> None:
        (fast,), (slow,) = routed(BOTH), routed(BOTH, name=L4)
        assert 5 < slow.work_ms / fast.work_ms < 10

    @pytest.mark.parametrize(
        "resting",
        [
            fleet(in_pool(L4), in_pool(H100, fast=True), modes={f"of-{H100}": Mode.PAUSED}),
            fleet(in_pool(L4), in_pool(H100, fast=True, store_away=True)),
            fleet(in_pool(L4), in_pool(H100, fast=True, state="draining")),
            fleet(in_pool(L4), in_pool(H100, fast=True, state="warming")),
            fleet(in_pool(L4), scaled=frozenset({H100})),
            fleet(in_pool(L4)),
        ],
    )
    def test_a_pool_that_would_begin_nothing_gets_nothing(self, resting: Fleet) -> None:
        assert routed(resting)[0].pool == L4

    def test_behind_a_long_queue_a_worker_that_is_about_to_come_is_sooner(self) -> None:
        hour = {L4: waits(3_600_000)}
        assert routed(fleet(in_pool(L4), in_pool(H100, state="warming")), hour)[0].pool == H100
        assert routed(fleet(in_pool(L4), scaled=frozenset({H100})), hour)[0].pool == H100
        assert routed(fleet(in_pool(L4)), hour)[0].pool == L4

    def test_while_all_are_paused_they_wait_where_least_waits(self) -> None:
        paused = replace(BOTH, mode=Mode.PAUSED)
        assert routed(paused, {H100: waits(600_000)})[0].pool == L4

    def test_workers_that_said_no_class_are_a_pool_like_others(self) -> None:
        old_and_new = fleet(in_pool(PLAIN), in_pool(H100, fast=True), cards=(PLAIN, H100))
        assert routed(old_and_new)[0].pool == H100
        (route,) = routed(old_and_new, {H100: waits(600_000)})
        assert (route.pool, route.roams) == (PLAIN, False)


class TestNoChoice:
    def test_who_names_a_class_gets_it_whatever_waits_there(self) -> None:
        (route,) = routed(BOTH, {L4: waits(600_000)}, name=L4)
        assert (route.pool, route.roams) == (L4, False)

    def test_one_pool_costs_no_look_at_queues(self) -> None:
        served = fleet(in_pool(L4), cards=(L4,))
        seen = Seen(served, {})
        found = asyncio.run(Routes(cast("Outlooks", seen)).find(served, MODEL, PARAMS, Lane.BULK))
        assert (found.pool, seen.asked) == (L4, [])

    def test_what_nobody_serves_waits_under_its_name(self) -> None:
        assert pools_of(Fleet((), ()), "gone") == ("gone",)

    def test_a_pool_of_another_revision_gets_only_what_names_it(self) -> None:
        apart = Fleet((card(L4), card(H100, revision="1" * 40)), (in_pool(L4), in_pool(L4, name="2"), in_pool(H100)))
        assert pools_of(apart, MODEL) == (L4,)
        assert pools_of(apart, H100) == (H100,)
        assert {pool.name: pool.is_alike for pool in catalog(apart).data[0].pools} == {H100: False, L4: True}


class TestTheCatalog:
    def test_a_model_is_shown_once_with_its_classes(self) -> None:
        (model,) = catalog(BOTH).data
        assert (model.id, model.ready_workers, model.is_default) == (MODEL, 2, True)
        assert [(pool.name, pool.gpu_class, pool.ready_workers) for pool in model.pools] == [
            (H100, "h100", 1),
            (L4, "l4", 1),
        ]

    def test_without_classes_nothing_is_said_of_them(self) -> None:
        (model,) = catalog(fleet(in_pool(PLAIN), cards=(PLAIN,))).data
        assert (model.id, model.pools) == (MODEL, ())

    def test_a_card_goes_by_the_name_that_was_asked_for(self) -> None:
        assert card_for(BOTH, None).id == card_for(BOTH, MODEL).id == MODEL
        assert card_for(BOTH, L4).id == L4

    def test_the_command_lets_a_file_of_requests_name_a_class(self) -> None:
        served = catalog(BOTH).data
        said = [JobRequest(prompt="x", model=name) for name in (None, MODEL, L4)]
        check(tuple(Line(number, one) for number, one in enumerate(said, 1)), served)
        with pytest.raises(InvalidRequest, match="Served are"):
            check((Line(1, JobRequest(prompt="x", model=f"{MODEL}@a100")),), served)

    def test_an_unknown_class_is_told_the_known_ones(self) -> None:
        with pytest.raises(InvalidRequest, match=f"Known: {H100}, {L4}"):
            card_for(BOTH, f"{MODEL}@a100")


class TestReasons:
    def test_a_job_without_workers_says_that_another_class_takes_it(self) -> None:
        served = fleet(in_pool(H100))
        reason = Reasons(served, L4).of(waiting_job(pool=L4, roams=True))
        assert reason is not None
        assert reason.code == "no_worker"
        assert "to workers of another class" in reason.message

    def test_one_that_named_its_class_says_what_its_owner_can_do(self) -> None:
        reason = Reasons(fleet(in_pool(H100)), L4).of(waiting_job(pool=L4))
        assert reason is not None
        assert reason.code == "no_worker"
        assert f"names {MODEL} alone" in reason.message

    @pytest.mark.parametrize(("needs", "revision"), [(2, CARD.revision), (1, "another")])
    def test_nothing_is_promised_of_another_class_that_would_draw_it_otherwise(self, needs: int, revision: str) -> None:
        served = replace(fleet(in_pool(H100)), cards=(card(L4, revision=revision), card(H100)))
        reason = Reasons(served, L4).of(waiting_job(pool=L4, roams=True, needs=needs))
        assert reason is not None
        assert reason.code == "no_worker"
        assert "about to go" not in reason.message

    def test_where_none_has_workers_nothing_is_promised(self) -> None:
        reason = Reasons(fleet(), L4).of(waiting_job(pool=L4, roams=True))
        assert reason is not None
        assert "another class" not in reason.message
