"""`GET /metrics`: what happened, exactly, and the same from every gateway."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.metrics_core import Metric
from pydantic import SecretStr

from api.metrics import PREFIX
from shared.meters import METERS, Counter
from shared.settings import Settings
from shared.version import VERSION
from tests.conftest import settings_for
from tests.integration.keyholders import OPERATOR_KEY, PAGE_KEY, WATCH_KEY, bearer, code_of, guarded, make_key
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import RedisServer, S3Server, wait_until

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
POOL = CARD.id
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def families(gateway: Serving, **headers: str) -> list[Metric]:
    response = gateway.http.get("/metrics", headers=headers)
    assert response.status_code == 200, response.text
    return list(read_text(response.text))


class Scrape:
    """What one scrape said."""

    def __init__(self, gateway: Serving, **headers: str) -> None:
        self._samples = [sample for family in families(gateway, **headers) for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels; 0 if there are none."""
        return sum(
            one.value
            for one in self._samples
            if one.name == PREFIX + name and labels.items() <= dict(one.labels).items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {one.labels[label] for one in self._samples if one.name == PREFIX + name and label in one.labels}

    def has(self, name: str) -> bool:
        return any(one.name == PREFIX + name for one in self._samples)


def test_each_meter_is_told_and_no_other(settings: Settings) -> None:
    with serving(settings) as gateway:
        told = {family.name for family in families(gateway)}

    assert told == {PREFIX + one.name for one in METERS}


def test_open_metrics_is_told_to_who_wants_it(settings: Settings) -> None:
    with serving(settings) as gateway, Hand(settings) as hand:
        gateway.http.post("/v1/jobs", json={"prompt": "x"}).raise_for_status()
        hand.fail(hand.take(), "model_error", "No.")
        response = gateway.http.get("/metrics", headers={"Accept": OPEN_METRICS})

    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in read_open_metrics(response.text)} == {PREFIX + one.name for one in METERS}


def test_it_adds_up(settings: Settings) -> None:
    with serving(settings) as gateway, Hand(settings) as hand:
        submit(gateway, "waits")
        submit(gateway, "waits", lane="bulk")
        print(gateway.http.get("/metrics").text)


def submit(gateway: Serving, prompt: str, **more: object) -> str:
    response = gateway.http.post("/v1/jobs", json={"prompt": prompt, **more})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])
