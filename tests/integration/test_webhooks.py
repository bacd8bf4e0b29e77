"""From a job's end to its receiver: the gateway's routes, a courier's process, and receivers of every kind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from deploy.health import takes_calls
from shared.settings import Settings
from tests.conftest import settings_for
from tests.integration.serving import Hand, Serving, serving
from tests.integration.test_gateway_process import environment
from tests.servers import RedisServer, S3Server, wait_until
from tests.unit.worker.courier.receivers import Receiver, receiver, receiver_that_never_answers

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer, s3_server: S3Server) -> Iterator[Serving]:
    """One that lets webhooks be sent to this machine."""
    settings = settings_for(redis_server, s3_server)
    with serving(settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})) as served:
        yield served


@contextmanager
def courier(settings: Settings, log: Path) -> Generator[subprocess.Popen[bytes]]:
    env = environment(
        settings,
        DARKROOM_WEBHOOK_NETWORKS=settings.webhook_networks,
        DARKROOM_WEBHOOK_TIMEOUT_S=str(TIMEOUT_S),
    )
    with log.open("ab") as out:
        started = subprocess.Popen([sys.executable, "-m", "worker.courier"], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def make(gateway: Serving, url: str, **more: object) -> dict[str, Any]:
    answer = gateway.http.post("/v1/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def draw(gateway: Serving, hand: Hand) -> str:
    job = gateway.http.post("/v1/jobs", json={"prompt": "a lighthouse", "reuse": False}).json()
    taken = hand.take()
    hand.draw(taken, 0, b"picture")
    hand.finish(taken)
    return str(job["id"])


def deliveries(gateway: Serving, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.http.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]
    return found


def wait_for(there: Receiver, count: int, *, limit_s: float = 20) -> None:
    wait_until(lambda: len(there.came) >= count, limit_s=limit_s, what=f"{count} messages came")


def test_a_receiver_is_told_of_each_end_signed_and_the_log_says_so(
    gateway: Serving, hand: Hand, tmp_path: Path
) -> None:
    with receiver() as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, there.url)
        drawn = draw(gateway, hand)
        wait_for(there, 1)
        canceled = gateway.http.post("/v1/jobs", json={"prompt": "a fox"}).json()["id"]
        gateway.http.post(f"/v1/jobs/{canceled}/cancel")
        wait_for(there, 2)
        wait_until(
            lambda: all(one["status"] == "delivered" for one in deliveries(gateway, webhook)),
            limit_s=10,
            what="both are noted",
        )
    said = [Webhook(webhook["secret"]).verify(body, headers) for headers, body in there.came]
    assert [(one["type"], one["data"]["id"]) for one in said] == [("job.succeeded", drawn), ("job.canceled", canceled)]
    as_read = gateway.http.get(f"/v1/jobs/{drawn}").json()
    assert said[0]["data"] == as_read
    assert said[0]["timestamp"] == as_read["completed_at"]
    assert [one["job"] for one in deliveries(gateway, webhook)] == [canceled, drawn]
    (attempt,) = deliveries(gateway, webhook)[0]["attempts"]
    assert (attempt["status"], attempt["error"]) == (200, "")
    log = (tmp_path / "log").read_text()
    assert "lighthouse" not in log
    assert webhook["secret"] not in log


def test_a_receiver_is_told_once_that_a_batch_has_ended_or_was_canceled(
    gateway: Serving, hand: Hand, tmp_path: Path
) -> None:
    def submit() -> str:
        made = gateway.http.post("/v1/batches", json=[{"prompt": "a fox"}, {"prompt": "a cat"}])
        path = str(made.raise_for_status().json()["urls"]["get"])
        wait_until(lambda: gateway.http.get(path).json()["counts"]["active"] == 2, limit_s=10, what="it is fed")
        return path

    with receiver() as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, there.url, events=["batch.ended"])
        drawn = submit()
        for _ in range(2):
            taken = hand.take()
            hand.draw(taken, 0, b"picture")
            hand.finish(taken)
        wait_for(there, 1)
        canceled = submit()
        for _ in range(2):
            gateway.http.post(f"{canceled}/cancel").raise_for_status()
        wait_for(there, 2)
        gateway.http.post(f"/v1/webhooks/{webhook['id']}/test")
        wait_for(there, 3)  # whatever were to come twice would have come before
    said = [Webhook(webhook["secret"]).verify(body, headers) for headers, body in there.came]
    assert [one["type"] for one in said] == ["batch.ended", "batch.ended", "webhook.test"]
    for one, path, status in ((said[0], drawn, "ended"), (said[1], canceled, "canceled")):
        assert one["data"] == gateway.http.get(path).json()
        assert (one["data"]["status"], one["timestamp"]) == (status, one["data"]["completed_at"])
    assert [one["batch"] for one in deliveries(gateway, webhook)] == [
        None,
        said[1]["data"]["id"],
        said[0]["data"]["id"],
    ]


def test_a_refused_message_comes_again_with_its_id(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    with receiver(500, 200) as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, there.url)
        draw(gateway, hand)
        wait_for(there, 2)
    (first, one), (second, other) = there.came
    assert (first["webhook-id"], one) == (second["webhook-id"], other)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) >= 4
    assert deliveries(gateway, webhook)[0]["attempts"][0]["status"] == 500


def test_a_dead_receiver_delays_nobody(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    with receiver_that_never_answers() as dead, receiver() as there, courier(gateway.settings, tmp_path / "log"):
        slow = make(gateway, dead.url)
        make(gateway, there.url)
        drawn = [draw(gateway, hand) for _ in range(12)]
        wait_for(there, 12)
        waiting = gateway.http.get(f"/v1/webhooks/{slow['id']}").json()
    assert sorted(one.split(".")[1] for one in there.ids) == sorted(drawn)
    assert (waiting["enabled"], waiting["pending"]) == (True, 12)


def test_one_that_answers_410_is_switched_off(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    with receiver(410) as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, there.url)
        draw(gateway, hand)
        wait_until(
            lambda: gateway.http.get(f"/v1/webhooks/{webhook['id']}").json()["off"] == "gone",
            limit_s=10,
            what="it is off",
        )
        draw(gateway, hand)
    answer = gateway.http.post(f"/v1/webhooks/{webhook['id']}/test")
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_off")
    assert len(there.came) == 1


def test_what_a_killed_courier_had_is_sent_by_the_next(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    with receiver_that_never_answers() as dead:
        webhook = make(gateway, dead.url)
        with courier(gateway.settings, tmp_path / "log"):  # killed at the end
            draw(gateway, hand)
            dead.wait_for_connection()
    with receiver() as there:
        gateway.http.patch(f"/v1/webhooks/{webhook['id']}", json={"url": there.url})
        with courier(gateway.settings, tmp_path / "log"):
            wait_for(there, 1, limit_s=30)
    assert len(set(there.ids)) == 1


def test_a_courier_that_is_told_to_stop_ends_what_it_sends_and_goes(
    gateway: Serving, hand: Hand, tmp_path: Path
) -> None:
    with receiver() as there, courier(gateway.settings, tmp_path / "log") as running:
        make(gateway, there.url)
        draw(gateway, hand)
        wait_for(there, 1)
        running.terminate()
        assert running.wait(20) == 0


def test_a_courier_is_healthy_while_it_takes_calls_and_not_when_it_is_stuck(
    gateway: Serving, hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.health.COURIER_LIFE_S", 7.0)  # a beat takes five
    del hand
    assert takes_calls(gateway.settings) is not None
    with courier(gateway.settings, tmp_path / "log") as running:
        wait_until(lambda: takes_calls(gateway.settings) is None, limit_s=20, what="it is healthy")
        running.send_signal(signal.SIGSTOP)
        wait_until(lambda: takes_calls(gateway.settings) is not None, limit_s=20, what="it is not")
        running.send_signal(signal.SIGCONT)
        wait_until(lambda: takes_calls(gateway.settings) is None, limit_s=20, what="it is healthy again")


def test_a_delivery_is_sent_again_on_demand(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    with receiver() as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, there.url)
        assert gateway.http.post(f"/v1/webhooks/{webhook['id']}/test").status_code == 202
        wait_for(there, 1)
        del hand
        delivery = deliveries(gateway, webhook)[0]
        wait_until(lambda: deliveries(gateway, webhook)[0]["status"] == "delivered", limit_s=10, what="it is noted")
        path = f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/replay"
        assert gateway.http.post(path).json()["status"] == "pending"
        wait_for(there, 2)
    assert there.ids == [delivery["id"]] * 2


def test_a_secret_is_told_once_and_can_be_renewed(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    del hand
    with receiver() as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, there.url)
        assert webhook["secret"].startswith("whsec_")
        path = f"/v1/webhooks/{webhook['id']}"
        fresh = gateway.http.post(f"{path}/secret").json()["secret"]
        for answer in (gateway.http.get(path), gateway.http.get("/v1/webhooks"), gateway.http.patch(path, json={})):
            assert "whsec_" not in answer.text
        gateway.http.post(f"{path}/test")
        wait_for(there, 1)
    ((headers, body),) = there.came
    for secret in (webhook["secret"], fresh):
        assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "http://example.com:port/"}, "url"),
        ({}, "url"),
        ({"url": "https://example.com/", "events": []}, "events"),
        ({"url": "https://example.com/", "events": ["job.started"]}, "events.0"),
        ({"url": "https://example.com/", "secret": "whsec_mine"}, "secret"),
    ],
)
def test_a_wrong_webhook_is_told_what_is_wrong_and_not_made(
    gateway: Serving, hand: Hand, body: dict[str, object], field: str
) -> None:
    del hand
    answer = gateway.http.post("/v1/webhooks", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert gateway.http.get("/v1/webhooks").json()["data"] == []


def test_what_was_never_an_id_is_not_found(gateway: Serving, hand: Hand) -> None:
    del hand
    with receiver() as there:
        known = make(gateway, there.url)["id"]
    for path in ("/v1/webhooks/x", "/v1/webhooks/" + "0" * 26):
        answer = gateway.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")
    for delivery in ("x", f"{known}.{'0' * 26}"):
        answer = gateway.http.post(f"/v1/webhooks/{known}/deliveries/{delivery}/replay")
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery_not_found")


def test_a_deleted_webhook_is_told_nothing(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    with receiver() as gone, receiver() as there, courier(gateway.settings, tmp_path / "log"):
        webhook = make(gateway, gone.url)
        make(gateway, there.url)
        assert gateway.http.delete(f"/v1/webhooks/{webhook['id']}").status_code == 204
        draw(gateway, hand)
        wait_for(there, 1)
    assert gone.came == []


def test_routes_take_nothing_from_other_origins(gateway: Serving, hand: Hand) -> None:
    del hand
    answer = gateway.http.post(
        "/v1/webhooks", json={"url": "https://example.com/"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert isinstance(answer, httpx2.Response)
    assert answer.status_code == 403
