"""Batches and webhooks by the Python client, both kinds, against a real gateway."""

from __future__ import annotations

import itertools
import threading
import zipfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from shared.batches import BatchBody, BatchStatus, ManifestLine
from shared.client import AsyncClient, Client
from shared.contract import JobRequest
from shared.errors import (
    BatchNotFound,
    DeliveryNotFound,
    GatewayUnavailable,
    InvalidRequest,
    WaitTimeout,
    WebhookNotFound,
    WebhookOff,
)
from shared.lanes import Lane
from shared.webhooks import DeliveryStatus, Off, WebhookEvent
from tests.integration.either import either
from tests.integration.serving import Hand, Serving
from tests.servers import wait_until

URL = "https://example.com/darkroom"


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "awaiting"])
def each(request: pytest.FixtureRequest, gateway: Serving, hand: Hand) -> Iterator[Client]:
    del hand
    with either(request.param, gateway.url) as client:
        yield client


@contextmanager
def drawing(hand: Hand, number: int) -> Generator[None]:
    """Draw so many jobs beside the block."""

    def draw() -> None:
        for _ in range(number):
            wait_until(lambda: bool(taken.append(hand.take_any()) or taken[-1]), limit_s=20, what="a job waits")
            claimed = taken[-1]
            assert claimed is not None
            hand.draw(claimed, 0, claimed.job.params.prompt.encode())
            hand.finish(claimed)

    taken = [hand.take_any()]
    assert taken == [None]
    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
        assert not thread.is_alive()


class Torn(httpx2.HTTPTransport):
    """Tears some answers off after their first bytes."""

    def __init__(self, times: int, keep: int) -> None:
        super().__init__()
        self.left = times
        self._keep = keep

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        if not self.left or "/results" not in request.url.path:
            return response
        self.left -= 1
        whole = b"".join(response.iter_raw())
        assert len(whole) > self._keep
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=TornStream(whole[: self._keep]), request=request
        )


class TornStream(httpx2.SyncByteStream):
    def __init__(self, kept: bytes) -> None:
        self._kept = kept

    def __iter__(self) -> Iterator[bytes]:
        yield self._kept
        raise httpx2.ReadError("torn off")


class TestBatches:
    def test_are_submitted_waited_for_and_fetched(self, each: Client, hand: Hand, tmp_path: Path) -> None:
        seen: list[BatchBody] = []
        with drawing(hand, 3):
            batch = each.submit_batch(
                ["a fox", JobRequest(prompt="a\u2028cat", seed=7, metadata={"order": "1"}), "a cube"], name="three"
            )
            ended = each.wait_batch(batch.id, timeout_s=30, on_progress=seen.append, poll_s=0.05)

        assert (batch.name, batch.counts.total) == ("three", 3)
        assert (ended.status, ended.counts.succeeded, seen[-1]) == (BatchStatus.ENDED, 3, ended)
        assert len(seen) > 1
        assert all(one != before for before, one in itertools.pairwise(seen))
        assert each.wait_batch(batch.id) == each.batch(batch.id) == ended
        results = list(each.batch_results(batch.id))
        assert [one.line for one in results] == [1, 2, 3]
        jobs = [one.job for one in results if one.job]
        assert [job.params.prompt for job in jobs] == ["a fox", "a\u2028cat", "a cube"]
        assert (jobs[1].params.seed, jobs[1].metadata, {job.lane for job in jobs}) == (7, {"order": "1"}, {Lane.BULK})
        saved = each.save_batch(batch.id, tmp_path / "three.zip")
        with zipfile.ZipFile(saved) as found:
            assert found.testzip() is None
            assert found.read("00001-0.png") == b"a fox"
            manifest = [
                ManifestLine.model_validate_json(line) for line in found.read("manifest.jsonl").split(b"\n")[:-1]
            ]
        assert [line.line for line in manifest] == [1, 2, 3]
        assert list(tmp_path.iterdir()) == [saved]

    def test_come_from_a_file_of_json_lines(self, each: Client, tmp_path: Path) -> None:
        file = tmp_path / "prompts.jsonl"
        file.write_text('{"prompt": "a fox"}\n{"prompt": "a cat", "seed": 3}\n')
        batch = each.submit_batch(file, idempotency_key="mine")
        assert batch.counts.total == 2
        assert each.submit_batch(file, idempotency_key="mine").id == batch.id
        waiting = [(one.line, one.job_id is None) for one in each.batch_results(batch.id, unended=True)]
        assert [line for line, _ in waiting] == [1, 2]
        assert list(each.batch_results(batch.id)) == []
        with pytest.raises(FileNotFoundError):
            each.submit_batch(tmp_path / "none.jsonl")

    def test_are_refused_with_what_is_wrong_by_line(self, each: Client) -> None:
        with pytest.raises(InvalidRequest) as refused:
            each.submit_batch(["right", JobRequest(prompt="wrong", num_inference_steps=10_000)])
        assert [one.field for one in refused.value.errors] == ["lines.2.num_inference_steps"]
        with pytest.raises(InvalidRequest, match="one string"):
            each.submit_batch("a fox")
        assert each.batches().data == ()

    def test_are_canceled_listed_and_deleted(self, each: Client) -> None:
        first, second = each.submit_batch(["a fox", "a cat"]), each.submit_batch(["a cube"])
        page = each.batches(limit=1)
        assert [one.id for one in page.data] == [second.id]
        assert [one.id for one in each.batches(cursor=page.next_cursor).data] == [first.id]
        with pytest.raises(WaitTimeout, match=f"Batch {first.id}"):
            each.wait_batch(first.id, timeout_s=0.1)
        canceled = each.cancel_batch(first.id)
        assert (canceled.status, canceled.counts.canceled) == (BatchStatus.CANCELED, 2)
        for one in (first, second):
            each.delete_batch(one.id)
            with pytest.raises(BatchNotFound):
                each.batch(one.id)
        assert each.jobs().data == ()

    def test_that_there_are_not_raise_and_leave_no_file(self, each: Client, tmp_path: Path) -> None:
        for batch_id in ("0" * 26, "../jobs"):
            with pytest.raises(BatchNotFound):
                each.save_batch(batch_id, tmp_path / "none.zip")
            with pytest.raises(BatchNotFound):
                list(each.batch_results(batch_id))
        assert list(tmp_path.iterdir()) == []


def test_results_go_on_with_the_next_line_when_an_answer_breaks_off(gateway: Serving, hand: Hand) -> None:
    del hand
    torn = Torn(times=2, keep=1500)
    with Client(gateway.url, transport=torn) as client:
        batch = client.submit_batch([f"picture {number}" for number in range(20)])
        wait_until(lambda: client.batch(batch.id).counts.active == 20, limit_s=20, what="all are jobs")
        client.cancel_batch(batch.id)
        assert [one.line for one in client.batch_results(batch.id)] == list(range(1, 21))
    assert torn.left == 0


def test_an_archive_that_breaks_off_is_no_file(gateway: Serving, hand: Hand, tmp_path: Path) -> None:
    file = tmp_path / "all.zip"
    file.write_bytes(b"as it was")
    with Client(gateway.url, transport=Torn(times=1, keep=50)) as client, drawing(hand, 1):
        batch = client.submit_batch(["a fox"])
        client.wait_batch(batch.id, timeout_s=20)
        with pytest.raises(GatewayUnavailable):
            client.save_batch(batch.id, file)
        assert (file.read_bytes(), list(tmp_path.iterdir())) == (b"as it was", [file])
        client.save_batch(batch.id, file)
    with zipfile.ZipFile(file) as found:
        assert found.testzip() is None


class TestWebhooks:
    def test_are_made_read_changed_and_deleted(self, each: Client) -> None:
        made = each.create_webhook(URL, events=[WebhookEvent.BATCH_ENDED], description="mine")
        assert (made.events, made.description) == ((WebhookEvent.BATCH_ENDED,), "mine")
        assert made.secret.startswith("whsec_")
        assert [one.id for one in each.webhooks()] == [made.id]
        changed = each.change_webhook(made.id, events=["job.failed"], description="", enabled=False)
        assert (changed.events, changed.description, changed.off) == ((WebhookEvent.FAILED,), "", Off.SWITCHED_OFF)
        assert each.webhook(made.id) == changed
        fresh = each.renew_webhook_secret(made.id)
        assert fresh.secret not in {made.secret, ""}
        each.delete_webhook(made.id)
        for webhook_id in (made.id, "../jobs"):
            with pytest.raises(WebhookNotFound):
                each.webhook(webhook_id)
        with pytest.raises(InvalidRequest):
            each.create_webhook("https://10.0.0.1/")

    def test_are_tested_and_their_deliveries_replayed(self, each: Client) -> None:
        made = each.create_webhook(URL)
        named = [each.test_webhook(made.id).id for _ in range(2)]
        page = each.deliveries(made.id, limit=1)
        rest = each.deliveries(made.id, cursor=page.next_cursor)
        assert {one.id for one in page.data + rest.data} == set(named)
        assert each.replay_delivery(made.id, named[0]).status is DeliveryStatus.PENDING
        for delivery_id in (f"{made.id}.{'0' * 26}", "../../secret"):
            with pytest.raises(DeliveryNotFound):
                each.replay_delivery(made.id, delivery_id)
        each.change_webhook(made.id, enabled=False)
        with pytest.raises(WebhookOff):
            each.test_webhook(made.id)
