"""Each stable code is really answered: by a gateway whose servers, queue or callers are as bad as it takes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import httpx2
import pytest
from pydantic import SecretStr

from api.errors import HTTP_CODES, STATUSES
from api.faults import OURS, words_of
from shared.access import draw_key, write_key
from shared.contract import JobBody, Problem
from shared.errors import GenerationFailed, JobCanceled, StoreUnavailable, leaves
from shared.jobs import new_job_id
from shared.settings import Settings
from shared.webhooks import new_webhook_id
from tests.conftest import settings_for
from tests.contract.raw import Talk, answers_in, exchange
from tests.contract.stage import AUTHORIZED, KEY
from tests.integration.keyholders import code_of
from tests.integration.serving import CARD as TINY
from tests.integration.serving import Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

CARD: Final = TINY.model_copy(update={"id": "test/of-its-own"})
"""Of a model that only these tests draw, so that nobody else does."""
DOCUMENT: Final = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")

CODES: Final = {error.code: status for error, status in STATUSES.items()} | {
    code: status for status, code in HTTP_CODES.items()
}
JOB_CODES: Final = {
    *(error.code for error in leaves(GenerationFailed) if error is not JobCanceled),
    StoreUnavailable.code,
    "internal_error",
}


class Scene:
    """A gateway, its servers, and a worker that has arrived."""

    def __init__(self, gateway: Serving, hand: Hand, redis: RedisServer, s3: S3Server) -> None:
        self.gateway, self.hand, self.redis, self.s3 = gateway, hand, redis, s3

    def ask(self, method: str, path: str, json: object = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gateway.http.request(method, path, json=json, headers=named)

    def operate(self, method: str, path: str, json: object = None) -> httpx2.Response:
        return self.ask(method, path, json, **AUTHORIZED)

    def submit(self, **headers: str) -> httpx2.Response:
        return self.ask("POST", "/v1/jobs", {"prompt": "a fox", "reuse": False}, **headers)

    def job(self) -> JobBody:
        return JobBody.model_validate_json(self.submit().content)

    def webhook(self) -> str:
        """The address of a new webhook."""
        made = self.ask("POST", "/v1/webhooks", {"url": "https://example.com/darkroom"})
        return f"/v1/webhooks/{made.json()['id']}"

    def key(self, **more: object) -> str:
        """A new key of Ann's, as it is sent."""
        made = self.operate("POST", "/v1/keys", {"name": "of a test", "tenant": "ann", **more})
        return f"Bearer {made.json()['key']}"

    def say(self, sent: bytes) -> httpx2.Response:
        (said,) = exchange(self.gateway.url, [Talk((sent,))])
        answer = answers_in(said)[0]
        request = httpx2.Request("GET", self.gateway.url)
        return httpx2.Response(answer.status, headers=answer.headers, content=answer.body, request=request)


@contextmanager
def held(gateway: Serving, path: str, body: dict[str, str]) -> Generator[Future[httpx2.Response]]:
    """Wait for pictures in a thread; the job waits by the time that the block begins."""
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(httpx2.post, f"{gateway.url}{path}", json=body, trust_env=False, timeout=30)
        wait_until(lambda: bool(jobs_of(gateway)), limit_s=20, what="its job waits")
        yield asked


def jobs_of(gateway: Serving) -> list[str]:
    return [job["id"] for job in gateway.http.get("/v1/jobs").json()["data"]]


def mismatch(scene: Scene) -> httpx2.Response:
    scene.submit(Idempotency_Key="one")
    return scene.ask("POST", "/v1/jobs", {"prompt": "a hen"}, Idempotency_Key="one")


def full(scene: Scene) -> httpx2.Response:
    scene.submit()
    return scene.submit()


def without_redis(scene: Scene) -> httpx2.Response:
    scene.redis.kill()
    return scene.submit()


def without_store(scene: Scene) -> httpx2.Response:
    scene.s3.kill()
    # The gateway has just found it well, and believes that for a while.
    wait_until(lambda: scene.submit().is_error, limit_s=20, what="the gateway misses the store")
    return scene.submit()


def without_model(scene: Scene) -> httpx2.Response:
    scene.hand.forget_all()
    return scene.submit()


def without_delivery(scene: Scene) -> httpx2.Response:
    webhook = scene.webhook()
    return scene.ask("POST", f"{webhook}/deliveries/{webhook.rpartition('/')[2]}.{new_job_id()}/replay")


def switched_off(scene: Scene) -> httpx2.Response:
    webhook = scene.webhook()
    scene.ask("PATCH", webhook, {"enabled": False})
    return scene.ask("POST", f"{webhook}/test")


def too_often(scene: Scene) -> httpx2.Response:
    scene.operate("PUT", "/v1/tenants/ann", {"requests_per_minute": 1})
    key = scene.key()
    answers = (scene.ask("GET", "/v1/jobs", Authorization=key) for _ in range(5))
    return next(answer for answer in answers if not answer.is_success)


def failed(code: str, path: str, scene: Scene) -> httpx2.Response:
    with held(scene.gateway, path, {"prompt": "a fox"}) as asked:
        scene.hand.fail(scene.hand.take(), code, "Because.")
    return asked.result()


def lost(scene: Scene) -> httpx2.Response:
    with held(scene.gateway, "/generate-image", {"text": "a fox"}) as asked:
        scene.hand.take(lease_s=0.1)
    return asked.result()


def canceled(scene: Scene) -> httpx2.Response:
    with held(scene.gateway, "/generate-image", {"text": "a fox"}) as asked:
        (job,) = jobs_of(scene.gateway)
        scene.ask("POST", f"/v1/jobs/{job}/cancel")
    return asked.result()


def stopping(scene: Scene) -> httpx2.Response:
    with ExitStack() as after, serving(scene.gateway.settings) as another:
        asked = after.enter_context(held(another, "/generate-image", {"text": "a fox"}))
    return asked.result()


WAYS: Final[dict[str, Callable[[Scene], httpx2.Response]]] = {
    "invalid_request": lambda scene: scene.ask("POST", "/v1/jobs", {"prompt": ""}),
    "job_not_found": lambda scene: scene.ask("GET", f"/v1/jobs/{new_job_id()}"),
    "batch_not_found": lambda scene: scene.ask("GET", f"/v1/batches/{new_job_id()}"),
    "image_not_found": lambda scene: scene.ask("GET", f"{scene.job().urls.get}/images/0"),
    "worker_not_found": lambda scene: scene.operate("POST", "/v1/workers/nobody/pause"),
    "not_retryable": lambda scene: scene.ask("POST", f"{scene.job().urls.get}/retry"),
    "idempotency_mismatch": mismatch,
    "model_not_found": lambda scene: scene.ask("POST", "/v1/images/generations", {"prompt": "a fox", "model": "none"}),
    "webhook_not_found": lambda scene: scene.ask("GET", f"/v1/webhooks/{new_webhook_id()}"),
    "delivery_not_found": without_delivery,
    "webhook_off": switched_off,
    "key_required": lambda scene: scene.ask("GET", "/v1/workers"),
    "key_refused": lambda scene: scene.ask("GET", "/v1/jobs", Authorization=f"Bearer {write_key(*draw_key())}"),
    "key_not_found": lambda scene: scene.operate("DELETE", f"/v1/keys/{draw_key()[0]}"),
    "scope_missing": lambda scene: scene.ask("GET", "/v1/workers", Authorization=scene.key()),
    "rate_limited": too_often,
    "job_canceled": canceled,
    "model_error": partial(failed, "model_error", "/sdapi/v1/txt2img"),
    "out_of_memory": partial(failed, "out_of_memory", "/v1/images/generations"),
    "worker_lost": lost,
    "gateway_stopping": stopping,
    "queue_full": full,
    "tenant_queue_full": full,
    "queue_unavailable": without_redis,
    "store_unavailable": without_store,
    "no_model": without_model,
    "no_vocabulary": lambda scene: scene.ask("POST", "/v1/tokens", {"prompt": "a fox"}),
    "bad_request": lambda scene: scene.say(b"\x16\x03\x01"),
    "cross_origin": lambda scene: scene.submit(Origin="https://evil.example"),
    "not_found": lambda scene: scene.ask("GET", "/nothing"),
    "method_not_allowed": lambda scene: scene.ask("PUT", "/v1/jobs"),
    "request_timeout": lambda scene: scene.say(b"GET / HTTP/1.1\r\n"),
    "body_too_large": lambda scene: scene.ask("POST", "/v1/jobs", {"prompt": "x" * 300_000}),
    "unsupported_media_type": lambda scene: scene.ask("POST", "/v1/jobs", {}, Content_Type="text/plain"),
    "host_not_allowed": lambda scene: scene.ask("GET", "/", Host="evil.example"),
    "headers_too_large": lambda scene: scene.ask("GET", "/", X="x" * 40_000),
    "internal_error": lambda scene: scene.ask("GET", "/v1/models"),
}
"""How each code comes about."""

SETTINGS: Final[dict[str, dict[str, float]]] = {
    "queue_full": {"max_waiting": 1},
    "tenant_queue_full": {"max_tenant_waiting": 1},
    "worker_lost": {"max_attempts": 1, "lease_s": 0.5},
}


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path / "s3") as server:
        yield server


def settings_of(code: str, redis: RedisServer, s3: S3Server) -> Settings:
    return settings_for(redis, s3).model_copy(update={"operator_key": SecretStr(KEY), **SETTINGS.get(code, {})})


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_answered_with_its_status(
    code: str, own_redis_server: RedisServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.wire.HEAD_WITHIN_S", 0.3)
    if code == "internal_error":
        monkeypatch.setattr("api.routes.models.catalog", None)
    settings = settings_of(code, own_redis_server, s3)
    with serving(settings) as gateway, Hand(settings) as hand:
        answer = WAYS[code](Scene(gateway, hand, own_redis_server, s3))

    words = words_of(answer.request.url.path)
    assert (code_of(answer), answer.status_code) == (code, words.status_of(CODES[code]))
    if words is not OURS:
        return
    problem = Problem.model_validate_json(answer.content)
    assert (problem.status, problem.title) == (CODES[code], CODES[code].phrase)
    assert problem.detail.endswith(".")


def test_each_code_has_a_way() -> None:
    assert set(WAYS) == set(CODES)


@pytest.mark.parametrize("code", sorted(JOB_CODES))
def test_each_code_of_a_job_is_read_with_it(gateway: Serving, code: str) -> None:
    """Written by workers and scripts, whose own tests show that they do; the gateway hands it on as it is."""
    with Hand(gateway.settings, CARD) as hand:
        job = JobBody.model_validate_json(
            gateway.http.post("/v1/jobs", json={"prompt": "a fox", "model": CARD.id}).content
        )
        hand.fail(hand.take(), code, "Because.")
        body = gateway.http.get(job.urls.get).json()

    assert body["status"] == "failed"
    assert body["error"] == {"code": code, "message": "Because."}


def rows(title: str) -> list[list[str]]:
    """The cells of the table that follows a line of the document."""
    table = DOCUMENT.split(title, 1)[1].split("\n\n", 2)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_document_says_what_to_do_about_each_status() -> None:
    listed = {int(cells[0]): cells[1:] for cells in rows("What to do about a status:")}

    assert set(listed) == {int(status) for status in CODES.values()}
    for status, (again, advice) in listed.items():
        assert again == ("yes" if status in {408, 429, 503} else "no"), status
        assert advice, status


def test_the_document_lists_the_codes_of_jobs() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows("In the `error` of a job that failed")}

    assert set(listed) == JOB_CODES
    assert all(listed.values())
