"""The Python client has a verb for each operation of ours: held by what its verbs really send."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final

import httpx2
import pytest

from api.app import create_app
from shared.client import Client
from shared.errors import DarkroomError
from shared.keyring import LimitsBody
from shared.settings import Settings
from tests.contract.asking import operations_of

ID: Final = "5r0z9k2m4c7q8x1t6w3v0h2j9n"

LEFT_OUT: Final = {
    ("POST", "/v1/images/generations"): "a dialect's: the `openai` client asks there",
    ("GET", "/v1/scaling"): "for a scaler, which asks by itself: people see who works by `workers`",
    ("GET", "/v1/events"): "has no end: `follow` tells of one job, `jobs` of all, and webhooks of their ends",
}
"""What has no verb, and why."""

WITHOUT_A_REQUEST: Final = {"acting": "sends none", "close": "sends none", "result": "sends what `image` sends"}

CALLS: Final[dict[str, Callable[[Client], object]]] = {
    "submit": lambda client: client.submit("a fox"),
    "retry": lambda client: client.retry(ID),
    "job": lambda client: client.job(ID),
    "jobs": lambda client: client.jobs(),
    "cancel": lambda client: client.cancel(ID),
    "delete": lambda client: client.delete(ID),
    "image": lambda client: client.image(ID, 0),
    "preview": lambda client: client.preview(ID),
    "models": lambda client: client.models(),
    "count_tokens": lambda client: client.count_tokens("a fox"),
    "ready": lambda client: client.ready(),
    "wait": lambda client: client.wait(ID),
    "follow": lambda client: list(client.follow(ID)),
    "generate": lambda client: client.generate("a fox"),
    "submit_batch": lambda client: client.submit_batch(["a fox"]),
    "batch": lambda client: client.batch(ID),
    "batches": lambda client: client.batches(),
    "wait_batch": lambda client: client.wait_batch(ID),
    "batch_results": lambda client: list(client.batch_results(ID)),
    "save_batch": lambda client: client.save_batch(ID, Path(gettempdir()) / "batch.zip"),
    "cancel_batch": lambda client: client.cancel_batch(ID),
    "delete_batch": lambda client: client.delete_batch(ID),
    "create_webhook": lambda client: client.create_webhook("https://example.com"),
    "webhooks": lambda client: client.webhooks(),
    "webhook": lambda client: client.webhook(ID),
    "change_webhook": lambda client: client.change_webhook(ID, enabled=True),
    "delete_webhook": lambda client: client.delete_webhook(ID),
    "renew_webhook_secret": lambda client: client.renew_webhook_secret(ID),
    "test_webhook": lambda client: client.test_webhook(ID),
    "deliveries": lambda client: client.deliveries(ID),
    "replay_delivery": lambda client: client.replay_delivery(ID, f"{ID}.{ID}"),
    "workers": lambda client: client.workers(),
    "queue": lambda client: client.queue(),
    "set_aside": lambda client: client.set_aside(),
    "failed": lambda client: client.failed(),
    "retry_failed": lambda client: client.retry_failed(ID),
    "history": lambda client: client.history(),
    "checks": lambda client: client.checks(),
    "direct_all": lambda client: client.direct_all("pause"),
    "direct_worker": lambda client: client.direct_worker("pause", "worker"),
    "create_key": lambda client: client.create_key("name", "tenant"),
    "keys": lambda client: client.keys(),
    "revoke_key": lambda client: client.revoke_key("k" * 12),
    "tenants": lambda client: client.tenants(),
    "limit_tenant": lambda client: client.limit_tenant("shop", LimitsBody()),
    "me": lambda client: client.me(),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def sent_by(call: Callable[[Client], object]) -> tuple[str, str]:
    """The method and path of a verb's first request, which is refused."""
    sent: list[tuple[str, str]] = []

    def refuse(request: httpx2.Request) -> httpx2.Response:
        sent.append((request.method, request.url.path))
        problem = {"type": "about:blank", "title": "No", "status": 404, "detail": "No.", "code": "not_found"}
        return httpx2.Response(404, json=problem)

    with Client(transport=httpx2.MockTransport(refuse)) as client, suppress(DarkroomError):
        call(client)
    return sent[0]


def test_each_verb_is_called_here() -> None:
    verbs = {name for name in vars(Client) if not name.startswith("_")}
    assert set(CALLS) == verbs - set(WITHOUT_A_REQUEST)


def test_each_operation_of_ours_has_a_verb_or_a_reason(document: dict[str, Any]) -> None:
    ours = {(one.method, one.path) for one in operations_of(document) if one.path.startswith("/v1/")}
    asked = {sent_by(call) for call in CALLS.values()}
    patterns = {one: re.compile(re.sub(r"\{\w+\}", "[^/]+", one[1]).replace(".zip", r"\.zip")) for one in ours}

    def operation(method: str, path: str) -> set[tuple[str, str]]:
        fitting = {one for one in ours if one[0] == method and patterns[one].fullmatch(path)}
        exact = {one for one in fitting if "{" not in one[1].rpartition("/")[2]}
        return exact or fitting

    served = set[tuple[str, str]]().union(*(operation(*one) for one in asked))
    assert served | set(LEFT_OUT) == ours
    assert not served & set(LEFT_OUT)


def test_each_verb_asks_for_what_there_is(document: dict[str, Any]) -> None:
    paths = {(one.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", one.path))) for one in operations_of(document)}
    for name, call in CALLS.items():
        method, path = sent_by(call)
        assert any(method == one and pattern.fullmatch(path) for one, pattern in paths), name
