"""What operators see and say: workers, queues, jobs that were given up."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from shared import scripts
from shared.connection import run
from shared.contract import JobBody, Problem
from shared.history import Outcome
from shared.jobs import LOCAL_TENANT, Job, JobError, LeaseToken, NewJob, Tenant, Terms, WorkerId, new_job_id
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.oversight import (
    EndsBody,
    FailedList,
    HistoryBody,
    QueueBody,
    RetriedJob,
    SetAsideList,
    WorkerBody,
    WorkerList,
)
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.serving import CARD, LEASE_S, Hand, Serving, serving
from tests.servers import RedisServer, S3Server

KEY = "s3cr3t-and-long-enough"

ADDRESSES = [
    ("GET", "/v1/workers"),
    ("POST", "/v1/workers/w1/pause"),
    ("GET", "/v1/queue"),
    ("POST", "/v1/queue/drain"),
    ("GET", "/v1/queue/set-aside"),
    ("GET", "/v1/queue/failed"),
    ("POST", "/v1/queue/failed/5r0z9k2m4c7q8x1t6w3v0h2j9n/retry"),
    ("GET", "/v1/queue/history"),
]


def submit(gateway: Serving, **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def workers(gateway: Serving) -> dict[str, WorkerBody]:
    response = gateway.http.get("/v1/workers")
    assert response.status_code == 200, response.text
    return {worker.id: worker for worker in WorkerList.model_validate_json(response.content).data}


def show_queue(gateway: Serving) -> QueueBody:
    return QueueBody.model_validate_json(gateway.http.get("/v1/queue").content)


def direct(gateway: Serving, what: str) -> None:
    assert gateway.http.post(f"/v1/{what}").status_code == 200


def takes_work(hand: Hand) -> bool:
    call = scripts.claim(hand.card.id, hand.worker, LeaseToken(new_job_id()), lease_s=LEASE_S)
    return run(hand.redis, call) is not None


class TestWorkers:
    def test_each_living_worker_is_listed_with_what_it_shall_do(self, gateway: Serving, hand: Hand) -> None:
        (listed,) = workers(gateway).values()

        assert (listed.id, listed.state, listed.mode, listed.model) == (hand.worker, "ready", "work", CARD.id)

    def test_a_paused_worker_begins_nothing_until_it_is_resumed(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway)

        for order, mode in (("pause", "paused"), ("pause", "paused"), ("drain", "drained")):
            direct(gateway, f"workers/{hand.worker}/{order}")
            assert workers(gateway)[hand.worker].mode == mode
            assert not takes_work(hand)
        direct(gateway, f"workers/{hand.worker}/resume")

        assert workers(gateway)[hand.worker].mode == "work"
        assert takes_work(hand)

    def test_what_it_holds_is_ended_under_a_pause(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)
        taken = hand.take()
        direct(gateway, f"workers/{hand.worker}/pause")

        hand.draw(taken, 0, b"one")
        hand.finish(taken)

        assert gateway.http.get(job.urls.get).json()["status"] == "succeeded"

    @pytest.mark.parametrize("name", ["nobody-1-abc", "*", "a b", "%2A", "w:1", "..", "a" * 129, "\u00e4"])
    def test_a_worker_that_is_not_there_is_told_nothing(self, gateway: Serving, hand: Hand, name: str) -> None:
        response = gateway.http.post(f"/v1/workers/{name}/pause")

        assert response.status_code == 404
        assert Problem.model_validate_json(response.content).code in {"worker_not_found", "not_found"}
        submit(gateway)
        assert takes_work(hand)

    def test_an_unknown_order_is_refused(self, gateway: Serving, hand: Hand) -> None:
        response = gateway.http.post(f"/v1/workers/{hand.worker}/explode")

        assert response.status_code == 404
        assert Problem.model_validate_json(response.content).code == "not_found"


class TestQueue:
    def test_it_tells_what_waits_and_runs_for_each_model(self, gateway: Serving, hand: Hand) -> None:
        for lane in ("interactive", "bulk", "bulk"):
            submit(gateway, lane=lane)
        hand.take()

        (pool,) = show_queue(gateway).models

        assert pool.model == CARD.id
        assert {lane: waiting.jobs for lane, waiting in pool.waiting.items()} == {"interactive": 0, "bulk": 2}
        assert pool.waiting["bulk"].work_s > 0  # pyright: ignore[reportArgumentType]: an enum of str
        assert pool.running == 1
        assert pool.workers == {"warming": 0, "ready": 1, "draining": 0}

    def test_a_model_that_nobody_knows_any_more_is_told_while_jobs_wait_for_it(
        self, gateway: Serving, hand: Hand
    ) -> None:
        job = submit(gateway)
        hand.redis.delete(f"{DEFAULT.prefix}card:{CARD.id}", f"{DEFAULT.prefix}worker:{hand.worker}")

        (pool,) = show_queue(gateway).models
        assert (pool.model, pool.waiting["interactive"].jobs) == (CARD.id, 1)  # pyright: ignore[reportArgumentType]: an enum of str
        assert show_queue(gateway).results.new == 1

        gateway.http.post(f"{job.urls.get}/cancel")
        assert show_queue(gateway).models == ()

    def test_a_fleet_that_is_paused_takes_jobs_and_begins_none(self, gateway: Serving, hand: Hand) -> None:
        direct(gateway, "queue/pause")
        direct(gateway, "queue/pause")
        submit(gateway)

        assert (show_queue(gateway).mode, workers(gateway)[hand.worker].mode) == ("paused", "paused")
        assert not takes_work(hand)

        direct(gateway, "queue/resume")
        assert show_queue(gateway).mode == "work"
        assert takes_work(hand)

    def test_the_stricter_order_counts(self, gateway: Serving, hand: Hand) -> None:
        direct(gateway, f"workers/{hand.worker}/pause")
        direct(gateway, "queue/drain")
        assert workers(gateway)[hand.worker].mode == "drained"

        direct(gateway, "queue/resume")
        assert workers(gateway)[hand.worker].mode == "paused"

    def test_results_found_rather_than_drawn_are_counted(self, gateway: Serving, hand: Hand) -> None:
        assert show_queue(gateway).results.hit_rate is None
        terms, tenant = Terms(keep_s=3600), LOCAL_TENANT

        def ask() -> Job:
            new = NewJob(new_job_id(), tenant, CARD.id, first.params, {})
            return run(hand.redis, scripts.submit(new, terms, result="the same")).job

        first = submit(gateway, reuse=False)
        hand.take()
        for _ in range(2):
            ask()
        taken = hand.take()
        hand.draw(taken, 0, b"one")
        hand.finish(taken)
        for _ in range(2):
            ask()

        counted = show_queue(gateway).results

        assert (counted.new, counted.joined, counted.reused, counted.hit_rate) == (1, 1, 2, 0.75)

    def test_an_empty_deployment_is_no_fault(self, gateway: Serving, hand: Hand) -> None:
        hand.forget_all()

        assert workers(gateway) == {}
        assert show_queue(gateway).models == ()


class TestSetAside:
    def test_a_job_that_killed_its_workers_is_shown_with_them(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway, num_inference_steps=7)
        for name in ("a-1-x", "b-2-y", "c-3-z"):
            claim = scripts.claim(CARD.id, WorkerId(name), LeaseToken(name), lease_s=LEASE_S)
            assert run(hand.redis, claim)
            hand.redis.zadd("{darkroom}:2:leases", {job.id: 0})  # the lease has ended
            # Known as renewed, else the sweep of a gateway that was idle would grant it a term of grace.
            hand.redis.sadd("{darkroom}:2:graced", job.id)
            run(hand.redis, scripts.reap(lease_s=LEASE_S, max_attempts=3))

        response = gateway.http.get("/v1/queue/set-aside")

        (shown,) = SetAsideList.model_validate_json(response.content).data
        assert (shown.id, shown.attempts, shown.lost_workers) == (job.id, 3, ("a-1-x", "b-2-y", "c-3-z"))
        assert (shown.params, shown.cost) == (job.params, job.params.cost)
        assert shown.error is not None
        assert shown.error.code == "worker_lost"
        assert shown.set_aside_at is not None

    @pytest.mark.parametrize("limit", ["0", "101", "x"])
    def test_a_bad_limit_is_named(self, gateway: Serving, limit: str) -> None:
        response = gateway.http.get("/v1/queue/set-aside", params={"limit": limit})

        assert response.status_code == 422
        assert [error.field for error in Problem.model_validate_json(response.content).errors] == ["limit"]


class TestFailed:
    def test_a_failed_job_is_told_with_its_reason_and_without_its_texts(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway, prompt="a secret garden", negative_prompt="a public park")
        hand.fail(hand.take(), "model_error", "The model broke.")

        response = gateway.http.get("/v1/queue/failed")

        (shown,) = FailedList.model_validate_json(response.content).data
        assert (shown.id, shown.tenant, shown.is_set_aside) == (job.id, LOCAL_TENANT, False)
        assert shown.error == JobError(code="model_error", message="The model broke.")
        assert "secret" not in response.text
        assert "public" not in response.text

    def test_an_operator_sends_it_again_once_for_its_tenant(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway, lane="bulk")
        hand.fail(hand.take(), "model_error", "The model broke.")

        said = [gateway.http.post(f"/v1/queue/failed/{job.id}/retry") for _ in range(2)]

        assert [response.status_code for response in said] == [202, 202]
        first, second = (RetriedJob.model_validate_json(response.content) for response in said)
        assert first == second
        assert (first.retry_of, first.tenant, first.lane, first.status) == (job.id, LOCAL_TENANT, "bulk", "queued")
        again = JobBody.model_validate_json(gateway.http.get(f"/v1/jobs/{first.id}").content)
        assert (again.params, again.retry_of) == (job.params, job.id)
        (shown,) = FailedList.model_validate_json(gateway.http.get("/v1/queue/failed").content).data
        assert shown.retried_as == first.id
        assert takes_work(hand)

    def test_another_tenants_job_stays_another_tenants(
        self, redis_server: RedisServer, s3_server: S3Server, hand: Hand
    ) -> None:
        with serving(settings_for(redis_server, s3_server)) as gateway:
            params = submit(gateway).params
            hand.take()
            new = NewJob(new_job_id(), Tenant("shop"), CARD.id, params, {})
            run(hand.redis, scripts.submit(new, Terms(keep_s=3600)))
            hand.fail(hand.take(), "model_error", "The model broke.")

            again = RetriedJob.model_validate_json(gateway.http.post(f"/v1/queue/failed/{new.id}/retry").content)

            assert again.tenant == "shop"
            assert gateway.http.get(f"/v1/jobs/{again.id}").status_code == 404, "the operator is another tenant"

    @pytest.mark.parametrize("how", ["succeeded", "unknown", "no id"])
    def test_what_has_not_failed_is_not_sent_again(self, gateway: Serving, hand: Hand, how: str) -> None:
        name = {"unknown": new_job_id(), "no id": "nobody"}.get(how)
        if name is None:
            job = submit(gateway)
            taken = hand.take()
            hand.draw(taken, 0, b"one")
            hand.finish(taken)
            name = job.id

        response = gateway.http.post(f"/v1/queue/failed/{name}/retry")

        assert response.status_code == 404
        assert Problem.model_validate_json(response.content).code == "job_not_found"


class TestHistory:
    def history(self, gateway: Serving, minutes: int = 60) -> HistoryBody:
        response = gateway.http.get("/v1/queue/history", params={"minutes": minutes})
        assert response.status_code == 200, response.text
        return HistoryBody.model_validate_json(response.content)

    def test_before_the_first_end_it_is_empty(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway)
        hand.take()

        told = self.history(gateway)

        assert (told.minutes, told.period_s, told.periods) == (60, 60, ())
        assert all(not ended.outcomes and ended.waited is None for ended in told.total.values())

    @pytest.mark.parametrize(("minutes", "period_s"), [(60, 60), (120, 60), (121, 600), (1440, 600)])
    def test_it_counts_jobs_and_pictures_by_lane_and_outcome(
        self, gateway: Serving, hand: Hand, minutes: int, period_s: int
    ) -> None:
        submit(gateway, num_images=2)
        taken = hand.take()
        for index in range(2):
            hand.draw(taken, index, b"one")
        hand.finish(taken)
        submit(gateway, lane="bulk")
        hand.fail(hand.take(), "model_error", "The model broke.")
        gateway.http.post(submit(gateway, lane="bulk").urls.cancel)

        told = self.history(gateway, minutes)

        assert told.period_s == period_s
        interactive, bulk = told.total[Lane.INTERACTIVE], told.total[Lane.BULK]
        assert interactive.outcomes == {Outcome.SUCCEEDED: EndsBody(jobs=1, pictures=2)}
        assert bulk.outcomes == {
            Outcome.FAILED: EndsBody(jobs=1, pictures=1),
            Outcome.CANCELED: EndsBody(jobs=1, pictures=1),
        }
        assert interactive.waited is not None
        assert interactive.drew is not None
        assert 0 < interactive.waited.median_s <= interactive.waited.p90_s
        assert bulk.waited is not None
        assert (bulk.waited.jobs, bulk.drew) == (1, None), "one never began, the other drew nothing"
        assert (
            sum(ends.jobs for one in told.periods for lane in one.lanes.values() for ends in lane.outcomes.values())
            == 3
        )
        assert all(one.at <= told.until for one in told.periods)

    @pytest.mark.parametrize("minutes", ["0", "2881", "x"])
    def test_a_stretch_that_is_not_kept_is_refused(self, gateway: Serving, minutes: str) -> None:
        response = gateway.http.get("/v1/queue/history", params={"minutes": minutes})

        assert response.status_code == 422
        assert [error.field for error in Problem.model_validate_json(response.content).errors] == ["minutes"]


class TestWhoWaits:
    def test_it_is_told_by_tenant_and_lane(self, gateway: Serving, hand: Hand) -> None:
        params = submit(gateway).params
        hand.take()
        terms = Terms(keep_s=3600, max_tenant_running=1)
        for tenant, number in (("shop", 3), ("school", 1)):
            for _ in range(number):
                new = NewJob(new_job_id(), Tenant(tenant), CARD.id, params, {}, Lane.BULK, work_ms=2000)
                run(hand.redis, scripts.submit(new, terms))
        hand.take()  # now one of them may begin no more

        (pool,) = show_queue(gateway).models

        bulk = pool.waiting[Lane.BULK]
        assert (bulk.jobs, bulk.tenants, pool.waiting[Lane.INTERACTIVE].lines) == (3, len(bulk.lines), ())
        assert sum(line.jobs for line in bulk.lines) == 3
        assert bulk.lines[0].tenant == "shop"
        assert bulk.lines[0].work_s == 2.0 * bulk.lines[0].jobs
        assert all(line.waited_s >= 0 for line in bulk.lines)

    def test_a_worker_tells_what_it_holds_and_when_it_was_heard(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway, num_inference_steps=9)
        hand.take()

        (worker,) = workers(gateway).values()

        assert [(one.lane, one.step, one.steps) for one in worker.drawing] == [("interactive", 0, 9)]
        assert 0 <= worker.silent_s < 600


class TestWhoMay:
    @contextmanager
    def guarded(self, redis_server: RedisServer, s3_server: S3Server, **settings: object) -> Generator[Serving]:
        with serving(settings_for(redis_server, s3_server).model_copy(update=settings)) as served:
            yield served

    def test_with_a_key_only_who_sends_it(
        self, redis_server: RedisServer, s3_server: S3Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        wrong = ["", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer", f"Basic {KEY}", "Bearer \u00e4"]
        with self.guarded(redis_server, s3_server, operator_key=SecretStr(KEY)) as gateway:
            for method, address in ADDRESSES:
                for said in wrong:
                    headers = {b"Authorization": said.encode()}
                    response = gateway.http.request(method, address, headers=headers)
                    assert response.status_code == 401, (address, said)
                    assert response.headers["WWW-Authenticate"] == "Bearer"
                    code = Problem.model_validate_json(response.content).code
                    assert code in {"key_required", "key_refused"}
                assert gateway.http.request(method, address).status_code == 401
            for said in (f"Bearer {KEY}", f"bearer {KEY}"):
                assert gateway.http.get("/v1/queue", headers={"Authorization": said}).status_code == 200
            assert gateway.http.get("/v1/jobs").status_code == 200
        assert KEY not in caplog.text

    @pytest.mark.parametrize("key", [None, SecretStr("")])
    def test_without_a_key_an_open_gateway_lets_nobody(
        self, redis_server: RedisServer, s3_server: S3Server, key: SecretStr | None
    ) -> None:
        opened = {"api_host": "0.0.0.0", "allow_open_network": True, "operator_key": key}  # noqa: S104
        with self.guarded(redis_server, s3_server, **opened) as gateway:
            for method, address in ADDRESSES:
                for headers in ({}, {"Authorization": "Bearer x"}):
                    response = gateway.http.request(method, address, headers=headers)
                    assert response.status_code == 401
                    assert "DARKROOM_OPERATOR_KEY" in Problem.model_validate_json(response.content).detail

    def test_an_empty_key_is_no_key(self, redis_server: RedisServer, s3_server: S3Server) -> None:
        with self.guarded(redis_server, s3_server, operator_key=SecretStr("")) as gateway:
            assert gateway.http.get("/v1/queue").status_code == 200

    def test_a_page_of_another_origin_may_not(self, gateway: Serving, hand: Hand) -> None:
        headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}

        assert gateway.http.post("/v1/queue/pause", headers=headers).status_code == 403
        submit(gateway)
        assert takes_work(hand)

    def test_the_settings_read_it_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DARKROOM_OPERATOR_KEY", KEY)

        key = Settings().operator_key
        assert key is not None
        assert key.get_secret_value() == KEY
        assert KEY not in repr(Settings())


def test_an_outage_of_the_queue_is_said(own_redis_server: RedisServer, s3_server: S3Server) -> None:
    with serving(settings_for(own_redis_server, s3_server)) as gateway:
        own_redis_server.kill()
        for method, address in ADDRESSES:
            response = gateway.http.request(method, address)
            assert response.status_code == 503
            assert Problem.model_validate_json(response.content).code == "queue_unavailable"
