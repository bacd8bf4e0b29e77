"""Pools side by side: jobs name a model, and go where it is drawn first; or a class, and go there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.connection import run
from shared.contract import JobBody, ModelList
from shared.generation import ModelCard
from shared.keys import queue_of
from shared.oversight import QueueBody, ScalingBody, WorkerList
from shared.scripts import direct, leave
from shared.scripts.fleet import Mode
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.scraping import Scrape
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

MODEL = CARD.id
L4, H100 = f"{MODEL}@l4", f"{MODEL}@h100"
OTHER = CARD.model_copy(update={"id": "test/other", "title": "Other"})
KEYS = "{darkroom}:2:"


def of_class(pool: str) -> ModelCard:
    return CARD.model_copy(update={"id": pool})


@pytest.fixture(scope="module")
def impatient(redis_server: RedisServer, s3_server: S3Server) -> Settings:
    """A pool that has lost its workers is given up at once."""
    return settings_for(redis_server, s3_server).model_copy(update={"pool_patience_s": 0.0, "lease_s": 1.0})


@pytest.fixture(scope="module")
def gateway(impatient: Settings) -> Iterator[Serving]:
    with serving(impatient) as served:
        yield served


@pytest.fixture
def pools(impatient: Settings, gateway: Serving) -> Iterator[tuple[Hand, Hand]]:
    """One worker of each class, on an empty queue that the gateway knows to have both."""
    with Hand(impatient, of_class(L4)) as l4, Hand(impatient, of_class(H100)) as h100:
        l4.forget_all()
        l4.arrive()
        h100.arrive()
        look_anew(gateway)
        yield l4, h100


def look_anew(gateway: Serving) -> None:
    """Have the gateway forget what it remembers of fleet and queues, as after any order."""
    gateway.http.post("/v1/queue/resume").raise_for_status()


def models(gateway: Serving) -> ModelList:
    return ModelList.model_validate_json(gateway.http.get("/v1/models").content)


def submit(gateway: Serving, **fields: Any) -> JobBody:  # noqa: ANN401 (a request's fields)
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def read(gateway: Serving, job: JobBody) -> JobBody:
    return JobBody.model_validate_json(gateway.http.get(job.urls.get).content)


def draw(hand: Hand) -> None:
    taken = hand.take()
    hand.draw(taken, 0, b"picture")
    hand.finish(taken)


def depart(hand: Hand) -> None:
    run(hand.redis, leave(hand.worker, hand.card.id))


class TestWhereJobsGo:
    def test_one_that_names_a_class_waits_for_it_and_is_drawn_there(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        l4, h100 = pools
        job = submit(gateway, model=L4)

        assert (job.model, job.pool) == (MODEL, L4)
        assert h100.take_any() is None
        draw(l4)
        assert read(gateway, job).status == "succeeded"

    def test_those_that_name_the_model_are_spread_over_its_classes(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        jobs = [submit(gateway, model=MODEL), submit(gateway), submit(gateway, model=MODEL), submit(gateway)]

        assert {job.model for job in jobs} == {MODEL}
        assert sorted(job.pool or "" for job in jobs) == [H100, H100, L4, L4]
        for hand in pools:
            draw(hand)
            draw(hand)
        assert {read(gateway, job).status for job in jobs} == {"succeeded"}

    def test_a_batchs_lines_go_each_where_it_is_drawn_first(self, gateway: Serving, pools: tuple[Hand, Hand]) -> None:
        lines = [{"prompt": f"{n}"} for n in range(4)] + [{"prompt": "there", "model": H100}]
        batch = gateway.http.post("/v1/batches", json=lines).raise_for_status().json()
        waiting = lambda: {one.pool: one.waiting["bulk"].jobs for one in queue(gateway).models}  # noqa: E731  # pyright: ignore[reportArgumentType]: an enum of str

        wait_until(lambda: sum(waiting().values()) == 5, limit_s=20, what="all lines are jobs")
        assert set(waiting().values()) == {2, 3}
        for hand in pools:
            while (taken := hand.take_any()) is not None:
                hand.draw(taken, 0, b"picture")
                hand.finish(taken)
        ended = gateway.http.get(f"/v1/batches/{batch['id']}").json()
        assert (ended["status"], ended["counts"]["succeeded"]) == ("ended", 5)

    def test_a_retry_keeps_to_the_class_that_was_named(self, gateway: Serving, pools: tuple[Hand, Hand]) -> None:
        l4, _ = pools
        job = submit(gateway, model=L4)
        l4.fail(l4.take(), "model_error", "No.")
        again = gateway.http.post(f"{job.urls.get}/retry").raise_for_status().json()
        assert (again["model"], again["pool"]) == (MODEL, L4)

    def test_a_class_that_nobody_serves_is_refused_by_name(self, gateway: Serving, pools: tuple[Hand, Hand]) -> None:
        del pools
        response = gateway.http.post("/v1/jobs", json={"prompt": "x", "model": f"{MODEL}@a100"})
        assert response.status_code == 422
        assert f"{H100}, {L4}" in response.text

    def test_a_dialect_takes_a_class_for_a_model(self, gateway: Serving, pools: tuple[Hand, Hand]) -> None:
        l4, h100 = pools
        titles = [one["model_name"] for one in gateway.http.get("/sdapi/v1/sd-models").json()]
        assert titles == [MODEL]

        answers: list[int] = []
        asked = {"prompt": "x", "model": L4, "size": "64x64"}
        caller = threading.Thread(
            target=lambda: answers.append(gateway.http.post("/v1/images/generations", json=asked).status_code)
        )
        caller.start()
        wait_until(lambda: (taken := l4.take_any()) is not None and ended(l4, taken), limit_s=20, what="it is drawn")
        caller.join(20)
        assert answers == [200]
        assert h100.take_any() is None


def ended(hand: Hand, taken: Any) -> bool:  # noqa: ANN401 (a claim)
    hand.draw(taken, 0, b"picture")
    hand.finish(taken)
    return True


class TestReuse:
    def test_who_names_the_model_gets_what_any_class_has_drawn(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        first = submit(gateway, seed=7)
        draw(next(hand for hand in pools if hand.card.id == first.pool))
        depart(next(hand for hand in pools if hand.card.id == first.pool))

        again = submit(gateway, seed=7)

        assert (again.status, again.reused) == ("succeeded", True)

    def test_who_names_a_class_gets_what_was_drawn_for_that_class(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        l4, _ = pools
        submit(gateway, seed=7, model=L4)
        draw(l4)

        assert not submit(gateway, seed=7, model=H100).reused
        assert not submit(gateway, seed=7).reused
        assert submit(gateway, seed=7, model=L4).reused


class TestAPoolThatHasLostItsWorkers:
    def test_what_waits_there_is_drawn_by_another_and_what_named_it_waits(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        l4, h100 = pools
        free = [submit(gateway) for _ in range(4)]
        stranded = [job for job in free if job.pool == L4]
        pinned = submit(gateway, model=L4)
        assert len(stranded) == 2

        depart(l4)

        wait_until(
            lambda: {read(gateway, job).pool for job in stranded} == {H100}, limit_s=20, what="they wait elsewhere"
        )
        assert all(read(gateway, job).version > job.version for job in stranded)
        for _ in free:
            draw(h100)
        assert h100.take_any() is None
        assert {read(gateway, job).status for job in free} == {"succeeded"}
        left = read(gateway, pinned)
        assert (left.pool, left.status, left.reason and left.reason.code) == (L4, "queued", "no_worker")
        assert Scrape(gateway)("jobs_rerouted_total", pool=L4) == 2

    def test_as_many_workers_are_woken_there_as_jobs_come_or_workers_are(
        self, gateway: Serving, pools: tuple[Hand, Hand], impatient: Settings
    ) -> None:
        l4, h100 = pools
        with Hand(impatient, of_class(H100)) as second, Hand(impatient, of_class(H100)) as third:
            look_anew(gateway)
            jobs = [submit(gateway) for _ in range(12)]
            stranded = sum(job.pool == L4 for job in jobs)
            assert stranded >= 2
            wait_until(lambda: h100.redis.llen(queue_of(H100)) > 0, limit_s=20, what="a wake-up is there")
            h100.redis.delete(queue_of(H100))  # each has taken its own and is idle again

            depart(l4)

            wait_until(lambda: h100.redis.llen(queue_of(H100)) >= min(3, stranded), limit_s=20, what="each is woken")
            depart(second)
            depart(third)

    def test_a_job_whose_worker_died_over_it_goes_on_elsewhere(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        l4, h100 = pools
        jobs = [submit(gateway, num_images=2) for _ in range(2)]
        job = next(job for job in jobs if job.pool == L4)
        taken = l4.take(lease_s=0.2)
        l4.draw(taken, 0, b"picture")

        depart(l4)

        wait_until(lambda: read(gateway, job).pool == H100, limit_s=20, what="it waits elsewhere")
        for _ in jobs:
            taken = h100.take()
            for index in range(2):
                h100.draw(taken, index, b"picture")
            h100.finish(taken)
        found = read(gateway, job)
        assert (found.status, found.attempt, len(found.images)) == ("succeeded", 2, 2)

    def test_a_pause_of_one_class_lets_another_take_over_and_a_pause_of_all_does_not(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        l4, h100 = pools
        jobs = [submit(gateway) for _ in range(2)]
        run(l4.redis, direct(Mode.PAUSED, l4.worker))
        wait_until(lambda: {read(gateway, job).pool for job in jobs} == {H100}, limit_s=20, what="they wait elsewhere")
        gateway.http.post("/v1/queue/pause").raise_for_status()
        run(l4.redis, direct(Mode.WORK, l4.worker))
        assert {read(gateway, job).pool for job in jobs} == {H100}
        gateway.http.post("/v1/queue/resume").raise_for_status()
        draw(h100)
        draw(h100)


def queue(gateway: Serving) -> QueueBody:
    return QueueBody.model_validate_json(gateway.http.get("/v1/queue").content)


class TestWhatOperatorsSee:
    def test_each_pool_by_its_name_and_its_model(self, gateway: Serving, pools: tuple[Hand, Hand]) -> None:
        submit(gateway, model=L4)
        del pools
        workers = WorkerList.model_validate_json(gateway.http.get("/v1/workers").content).data
        assert [(worker.model, worker.pool) for worker in workers] == [(MODEL, H100), (MODEL, L4)]
        assert [(one.model, one.pool, one.workers["ready"]) for one in queue(gateway).models] == [
            (MODEL, H100, 1),
            (MODEL, L4, 1),
        ]
        assert Scrape(gateway).labels("workers", "pool") == {H100, L4}

    def test_a_scaler_asks_for_each_pool(self, gateway: Serving, pools: tuple[Hand, Hand]) -> None:
        _, h100 = pools
        submit(gateway, model=L4)
        h100.redis.set(f"{KEYS}speeds:{H100}", "[]")
        h100.redis.set(f"{KEYS}speeds:{L4}", "[]")
        found = ScalingBody.model_validate_json(gateway.http.get("/v1/scaling", params={"model": L4}).content)
        assert (found.model, found.pool, found.waiting_jobs) == (MODEL, L4, 1)

    def test_tokens_are_counted_for_a_model_as_any_of_its_pools_reads(
        self, gateway: Serving, pools: tuple[Hand, Hand]
    ) -> None:
        del pools
        answer = gateway.http.post("/v1/tokens", json={"prompt": "x"})
        assert answer.json()["code"] == "no_vocabulary"  # none of these workers has one
        assert MODEL in answer.json()["detail"]
        assert "@" not in answer.json()["detail"]


class TestModelsSideBySide:
    def test_each_gets_its_own_jobs(self, gateway: Serving, pools: tuple[Hand, Hand], impatient: Settings) -> None:
        l4, h100 = pools
        with Hand(impatient, OTHER) as other:
            look_anew(gateway)
            assert {one.id for one in models(gateway).data} == {MODEL, OTHER.id}
            job = submit(gateway, model=OTHER.id)
            assert (job.model, job.pool) == (OTHER.id, OTHER.id)
            assert l4.take_any() is h100.take_any() is None
            draw(other)
            assert read(gateway, job).status == "succeeded"
            depart(other)


class TestBesidePartsThatKnowNoPools:
    def test_a_worker_that_knows_none_is_the_models_pool_without_a_class(
        self, gateway: Serving, pools: tuple[Hand, Hand], impatient: Settings
    ) -> None:
        del pools
        with Hand(impatient) as old:
            state = json.loads(old.redis.get(f"{KEYS}worker:{old.worker}") or b"")
            assert state.pop("pool") == MODEL
            old.redis.set(f"{KEYS}worker:{old.worker}", json.dumps(state), ex=600)  # as an older one says it
            workers = WorkerList.model_validate_json(gateway.http.get("/v1/workers").content).data
            assert (MODEL, MODEL) in [(worker.model, worker.pool) for worker in workers]
            look_anew(gateway)
            assert MODEL in [submit(gateway).pool for _ in range(3)]
            draw(old)
            depart(old)

    def test_a_gateway_that_knows_none_finds_each_pool_to_be_a_model(self, pools: tuple[Hand, Hand]) -> None:
        """It reads the card's id and the worker's model, and submits to the queue of that name."""
        l4, _ = pools
        card, state = (json.loads(l4.redis.get(KEYS + name) or b"") for name in (f"card:{L4}", f"worker:{l4.worker}"))
        assert (card["id"], state["model"]) == (L4, L4)

    def test_what_it_queued_under_the_models_name_is_drawn_by_a_class(
        self, gateway: Serving, pools: tuple[Hand, Hand], impatient: Settings
    ) -> None:
        """As in an upgrade: jobs wait for a model whose workers have come back with a class."""
        with Hand(impatient) as old:
            look_anew(gateway)
            jobs = [submit(gateway, reuse=False) for _ in range(6)]
            plain = [job for job in jobs if job.pool == MODEL]
            assert plain
            depart(old)
        wait_until(
            lambda: MODEL not in {read(gateway, job).pool for job in plain}, limit_s=20, what="they wait for a class"
        )
        for hand in pools:
            while (taken := hand.take_any()) is not None:
                hand.draw(taken, 0, b"picture")
                hand.finish(taken)
        assert {read(gateway, job).status for job in plain} == {"succeeded"}
