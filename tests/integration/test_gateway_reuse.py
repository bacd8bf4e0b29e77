"""Pictures that were drawn once are not drawn again; and what went wrong can be tried again."""

from __future__ import annotations

from typing import cast

import httpx2
import pytest

from shared.connection import run
from shared.contract import JobBody, Problem
from shared.jobs import LeaseToken, new_job_id
from shared.scripts import claim
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import wait_until


@pytest.fixture(autouse=True)
def freshly_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each submit knows the revision that is served now, not that of half a second ago, when another test ran."""
    monkeypatch.setattr("api.outlook.FRESH_S", 0.0)
    monkeypatch.setattr("api.outlook.MOST_S", 0.0)


def submit(gateway: Serving, **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", "seed": 7, **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def now(gateway: Serving, job: JobBody) -> JobBody:
    return JobBody.model_validate_json(gateway.http.get(job.urls.get).content)


def draw(hand: Hand, data: bytes = b"data") -> None:
    taken = hand.take()
    for index in range(taken.job.params.num_images):
        hand.draw(taken, index, data)
    hand.finish(taken)


def has_nothing_to_do(hand: Hand) -> bool:
    return run(hand.redis, claim(CARD.id, hand.worker, LeaseToken("none"), lease_s=1)) is None


class TestReuse:
    def test_what_was_drawn_is_there_at_once(self, gateway: Serving, hand: Hand) -> None:
        first = submit(gateway, num_images=2)
        draw(hand)

        second = submit(gateway, num_images=2, metadata={"order": "2"}, lane="bulk")

        assert (second.status, second.reused, second.position) == ("succeeded", True, None)
        assert second.id != first.id
        assert second.metadata == {"order": "2"}
        assert [image.sha256 for image in second.images] == [image.sha256 for image in now(gateway, first).images]
        assert gateway.http.get(second.images[1].url).content == b"data"
        assert not now(gateway, first).reused
        assert has_nothing_to_do(hand)

    def test_what_is_being_drawn_is_waited_for(self, gateway: Serving, hand: Hand) -> None:
        first, second = submit(gateway), submit(gateway)
        assert (second.status, second.reused) == ("queued", False)

        draw(hand)

        assert has_nothing_to_do(hand)
        assert [now(gateway, job).status for job in (first, second)] == ["succeeded", "succeeded"]
        assert now(gateway, second).reused
        assert gateway.http.get(now(gateway, second).images[0].url).content == b"data"

    def test_a_job_that_waits_for_anothers_pictures_takes_its_turn_when_that_is_canceled(
        self, gateway: Serving, hand: Hand
    ) -> None:
        first, second = submit(gateway), submit(gateway)

        gateway.http.post(first.urls.cancel).raise_for_status()
        draw(hand)

        assert (now(gateway, second).status, now(gateway, second).reused) == ("succeeded", False)

    @pytest.mark.parametrize(
        "change", [{"seed": 8}, {"prompt": "a blue cube"}, {"output_format": "webp"}, {"num_images": 2}]
    )
    def test_what_differs_is_drawn(self, gateway: Serving, hand: Hand, change: dict[str, object]) -> None:
        submit(gateway)
        draw(hand)

        assert submit(gateway, **change).status == "queued"

    def test_another_revision_of_the_model_draws_anew(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway)
        draw(hand)
        newer = Hand(gateway.settings, CARD.model_copy(update={"revision": "1"}))

        with newer:
            assert submit(gateway).status == "queued"

    def test_who_wants_its_own_gets_its_own_and_lends_none(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway, reuse=False)
        draw(hand)

        assert submit(gateway, reuse=False).status == "queued"
        draw(hand)
        assert submit(gateway).status == "queued"

    def test_an_operator_may_have_all_drawn(self, gateway: Serving, hand: Hand) -> None:
        with serving(gateway.settings.model_copy(update={"reuse_results": False})) as fresh:
            submit(fresh)
            draw(hand)

            assert submit(fresh).status == "queued"

    def test_pictures_that_are_there_are_given_though_the_queue_is_full(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway)
        draw(hand)
        with serving(gateway.settings.model_copy(update={"max_waiting": 1})) as full:
            submit(full, seed=8)

            assert submit(full).status == "succeeded"


class TestRetry:
    def retry(self, gateway: Serving, job: JobBody, **headers: str) -> httpx2.Response:
        return gateway.http.post(f"{job.urls.get}/retry", headers=headers)

    def test_a_failed_job_comes_again_as_a_new_one(self, gateway: Serving, hand: Hand) -> None:
        failed = submit(gateway, metadata={"order": "1138"}, lane="bulk", num_images=2)
        hand.fail(hand.take(), "out_of_memory", "Ask for a smaller one.")

        response = self.retry(gateway, failed)

        job = JobBody.model_validate_json(response.content)
        assert response.status_code == 202
        assert response.headers["Location"] == job.urls.get != failed.urls.get
        assert (job.retry_of, job.status, job.error) == (failed.id, "queued", None)
        assert (job.params, job.metadata, job.lane) == (failed.params, failed.metadata, failed.lane)
        draw(hand)
        assert now(gateway, job).status == "succeeded"
        assert now(gateway, failed).status == "failed"

    def test_a_canceled_one_too_without_its_deadline(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway, cancel_after=3600)
        gateway.http.post(job.urls.cancel).raise_for_status()

        again = JobBody.model_validate_json(self.retry(gateway, job).content)

        assert (again.status, again.deadline) == ("queued", None)

    def test_one_that_goes_on_or_has_succeeded_is_not(self, gateway: Serving, hand: Hand) -> None:
        def refused() -> bool:
            response = self.retry(gateway, job)
            code = Problem.model_validate_json(response.content).code
            return (response.status_code, code) == (409, "not_retryable")

        job = submit(gateway)
        assert refused()
        taken = hand.take()
        assert refused()
        hand.draw(taken, 0, b"data")
        hand.finish(taken)
        assert refused()
        assert len(gateway.http.get("/v1/jobs").json()["data"]) == 1

    def test_an_unknown_one_is_not_found(self, gateway: Serving) -> None:
        assert gateway.http.post(f"/v1/jobs/{new_job_id()}/retry").status_code == 404

    def test_the_same_key_makes_one_new_job_even_if_the_old_one_is_deleted_meanwhile(
        self, gateway: Serving, hand: Hand
    ) -> None:
        job, other = submit(gateway), submit(gateway, seed=8)
        for _ in range(2):
            hand.fail(hand.take(), "model_error", "No.")

        first = self.retry(gateway, job, **{"Idempotency-Key": "one"})
        gateway.http.delete(job.urls.get).raise_for_status()
        second = self.retry(gateway, job, **{"Idempotency-Key": "one"})

        assert first.json()["id"] == second.json()["id"]
        assert second.headers["Idempotency-Replayed"] == "true"
        mismatch = self.retry(gateway, other, **{"Idempotency-Key": "one"})
        assert Problem.model_validate_json(mismatch.content).code == "idempotency_mismatch"

    def test_what_was_drawn_meanwhile_is_taken_unless_the_job_wanted_its_own(
        self, gateway: Serving, hand: Hand
    ) -> None:
        own, any_ones = submit(gateway, reuse=False), submit(gateway)
        for _ in range(2):
            hand.fail(hand.take(), "model_error", "No.")
        submit(gateway)
        draw(hand)

        assert self.retry(gateway, any_ones).json()["status"] == "succeeded"
        assert self.retry(gateway, own).json()["status"] == "queued"


@pytest.mark.usefixtures("hand")
class TestTerms:
    def test_a_job_that_costs_too_much_is_told_so_with_all_else_that_is_right(self, gateway: Serving) -> None:
        with serving(gateway.settings.model_copy(update={"max_job_cost": 100})) as frugal:
            response = frugal.http.post("/v1/jobs", json={"prompt": "x", "num_images": 8})
            assert response.status_code == 422
            (error,) = Problem.model_validate_json(response.content).errors
            assert error.field == "cost"
            assert submit(frugal, num_images=3).status == "queued"

    def test_a_job_that_costs_too_much_by_now_is_not_tried_again(self, gateway: Serving) -> None:
        job = submit(gateway)
        gateway.http.post(job.urls.cancel).raise_for_status()

        with serving(gateway.settings.model_copy(update={"max_job_cost": 1})) as frugal:
            response = frugal.http.post(f"{job.urls.get}/retry")

        assert [error.field for error in Problem.model_validate_json(response.content).errors] == ["cost"]

    def test_a_tenants_limit_is_told_apart(self, gateway: Serving) -> None:
        with serving(gateway.settings.model_copy(update={"max_tenant_waiting": 1})) as narrow:
            submit(narrow)

            response = narrow.http.post("/v1/jobs", json={"prompt": "y"})

        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
        assert Problem.model_validate_json(response.content).code == "tenant_queue_full"

    def test_bulk_lets_interactive_jobs_by(self, gateway: Serving) -> None:
        bulk = [submit(gateway, seed=seed, lane="bulk") for seed in range(2)]
        interactive = submit(gateway, seed=3)

        assert (bulk[0].lane, interactive.lane) == ("bulk", "interactive")
        assert cast("int", now(gateway, bulk[1]).position) > cast("int", now(gateway, interactive).position)

    def test_no_more_of_a_tenants_jobs_run_at_once_than_may(self, gateway: Serving, hand: Hand) -> None:
        with serving(gateway.settings.model_copy(update={"max_tenant_running": 1})) as narrow:
            for seed in range(2):
                submit(narrow, seed=seed)
            taken = hand.take()

            assert has_nothing_to_do(hand)
            hand.fail(taken, "model_error", "No.")
            hand.take()

    @pytest.mark.parametrize("wrong", [0, -1, 604801, 1.5, "60"])
    def test_a_wrong_deadline_is_named(self, gateway: Serving, wrong: object) -> None:
        response = gateway.http.post("/v1/jobs", json={"prompt": "x", "cancel_after": wrong})

        assert [error.field for error in Problem.model_validate_json(response.content).errors] == ["cancel_after"]

    def test_a_job_that_waits_past_its_deadline_expires(self, gateway: Serving) -> None:
        job = submit(gateway, cancel_after=1)
        assert job.deadline is not None
        assert (job.deadline - job.created_at).total_seconds() == 1

        wait_until(lambda: now(gateway, job).status == "expired", limit_s=30, what="the job expired")

        error = now(gateway, job).error
        assert error is not None
        assert error.code == "deadline_passed"

    def test_a_job_that_runs_past_its_deadline_is_canceled(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway, cancel_after=2)
        hand.take()

        wait_until(lambda: now(gateway, job).status == "canceled", limit_s=30, what="the job was canceled")

        error = now(gateway, job).error
        assert error is not None
        assert error.code == "deadline_passed"
