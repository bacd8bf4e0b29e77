"""Batches through a real gateway: accepted whole or not at all, fed line by line, told and fetched together."""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
import zipfile
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from shared.batches import BatchBody, BatchPage, BatchStatus, Counts, ManifestLine, ResultBody
from shared.connection import connect, run
from shared.contract import FieldProblem, JobBody, JobPage, Problem
from shared.errors import ImageNotFound, LeaseLost
from shared.jobs import LOCAL_TENANT, JobStatus, LeaseToken
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.scripts import add_image, claim, erase_batch, finish, forget_batch
from shared.settings import Settings
from tests.conftest import settings_for
from tests.desk import Desk, image_of
from tests.integration.keyholders import bearer, code_of, guarded, make_key
from tests.integration.serving import Hand, Serving, serving
from tests.integration.test_gateway_process import environment, is_ready, process
from tests.servers import RedisServer, S3Server, free_port, wait_until

JSONL = "application/jsonl"
KEY = "Idempotency-Key"


@pytest.fixture
def small_gateway(own_redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    """A gateway that lets a tenant have 40 jobs waiting; no other one, which might allow more, feeds its batches."""
    with serving(settings_for(own_redis_server, s3_server).model_copy(update={"max_tenant_waiting": 40})) as served:
        yield served


def lines_of(*requests: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def prompts(number: int) -> bytes:
    return lines_of(*({"prompt": f"picture {at}", "seed": at} for at in range(1, number + 1)))


def send(gateway: Serving, body: bytes, **headers: str) -> httpx2.Response:
    return gateway.http.post("/v1/batches", content=body, headers={"Content-Type": JSONL, **headers})


def accepted(gateway: Serving, body: bytes, **headers: str) -> BatchBody:
    response = send(gateway, body, **headers)
    assert response.status_code == 202, response.text
    batch = BatchBody.model_validate_json(response.content)
    assert response.headers["Location"] == batch.urls.get
    return batch


def problem_of(response: httpx2.Response, status: int = 422) -> Problem:
    assert response.status_code == status, response.text
    return Problem.model_validate_json(response.content)


def read(gateway: Serving, batch: BatchBody) -> BatchBody:
    return BatchBody.model_validate_json(gateway.http.get(batch.urls.get).content)


def results(gateway: Serving, batch: BatchBody, *, unended: bool = True) -> list[ResultBody]:
    response = gateway.http.get(batch.urls.results, params={"all": unended})
    assert response.headers["Content-Type"] == JSONL
    return [ResultBody.model_validate_json(line) for line in response.text.splitlines()]


def wait_for(gateway: Serving, batch: BatchBody, *, active: int) -> None:
    wait_until(lambda: read(gateway, batch).counts.active >= active, limit_s=20, what=f"{active} lines are jobs")


def job_ids(gateway: Serving) -> Iterator[str]:
    """All of the tenant's jobs, newest first."""
    cursor: str | None = None
    while True:
        page = gateway.http.get("/v1/jobs", params={"limit": 100, **({"cursor": cursor} if cursor else {})})
        found = JobPage.model_validate_json(page.content)
        yield from (job.id for job in found.data)
        cursor = found.next_cursor
        if cursor is None:
            return


def nothing_was_accepted(gateway: Serving) -> bool:
    return all(gateway.http.get(path).json()["data"] == [] for path in ("/v1/batches", "/v1/jobs"))


@contextmanager
def drawing(settings: Settings) -> Generator[None]:
    """Work all jobs off, as fast as Redis goes: their pictures are recorded, and not stored."""
    done = threading.Event()

    def draw() -> None:
        with Hand(settings) as hand:
            while not done.is_set():
                token = LeaseToken(secrets.token_hex(8))
                taken = run(hand.redis, claim(hand.card.id, hand.worker, token, lease_s=30))
                if taken is None:
                    done.wait(0.01)
                    continue
                run(hand.redis, add_image(taken.lease, image_of(taken.job)))
                run(hand.redis, finish(taken.lease))

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(20)
        assert not thread.is_alive()


def test_what_is_wrong_is_told_by_line_and_nothing_is_accepted(gateway: Serving, hand: Hand) -> None:
    del hand
    body = lines_of({"prompt": "right"}, {"prompt": 5, "seed": -1}, {"prompt": "x", "model": "none"}) + b"{\n\n[]\n{}"
    told = problem_of(send(gateway, body))
    assert told.code == "invalid_request"
    assert [one.field for one in told.errors] == [
        "lines.2.prompt",
        "lines.2.seed",
        "lines.3.model",
        "lines.4",
        "lines.5",
        "lines.6",
        "lines.7.prompt",
    ]
    assert nothing_was_accepted(gateway)


def test_of_many_wrong_lines_the_first_are_told_and_the_others_counted(gateway: Serving, hand: Hand) -> None:
    del hand
    told = problem_of(send(gateway, lines_of(*({"prompt": "x", "seed": "1"} for _ in range(500)))))
    assert [one.field for one in told.errors[:-1]] == [f"lines.{number}.seed" for number in range(1, 32)]
    assert told.errors[-1] == FieldProblem(field="lines", message="And 469 more lines are wrong.")


@pytest.mark.parametrize("media_type", ["application/json", JSONL, "application/x-ndjson; charset=utf-8"])
def test_lines_become_jobs_as_they_were_said_in_their_order(gateway: Serving, hand: Hand, media_type: str) -> None:
    del hand
    said = [
        {"prompt": "a fox, naïve", "seed": 7, "num_images": 2, "metadata": {"order": "1138"}},
        {"prompt": "soon", "lane": "interactive", "num_inference_steps": 3},
        {"prompt": 'a fox ] with "quotes", and {braces}', "reuse": False},
    ]
    is_list = media_type == "application/json"
    body = json.dumps(said, indent=1).encode() if is_list else lines_of(*said).replace(b"\n", b"\r\n") + b"\n"
    response = gateway.http.post("/v1/batches?name=foxes", content=body, headers={"Content-Type": media_type})
    assert response.status_code == 202, response.text
    batch = BatchBody.model_validate_json(response.content)
    assert (batch.name, batch.status, batch.counts.total) == ("foxes", BatchStatus.RUNNING, 3)
    wait_for(gateway, batch, active=3)
    jobs = [one.job for one in results(gateway, batch)]
    assert [job and job.params.prompt for job in jobs] == [one["prompt"] for one in said]
    assert [job and job.lane for job in jobs] == [Lane.BULK, Lane.INTERACTIVE, Lane.BULK]
    first, second, _ = jobs
    assert first is not None
    assert second is not None
    assert (first.params.seed, first.params.num_images, first.metadata) == (7, 2, {"order": "1138"})
    assert second.params.num_inference_steps == 3
    listed = BatchPage.model_validate_json(gateway.http.get("/v1/batches").content)
    assert [one.id for one in listed.data] == [batch.id]


def test_a_batch_of_another_type_or_too_large_is_refused(gateway: Serving, hand: Hand) -> None:
    del hand
    assert problem_of(send(gateway, b"{}", **{"Content-Type": "text/plain"}), 415).code == "unsupported_media_type"
    assert problem_of(send(gateway, b" " * (16 * 1024 * 1024 + 1)), 413).code == "body_too_large"
    assert problem_of(gateway.http.post("/v1/jobs", json={"prompt": "x" * 300_000}), 413).code == "body_too_large"


def test_a_batch_larger_than_a_queue_goes_through_it_and_leaves_room_for_single_jobs(small_gateway: Serving) -> None:
    with Hand(small_gateway.settings):
        batch = accepted(small_gateway, prompts(2000))
        wait_for(small_gateway, batch, active=20)
        assert read(small_gateway, batch).counts.waiting == 1980
        assert small_gateway.http.post("/v1/jobs", json={"prompt": "at once"}).status_code == 202
    with drawing(small_gateway.settings):
        wait_until(
            lambda: read(small_gateway, batch).status is BatchStatus.ENDED, limit_s=120, what="the batch has ended"
        )
    ended = read(small_gateway, batch)
    assert ended.counts == Counts(total=2000, waiting=0, active=0, succeeded=2000, failed=0, canceled=0, expired=0)
    assert ended.completed_at is not None
    told = results(small_gateway, batch)
    assert [one.job and one.job.params.seed for one in told] == list(range(1, 2001))
    assert len({one.job_id for one in told}) == 2000


def test_gateways_that_feed_together_and_die_over_it_make_one_job_of_each_line(
    settings: Settings, tmp_path: Path
) -> None:
    others = [(free_port(), tmp_path / f"api{at}.log") for at in range(2)]
    total = 900
    with serving(settings) as gateway, ExitStack() as stack:
        Hand(settings).arrive()
        dying = [
            stack.enter_context(process(environment(settings, DARKROOM_API_PORT=str(one)), log)) for one, log in others
        ]
        for one, _ in others:
            http = stack.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{one}", trust_env=False))
            wait_until(lambda http=http: is_ready(http), limit_s=30, what="another gateway serves")
        batch = accepted(gateway, prompts(total))
        with drawing(settings):
            for at, one in enumerate(dying, 1):
                wait_until(
                    lambda at=at: read(gateway, batch).counts.waiting < total - 250 * at, limit_s=60, what="it goes on"
                )
                one.kill()
            wait_until(lambda: read(gateway, batch).status is BatchStatus.ENDED, limit_s=90, what="it has ended")
        told = results(gateway, batch)
        assert [one.job and one.job.params.seed for one in told] == list(range(1, total + 1))
        assert list(job_ids(gateway)) == [one.job_id for one in reversed(told)]


def test_a_batch_is_canceled_in_the_middle(gateway: Serving, hand: Hand) -> None:
    batch = accepted(gateway, prompts(500))
    wait_for(gateway, batch, active=200)
    running = hand.take()
    done = hand.take()
    hand.draw(done, 0, b"a picture")
    hand.finish(done)
    wait_for(gateway, batch, active=200)

    for _ in range(2):
        response = gateway.http.post(batch.urls.cancel)
        canceled = BatchBody.model_validate_json(response.content)
        assert canceled.status is BatchStatus.CANCELED
        assert canceled.counts == Counts(total=500, waiting=0, active=0, succeeded=1, failed=0, canceled=499, expired=0)
    told = results(gateway, batch, unended=False)
    assert len(told) == 500
    assert [one.job_id for one in told if one.status is JobStatus.SUCCEEDED] == [done.job.id]
    assert told[0].job_id == running.job.id
    assert told[-1].job_id is None
    assert all(one.status is JobStatus.CANCELED for one in told if one.job_id != done.job.id)
    assert gateway.http.get("/v1/queue").json()["models"][0]["waiting"]["bulk"]["jobs"] == 0


def test_results_come_as_json_lines_and_as_an_archive_with_a_manifest(gateway: Serving, hand: Hand) -> None:
    said = [
        {"prompt": "two", "seed": 3, "num_images": 2, "metadata": {"order": "1138"}},
        {"prompt": "fails"},
        {"prompt": "is deleted"},
        {"prompt": "loses its picture", "output_format": "webp"},
        {"prompt": "waits"},
    ]
    batch = accepted(gateway, lines_of(*said))
    wait_for(gateway, batch, active=5)
    pictures = {"00001-0.png": secrets.token_bytes(300_000), "00001-1.png": secrets.token_bytes(10)}
    two = hand.take()
    for index, data in enumerate(pictures.values()):
        hand.draw(two, index, data)
    hand.finish(two)
    hand.fail(hand.take(), "model_error", "The model said no.")
    for lose in (False, True):
        taken = hand.take()
        image = hand.draw(taken, 0, b"short-lived")
        hand.finish(taken)
        if lose:
            hand.store.delete([image.key])
        else:
            assert gateway.http.delete(f"/v1/jobs/{taken.job.id}").status_code == 204

    ended = results(gateway, batch, unended=False)
    assert [(one.line, one.status) for one in ended] == [
        (1, "succeeded"),
        (2, "failed"),
        (3, "deleted"),
        (4, "succeeded"),
    ]
    assert ended[0].job == JobBody.model_validate_json(gateway.http.get(f"/v1/jobs/{two.job.id}").content)
    assert ended[2].job is None
    assert [one.status for one in results(gateway, batch)][4:] == ["queued"]

    response = gateway.http.get(batch.urls.results_zip)
    assert response.headers["Content-Type"] == "application/zip"
    assert batch.id in response.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as found:
        assert found.testzip() is None
        assert found.namelist() == [*pictures, "manifest.jsonl"]
        assert {name: found.read(name) for name in pictures} == pictures
        manifest = [ManifestLine.model_validate_json(line) for line in found.read("manifest.jsonl").splitlines()]
    assert [(one.line, one.status) for one in manifest] == [(one.line, one.status) for one in ended]
    assert (manifest[0].params.prompt, manifest[0].metadata) == ("two", {"order": "1138"})
    assert [(file.name, file.sha256, file.seed) for file in manifest[0].files] == [
        (name, sha256(data).hexdigest(), 3 + at) for at, (name, data) in enumerate(pictures.items())
    ]
    assert manifest[1].error is not None
    assert manifest[1].error.code == "model_error"
    assert (manifest[2].files, manifest[2].params.prompt) == ((), "is deleted")
    assert [(file.name, file.missing) for file in manifest[3].files] == [("00004-0.webp", True)]


def test_whoever_leaves_an_archive_half_read_takes_no_connection_with_them(gateway: Serving, hand: Hand) -> None:
    batch = accepted(gateway, prompts(1))
    wait_for(gateway, batch, active=1)
    taken = hand.take()
    hand.draw(taken, 0, secrets.token_bytes(30_000_000))
    hand.finish(taken)
    for _ in range(70):  # more than the store's pool of connections
        with gateway.http.stream("GET", batch.urls.results_zip) as response:
            assert next(response.iter_raw())
    with zipfile.ZipFile(io.BytesIO(gateway.http.get(batch.urls.results_zip).content)) as found:
        assert found.testzip() is None


def test_the_same_key_gives_the_same_batch(gateway: Serving, hand: Hand) -> None:
    del hand
    first = send(gateway, prompts(3), **{KEY: "k1"})
    again = send(gateway, prompts(3), **{KEY: "k1"})
    assert first.json()["id"] == again.json()["id"]
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    assert problem_of(send(gateway, prompts(4), **{KEY: "k1"}), 409).code == "idempotency_mismatch"
    job = gateway.http.post("/v1/jobs", json={"prompt": "x"}, headers={KEY: "k1"})
    assert job.status_code == 202, job.text
    assert len(BatchPage.model_validate_json(gateway.http.get("/v1/batches").content).data) == 1


def test_redis_lost_in_the_middle_leaves_no_batch_and_the_same_key_makes_one(
    own_redis_server: RedisServer, s3_server: S3Server
) -> None:
    settings = settings_for(own_redis_server, s3_server)
    with serving(settings) as gateway:
        Hand(settings).arrive()
        answers: list[httpx2.Response] = []
        body = lines_of(*({"prompt": f"picture {at} {'x' * 1400}"} for at in range(10_000)))  # many calls' worth
        sending = threading.Thread(target=lambda: answers.append(send(gateway, body, **{KEY: "k"})))
        sending.start()
        with connect(settings) as client:
            desk = Desk(client)
            wait_until(lambda: any(b"lines:" in one for one in desk.all_keys()), limit_s=60, what="lines are put down")
        own_redis_server.kill()
        sending.join(60)
        assert problem_of(answers[0], 503).code == "queue_unavailable"
        own_redis_server.start()
        wait_until(lambda: gateway.http.get("/v1/batches").status_code == 200, limit_s=20, what="Redis is found again")
        assert nothing_was_accepted(gateway)

        Hand(settings).arrive()
        batch = accepted(gateway, body, **{KEY: "k"})
        assert accepted(gateway, body, **{KEY: "k"}).id == batch.id
        listed = BatchPage.model_validate_json(gateway.http.get("/v1/batches").content)
        assert [(one.id, one.counts.total) for one in listed.data] == [(batch.id, 10_000)]


def held(gateway: Serving, batch: BatchBody, wait_s: float = 60) -> Future[httpx2.Response]:
    """Ask in a thread; the answer is most probably being held when this returns."""
    executor = ThreadPoolExecutor(1)
    asked = executor.submit(lambda: gateway.http.get(batch.urls.get, params={"wait": wait_s}, timeout=20))
    executor.shutdown(wait=False)
    time.sleep(0.3)
    return asked


class TestHeldAnswers:
    """Were no word of it sent, the reader here would give up."""

    @pytest.fixture(autouse=True)
    def without_looks_that_make_good_for_lost_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("api.changes.LOOK_ANYWAY_S", 3600.0)

    def test_comes_when_the_last_line_has_ended_and_not_before(self, gateway: Serving, hand: Hand) -> None:
        batch = accepted(gateway, prompts(2))
        wait_for(gateway, batch, active=2)
        asked = held(gateway, batch)
        hand.fail(hand.take(), "model_error", "No.")
        assert not asked.done()
        last = hand.take()
        hand.draw(last, 0, b"data")
        hand.finish(last)
        ended = BatchBody.model_validate_json(asked.result(30).content)
        assert (ended.status, ended.counts.succeeded, ended.counts.failed) == (BatchStatus.ENDED, 1, 1)
        at_once = gateway.http.get(batch.urls.get, params={"wait": 60}, timeout=20)
        assert BatchBody.model_validate_json(at_once.content) == ended

    def test_comes_when_it_is_canceled(self, gateway: Serving, hand: Hand) -> None:
        del hand
        batch = accepted(gateway, prompts(2))
        asked = held(gateway, batch)
        gateway.http.post(batch.urls.cancel).raise_for_status()
        assert BatchBody.model_validate_json(asked.result(30).content).status is BatchStatus.CANCELED

    def test_of_a_batch_that_is_deleted_meanwhile_is_that_there_is_none(self, gateway: Serving, hand: Hand) -> None:
        del hand
        batch = accepted(gateway, prompts(2))
        asked = held(gateway, batch)
        gateway.http.delete(batch.urls.get).raise_for_status()
        assert problem_of(asked.result(30), 404).code == "batch_not_found"

    def test_says_how_it_stands_when_the_time_is_over(self, gateway: Serving, hand: Hand) -> None:
        del hand
        batch = accepted(gateway, prompts(1))
        assert BatchBody.model_validate_json(held(gateway, batch, 0.1).result(30).content).status is BatchStatus.RUNNING

    def test_is_held_for_a_minute_at_most(self, gateway: Serving, hand: Hand) -> None:
        del hand
        batch = accepted(gateway, prompts(1))
        assert [one.field for one in problem_of(held(gateway, batch, 61).result(30)).errors] == ["wait"]


def test_a_deleted_batch_leaves_neither_jobs_nor_pictures_nor_rows_in_redis(gateway: Serving, hand: Hand) -> None:
    with connect(gateway.settings) as client:
        before = {key for key in Desk(client).all_keys() if b":idle:" not in key}
    batch = accepted(gateway, prompts(300), **{KEY: "deleted"})
    wait_for(gateway, batch, active=200)
    done, running = hand.take(), hand.take()
    image = hand.draw(done, 0, b"a picture")
    hand.finish(done)
    wait_for(gateway, batch, active=200)
    assert gateway.http.delete(batch.urls.get).status_code == 204
    for path in (batch.urls.get, batch.urls.results, f"/v1/jobs/{done.job.id}", f"/v1/jobs/{running.job.id}/events"):
        assert gateway.http.get(path).status_code == 404, path
    assert gateway.http.get(f"/v1/jobs/{done.job.id}/images/0").status_code == 404
    assert problem_of(gateway.http.delete(batch.urls.get), 404).code == "batch_not_found"
    assert nothing_was_accepted(gateway)
    with pytest.raises(LeaseLost):
        hand.draw(running, 0, b"too late")

    def left() -> set[bytes]:
        with connect(gateway.settings) as client:
            return {key for key in Desk(client).all_keys() if b":job:" in key or batch.id.encode() in key}

    def has_picture() -> bool:
        try:
            hand.store.open(image.key).close()
        except ImageNotFound:
            return False
        return True

    wait_until(lambda: not left() and not has_picture(), limit_s=30, what="the upkeep has ended it")
    with connect(gateway.settings) as client:
        made = {key.decode() for key in set(Desk(client).all_keys()) - before}
    kinds = {key.removeprefix(DEFAULT.prefix).split(":")[0] for key in made if key.startswith(DEFAULT.prefix)}
    # Counters and settings of the queue that outlive any job, and what `running` may yet upload.
    counters = {
        "sequence",
        "change",
        "lanes",
        "used",
        "models",
        "swept",
        "tallies",
        "trash",
        "idle",
        "claim",
        "history",
        "meters",
        "metered",
        "parts",
        "libraries",
    }
    assert kinds <= counters
    assert accepted(gateway, prompts(300), **{KEY: "deleted"}).id != batch.id


def test_a_batch_that_gateways_feed_while_it_is_deleted_leaves_no_job(settings: Settings) -> None:
    with serving(settings) as gateway, serving(settings) as other, Hand(settings):
        for _ in range(5):
            batch = accepted(gateway, prompts(400))
            wait_for(other, batch, active=1)
            assert other.http.delete(batch.urls.get).status_code == 204
            assert nothing_was_accepted(gateway)
        with connect(settings) as client:
            desk = Desk(client)
            wait_until(
                lambda: not [key for key in desk.all_keys() if b":job:" in key or b":erasing" in key],
                limit_s=20,
                what="all of it is forgotten",
            )
        assert nothing_was_accepted(gateway)


def test_a_deletion_that_its_gateway_did_not_live_to_end_is_ended_by_another(settings: Settings) -> None:
    with connect(settings) as client, Hand(settings):
        with serving(settings) as gateway:
            batch = accepted(gateway, prompts(150))
            wait_for(gateway, batch, active=150)
            first_job = next(job_ids(gateway))
        run(client, erase_batch(batch.id, LOCAL_TENANT))  # and no more, as if it had died then
        run(client, forget_batch(batch.id, limit=20))
        assert Desk(client).client.zcard(f"{DEFAULT.prefix}erasing") == 1
        with serving(settings) as other:
            assert nothing_was_accepted(other)
            assert other.http.get(f"/v1/jobs/{first_job}").status_code == 404
            wait_until(
                lambda: not [key for key in Desk(client).all_keys() if b":job:" in key or b":erasing" in key],
                limit_s=20,
                what="it is ended",
            )


def test_another_tenants_batch_is_none(settings: Settings) -> None:
    with guarded(settings) as gateway, Hand(settings):
        ann, bob = (bearer(make_key(gateway, name, scopes=["submit", "read"]).key) for name in ("ann", "bob"))
        batch = accepted(gateway, prompts(1), **ann)
        for method, url in (
            ("GET", batch.urls.get),
            ("POST", batch.urls.cancel),
            ("DELETE", batch.urls.get),
            ("GET", batch.urls.results),
            ("GET", batch.urls.results_zip),
        ):
            refused = gateway.http.request(method, url, headers=bob)
            assert (refused.status_code, code_of(refused)) == (404, "batch_not_found")
        assert gateway.http.get("/v1/batches", headers=bob).json()["data"] == []
        own = gateway.http.get(batch.urls.get, headers=ann)
        assert BatchBody.model_validate_json(own.content).status is BatchStatus.RUNNING


def test_a_batch_is_forgotten_some_time_after_its_end(settings: Settings) -> None:
    with serving(settings.model_copy(update={"keep_finished_s": 1})) as gateway, Hand(settings):
        batch = accepted(gateway, prompts(2))
        gateway.http.post(batch.urls.cancel)
        wait_until(lambda: gateway.http.get(batch.urls.get).status_code == 404, limit_s=10, what="it is forgotten")
        assert gateway.http.get("/v1/batches").json() == {"data": [], "next_cursor": None}
        with connect(settings) as client:
            assert not [one for one in Desk(client).all_keys() if batch.id.encode() in one]
