"""Submit, read, list, cancel over HTTP, on a real queue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.contract import JobBody, JobPage, Problem
from shared.errors import InvalidRequest
from shared.jobs import new_job_id
from shared.keys import DEFAULT, queue_of
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until


def submit(gateway: Serving, **fields: object) -> JobBody:
    response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube", **fields})
    assert response.status_code == 202, response.text
    return JobBody.model_validate_json(response.content)


def wrong_fields(gateway: Serving, body: bytes) -> dict[str, str]:
    response = gateway.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = Problem.model_validate_json(response.content)
    assert problem.code == InvalidRequest.code
    assert gateway.http.get("/v1/jobs").json()["data"] == []
    return {error.field: error.message for error in problem.errors}


@pytest.mark.usefixtures("hand")
class TestSubmit:
    def test_a_prompt_is_enough(self, gateway: Serving) -> None:
        response = gateway.http.post("/v1/jobs", json={"prompt": "a red cube"})

        job = JobBody.model_validate_json(response.content)
        assert response.status_code == 202
        assert response.headers["Location"] == f"/v1/jobs/{job.id}" == job.urls.get
        assert (job.status, job.position, job.model) == ("queued", 0, CARD.id)
        assert (job.params.width, job.params.height) == (64, 64)
        assert job.params.num_inference_steps == CARD.defaults.num_inference_steps
        assert gateway.http.get(job.urls.get).json()["id"] == job.id

    def test_everything_said_comes_back(self, gateway: Serving) -> None:
        said = {
            "negative_prompt": "blurry",
            "width": 96,
            "height": 32,
            "num_inference_steps": 7,
            "guidance_scale": 3.5,
            "seed": 4294967295,
            "num_images": 2,
            "scheduler": "ddim",
            "output_format": "webp",
            "output_size": {"width": 192, "height": 64},
        }

        job = submit(gateway, **said, model=CARD.id, metadata={"order": "1138"})

        assert {name: job.params.model_dump(mode="json")[name] for name in said} == said
        assert job.metadata == {"order": "1138"}
        assert job.progress.steps == 14

    def test_an_absent_seed_is_drawn_anew_each_time_and_reported(self, gateway: Serving) -> None:
        seeds = {submit(gateway).params.seed for _ in range(4)}

        assert len(seeds) == 4

    def test_an_absent_variation_seed_is_drawn_anew_each_time_and_reported(self, gateway: Serving) -> None:
        drawn = {submit(gateway, seed=7, variation_strength=0.2).params.variation_seed for _ in range(4)}

        assert len(drawn - {None, 7}) == 4

    def test_text_is_cleaned(self, gateway: Serving) -> None:
        job = submit(gateway, prompt="  a\x00 red\u202e   cube \r\n 👩\u200d🚀 ")

        assert job.params.prompt == "a red cube\n👩\u200d🚀"

    def test_a_worker_is_told_by_whose_request_it_was_made(self, gateway: Serving, hand: Hand) -> None:
        headers = {"X-Request-ID": "req-7"}
        said = {"prompt": "a red cube", "reuse": False}
        gateway.http.post("/v1/jobs", json=said, headers=headers).raise_for_status()
        assert hand.take().job.asked == "req-7"

        headers["X-Request-ID"] = "req-8"
        batch = gateway.http.post("/v1/batches", json=[said], headers=headers).raise_for_status().json()
        wait_until(
            lambda: gateway.http.get(batch["urls"]["get"]).json()["counts"]["active"] == 1,
            limit_s=10,
            what="the line is a job",
        )
        assert hand.take().job.asked == "req-8"

    def test_a_worker_is_woken(self, gateway: Serving, hand: Hand) -> None:
        submit(gateway)

        # The sweep may have sent one of its own meanwhile: a second one does no harm.
        wait_until(lambda: hand.redis.llen(queue_of(CARD.id)) >= 1, limit_s=5, what="the wake-up is in its queue")

    def test_wake_ups_do_not_pile_up_while_no_worker_takes_them(
        self, redis_server: RedisServer, s3_server: S3Server, hand: Hand
    ) -> None:
        swept: set[object] = set()

        def has_swept() -> bool:
            swept.add(hand.redis.get(f"{DEFAULT.prefix}swept"))
            return len(swept) > 5

        settings = settings_for(redis_server, s3_server).model_copy(update={"lease_s": 0.2})
        with serving(settings) as hasty:
            submit(hasty)
            wait_until(has_swept, limit_s=30, what="the gateway has swept five times")
            assert hand.redis.llen(queue_of(CARD.id)) <= 2

    def test_a_charset_and_a_browser_that_asks_for_its_user_are_welcome(self, gateway: Serving) -> None:
        response = gateway.http.post(
            "/v1/jobs",
            content=b'{"prompt": "x"}',
            headers={"Content-Type": "application/json; charset=utf-8", "Sec-Fetch-Site": "none"},
        )

        assert response.status_code == 202


HUGE = b"1" + b"0" * 4000

BAD_BODIES = {
    "empty body": (b"", {"body"}),
    "blank body": (b"  ", {"body"}),
    "no JSON": (b"prompt=x", {"body"}),
    "half a body": (b'{"prompt": "x"', {"body"}),
    "no UTF-8": (b'{"prompt": "\xff"}', {"body"}),
    "a lone surrogate": (b'{"prompt": "\\ud800"}', {"body"}),
    "a raw surrogate": (b'{"prompt": "\xed\xa0\x80"}', {"body"}),
    "deep nesting": (b'{"prompt": ' + b"[" * 5000, {"body"}),
    "a list": (b'["x"]', {"body"}),
    "null": (b"null", {"body"}),
    "a number beyond all bounds": (b'{"prompt": "x", "seed": 1' + b"0" * 5000 + b"}", {"body"}),
    "no prompt": (b"{}", {"prompt"}),
    "an empty prompt": (b'{"prompt": ""}', {"prompt"}),
    "a prompt of blanks": (b'{"prompt": " \\n\\t "}', {"prompt"}),
    "a prompt of control characters": (b'{"prompt": "\\u0000\\u0007\\u200b"}', {"prompt"}),
    "a prompt that is too long": (json.dumps({"prompt": "x" * 4001}).encode(), {"prompt"}),
    "a null prompt": (b'{"prompt": null}', {"prompt"}),
    "a prompt that is a number": (b'{"prompt": 5}', {"prompt"}),
    "a string for a number": (b'{"prompt": "x", "num_inference_steps": "5"}', {"num_inference_steps"}),
    "true for a number": (b'{"prompt": "x", "num_images": true}', {"num_images"}),
    "a fraction for an integer": (b'{"prompt": "x", "seed": 1.5}', {"seed"}),
    "NaN": (b'{"prompt": "x", "guidance_scale": NaN}', {"guidance_scale"}),
    "infinity": (b'{"prompt": "x", "guidance_scale": Infinity}', {"guidance_scale"}),
    "a float too large": (b'{"prompt": "x", "guidance_scale": 1e999}', {"guidance_scale"}),
    "huge integers": (
        b'{"prompt": "x", "width": %b, "height": %b, "seed": %b, "num_images": %b, "num_inference_steps": %b}'
        % ((HUGE,) * 5),
        {"width", "height", "seed", "num_images", "num_inference_steps"},
    ),
    "negative numbers": (
        b'{"prompt": "x", "width": -64, "height": -64, "seed": -1, "num_images": -1, "num_inference_steps": -1}',
        {"width", "height", "seed", "num_images", "num_inference_steps"},
    ),
    "negative guidance": (b'{"prompt": "x", "guidance_scale": -1}', {"guidance_scale"}),
    "a variation beyond its seed": (b'{"prompt": "x", "variation_strength": 1.1}', {"variation_strength"}),
    "no seed and no strength": (
        b'{"prompt": "x", "variation_seed": 4294967296, "variation_strength": "subtle"}',
        {"variation_seed", "variation_strength"},
    ),
    "zeros": (
        b'{"prompt": "x", "width": 0, "height": 0, "num_images": 0, "num_inference_steps": 0}',
        {"width", "height", "num_images", "num_inference_steps"},
    ),
    "a size that the model does not draw": (b'{"prompt": "x", "width": 65, "height": 64}', {"size"}),
    "half a size": (b'{"prompt": "x", "width": 64}', {"height"}),
    "too many pictures": (b'{"prompt": "x", "num_images": 9}', {"num_images"}),
    "too many steps": (b'{"prompt": "x", "num_inference_steps": 51}', {"num_inference_steps"}),
    "no such scheduler": (b'{"prompt": "x", "scheduler": "magic"}', {"scheduler"}),
    "a scheduler that this model lacks": (b'{"prompt": "x", "scheduler": "lcm"}', {"scheduler"}),
    "no such format": (b'{"prompt": "x", "output_format": "bmp"}', {"output_format"}),
    "half an output size": (b'{"prompt": "x", "output_size": {"width": 64}}', {"output_size.height"}),
    "an output size too large": (b'{"prompt": "x", "output_size": {"width": 64, "height": 99999}}', {"output_size"}),
    "an unknown field": (b'{"prompt": "x", "stepz": 5}', {"stepz"}),
    "an unknown field of a size": (b'{"prompt": "x", "output_size": {"width": 64, "height": 64, "depth": 1}}',
                                   {"output_size.depth"}),
    "an unknown model": (b'{"prompt": "x", "model": "no/such"}', {"model"}),
    "metadata that is no text": (b'{"prompt": "x", "metadata": {"a": 1}}', {"metadata.a"}),
    "too much metadata": (json.dumps({"prompt": "x", "metadata": dict.fromkeys("abcdefghijklmnopq", "")}).encode(),
                          {"metadata"}),
    "wrong in shape and in value at once": (
        b'{"num_images": 99, "seed": "7", "stepz": 1, "width": 64, "model": "no/such"}',
        {"prompt", "num_images", "seed", "stepz", "height", "model"},
    ),
}  # fmt: skip


@pytest.mark.usefixtures("hand")
class TestBadBodies:
    @pytest.mark.parametrize(("body", "fields"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
    def test_each_wrong_field_is_named_and_nothing_is_accepted(
        self, gateway: Serving, body: bytes, fields: set[str]
    ) -> None:
        wrong = wrong_fields(gateway, body)

        assert set(wrong) == fields
        assert all(len(message) > 5 and message.endswith(".") for message in wrong.values()), wrong

    def test_ten_thousand_wrong_fields_get_a_short_answer(self, gateway: Serving) -> None:
        body = json.dumps({"prompt": "x", **{f"{'f' * 10}{n}": 1 for n in range(10_000)}}).encode()

        wrong = wrong_fields(gateway, body)

        assert len(wrong) == 33
        assert wrong["body"] == "And 9968 more fields."

    def test_no_value_is_echoed(self, gateway: Serving) -> None:
        body = b'{"prompt": 5, "seed": "hunter2"}'

        response = gateway.http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})

        assert b"hunter2" not in response.content

    @pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_what_a_web_page_may_send_unasked_is_no_job(self, gateway: Serving, media_type: str) -> None:
        response = gateway.http.post("/v1/jobs", content=b'{"prompt": "x"}', headers={"Content-Type": media_type})

        assert response.status_code == 415
        assert Problem.model_validate_json(response.content).code == "unsupported_media_type"


class TestBeforeTheFirstWorker:
    def test_there_is_no_model_yet(self, gateway: Serving, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.outlook.FRESH_S", 0.0)
        monkeypatch.setattr("api.outlook.MOST_S", 0.0)
        hand.forget_all()

        response = gateway.http.post("/v1/jobs", json={"prompt": "x"})

        assert response.status_code == 503
        assert response.headers["Retry-After"] == "5"
        assert Problem.model_validate_json(response.content).code == "no_model"
        assert gateway.http.get("/v1/models").json() == {"data": []}


class TestFullQueue:
    def test_one_too_many_is_refused_and_told_when_to_come_back(
        self, redis_server: RedisServer, s3_server: S3Server, hand: Hand
    ) -> None:
        settings = settings_for(redis_server, s3_server).model_copy(update={"max_waiting": 2})
        del hand
        with serving(settings) as full:
            submit(full)
            submit(full)

            response = full.http.post("/v1/jobs", json={"prompt": "x"})

            assert response.status_code == 429
            assert int(response.headers["Retry-After"]) > 0
            assert Problem.model_validate_json(response.content).code == "queue_full"
            assert len(full.http.get("/v1/jobs").json()["data"]) == 2


class TestReading:
    def test_a_job_is_followed_to_its_end(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway, num_images=2, seed=4294967295)

        def now() -> JobBody:
            return JobBody.model_validate_json(gateway.http.get(job.urls.get).content)

        taken = hand.take()
        hand.show(taken, 3, b"\xff\xd8preview")
        running = now()
        assert (running.status, running.position, running.progress.step) == ("running", None, 3)
        assert gateway.http.get(job.urls.preview).content == b"\xff\xd8preview"
        hand.draw(taken, 0, b"one")
        assert now().progress.images_done == 1
        hand.draw(taken, 1, b"two")
        hand.finish(taken)
        ended = now()
        assert (ended.status, ended.error, ended.attempt) == ("succeeded", None, 1)
        assert [image.seed for image in ended.images] == [4294967295, 0]
        assert ended.completed_at is not None
        assert ended.version > running.version > job.version
        assert min(ended.metrics.queue_time, ended.metrics.predict_time or 0, ended.metrics.total_time) >= 0

    def test_variations_tell_the_picture_that_they_vary_and_a_seed_of_their_own(
        self, gateway: Serving, hand: Hand
    ) -> None:
        job = submit(gateway, num_images=3, seed=7, variation_seed=4294967295, variation_strength=0.15)
        assert (job.params.seed, job.params.variation_seed, job.params.variation_strength) == (7, 4294967295, 0.15)

        taken = hand.take()
        for index in range(3):
            hand.draw(taken, index, b"%d" % index)
        hand.finish(taken)

        ended = JobBody.model_validate_json(gateway.http.get(job.urls.get).content)
        assert [(image.seed, image.variation_seed) for image in ended.images] == [(7, 4294967295), (7, 0), (7, 1)]

    def test_a_failed_job_says_why(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)

        hand.fail(hand.take(), "out_of_memory", "Ask for a smaller one.")

        failed = JobBody.model_validate_json(gateway.http.get(job.urls.get).content)
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.code == "out_of_memory"

    @pytest.mark.parametrize("job_id", [new_job_id(), "x", "..%2F..", "a" * 300, "jobs", "%00", "ABC", "{x}:y"])
    @pytest.mark.parametrize("path", ["{}", "{}/images/0", "{}/preview"])
    def test_what_is_not_there_is_not_found(self, gateway: Serving, hand: Hand, path: str, job_id: str) -> None:
        del hand

        response = gateway.http.get("/v1/jobs/" + path.format(job_id))

        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"

    def test_pages_hold_every_job_once_newest_first(self, gateway: Serving, hand: Hand) -> None:
        del hand
        ids = [submit(gateway).id for _ in range(5)]

        seen: list[str] = []
        query: dict[str, Any] = {"limit": 2}
        while True:
            listed = JobPage.model_validate_json(gateway.http.get("/v1/jobs", params=query).content)
            seen += [job.id for job in listed.data]
            if listed.next_cursor is None:
                break
            query["cursor"] = listed.next_cursor

        assert seen == ids[::-1]

    @pytest.mark.parametrize(
        ("query", "field"),
        [("limit=0", "limit"), ("limit=101", "limit"), ("limit=many", "limit"), ("cursor=nonsense", "cursor"),
         ("cursor=%ff", "cursor"), ("cursor=" + "a" * 65, "cursor")],
    )  # fmt: skip
    def test_a_bad_query_is_named(self, gateway: Serving, query: str, field: str) -> None:
        response = gateway.http.get(f"/v1/jobs?{query}")

        assert response.status_code == 422
        assert [error.field for error in Problem.model_validate_json(response.content).errors] == [field]


class TestCancel:
    def test_a_waiting_job_ends_at_once_and_stays_ended(self, gateway: Serving, hand: Hand) -> None:
        del hand
        job = submit(gateway)

        first, second = (gateway.http.post(job.urls.cancel) for _ in range(2))

        assert first.status_code == second.status_code == 200
        assert first.json()["status"] == second.json()["status"] == "canceled"
        assert first.json()["version"] == second.json()["version"]

    def test_a_finished_job_stays_finished(self, gateway: Serving, hand: Hand) -> None:
        job = submit(gateway)
        taken = hand.take()
        hand.draw(taken, 0, b"one")
        hand.finish(taken)

        assert gateway.http.post(job.urls.cancel).json()["status"] == "succeeded"

    def test_an_unknown_job_is_not_found(self, gateway: Serving) -> None:
        assert gateway.http.post(f"/v1/jobs/{new_job_id()}/cancel").status_code == 404


class TestModels:
    def test_a_card_tells_what_can_be_asked_for(self, gateway: Serving, hand: Hand) -> None:
        del hand

        (model,) = gateway.http.get("/v1/models").json()["data"]

        assert model["id"] == CARD.id
        assert model["ready_workers"] == 1
        assert model["is_default"] is True
        assert model["defaults"]["num_inference_steps"] == 4
        assert model["aspect_ratios"] == [{"name": "Square 1:1", "size": {"width": 64, "height": 64}}]
        assert model["schedulers"] == ["euler", "ddim"]


def test_settings_name_a_loopback_host_by_default() -> None:
    assert Settings().api_host == "127.0.0.1"
