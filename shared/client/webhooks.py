"""What can be asked of webhooks: path, body and answer of each verb, as a flow. `Client` says what each does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from shared.client import http
from shared.client.steps import Flow
from shared.errors import DeliveryNotFound, WebhookNotFound
from shared.webhooks import (
    DeliveryBody,
    DeliveryPage,
    WebhookBody,
    WebhookEvent,
    WebhookList,
    WebhookWithSecret,
)

WEBHOOKS: Final = "/v1/webhooks"

_DELIVERY_ID: Final = re.compile(r"[A-Za-z0-9]{1,64}\.[A-Za-z0-9-]{1,64}")


def create(url: str, events: Iterable[WebhookEvent | str] | None, description: str) -> Flow[WebhookWithSecret]:
    """Make a webhook."""
    body = _said(url=url, events=None if events is None else list(events), description=description or None)
    return http.read(WebhookWithSecret, (yield from http.post(WEBHOOKS, body)))


def webhooks() -> Flow[tuple[WebhookBody, ...]]:
    """List the webhooks."""
    return http.read(WebhookList, (yield from http.get(WEBHOOKS))).data


def webhook(webhook_id: str) -> Flow[WebhookBody]:
    """Read a webhook."""
    return http.read(WebhookBody, (yield from http.get(_webhook(webhook_id))))


def change(
    webhook_id: str,
    *,
    url: str | None,
    events: Iterable[WebhookEvent | str] | None,
    description: str | None,
    enabled: bool | None,
) -> Flow[WebhookBody]:
    """Change a webhook."""
    body = _said(url=url, events=None if events is None else list(events), description=description, enabled=enabled)
    return http.read(WebhookBody, (yield from http.patch(_webhook(webhook_id), body)))


def delete(webhook_id: str) -> Flow[None]:
    """Forget a webhook."""
    yield from http.delete(_webhook(webhook_id))


def renew_secret(webhook_id: str) -> Flow[WebhookWithSecret]:
    """Give a webhook another secret."""
    return http.read(WebhookWithSecret, (yield from http.post(f"{_webhook(webhook_id)}/secret", None)))


def test(webhook_id: str) -> Flow[DeliveryBody]:
    """Send a test."""
    return http.read(DeliveryBody, (yield from http.post(f"{_webhook(webhook_id)}/test", None)))


def deliveries(webhook_id: str, cursor: str | None, limit: int | None) -> Flow[DeliveryPage]:
    """Read a page of deliveries."""
    query = http.said(cursor=cursor, limit=limit)
    return http.read(DeliveryPage, (yield from http.get(f"{_webhook(webhook_id)}/deliveries", query)))


def replay(webhook_id: str, delivery_id: str) -> Flow[DeliveryBody]:
    """Send a delivery again."""
    if not _DELIVERY_ID.fullmatch(delivery_id):
        raise DeliveryNotFound(delivery_id)
    answer = yield from http.post(f"{_webhook(webhook_id)}/deliveries/{delivery_id}/replay", None)
    return http.read(DeliveryBody, answer)


def _said(**fields: object) -> dict[str, object]:
    """What a body names."""
    return {name: value for name, value in fields.items() if value is not None}


def _webhook(webhook_id: str) -> str:
    """Where a webhook is. Keeps what is no id from reaching another route."""
    if not webhook_id.isalnum() or not webhook_id.isascii():
        raise WebhookNotFound(webhook_id)
    return f"{WEBHOOKS}/{webhook_id}"
