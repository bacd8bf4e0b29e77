"""`/v1/webhooks`: where you are told of ends, what you were told, and sending it again."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request

from api.deps import Gateway, TheGateway, TheSubmitter, TheTenant
from api.intake import checked, read_json
from api.openapi import json_body, problems
from shared.errors import DeliveryNotFound, FieldError, InvalidRequest, QueueUnavailable, WebhookNotFound, WebhookOff
from shared.jobs import ID_PATTERN
from shared.receiver import trouble_with
from shared.scripts import add_webhook, change_webhook, deliveries, ping, remove_webhook, replay, webhooks
from shared.webhooks import (
    DeliveryBody,
    DeliveryId,
    DeliveryPage,
    NewWebhook,
    WebhookBody,
    WebhookChange,
    WebhookId,
    WebhookList,
    WebhookRequest,
    WebhookWithSecret,
    new_secret,
    new_test_id,
    new_webhook_id,
)

router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])

CHANGING: Final = (HTTPStatus.FORBIDDEN,)
READING_JSON: Final = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, *CHANGING)
MOST_SKIPPED: Final = 100_000

WEBHOOK_EXAMPLES: Final = {
    "batches": {
        "summary": "The end of each batch, not of its jobs",
        "value": {"url": "https://example.com/darkroom", "events": ["batch.ended"]},
    },
    "all": {"summary": "Each end of a job", "value": {"url": "https://example.com/darkroom"}},
    "some": {
        "summary": "Failures alone",
        "value": {"url": "https://example.com/alarm", "events": ["job.failed"], "description": "wakes Ann"},
    },
}
CHANGE_EXAMPLES: Final = {
    "on": {"summary": "Switch it on again", "value": {"enabled": True}},
    "move": {"summary": "Send elsewhere", "value": {"url": "https://example.com/new"}},
}

_DELIVERY_ID = re.compile(rf"{ID_PATTERN}\.(?:{ID_PATTERN}|test-[0-9a-f]{{16}})")


async def webhook_id(
    webhook_id: Annotated[str, Path(description="A webhook's id.", examples=["3v0h2j9n5r0z9k2m4c7q8x1t6w"])],
) -> WebhookId:
    """The path's webhook id. Raises WebhookNotFound for what was never one: no key is made of it."""
    if not re.fullmatch(ID_PATTERN, webhook_id):
        raise WebhookNotFound(webhook_id[:26])
    return WebhookId(webhook_id)


async def delivery_id(
    delivery_id: Annotated[
        str,
        Path(
            description="A delivery's id, which is its message's `webhook-id`.",
            examples=["3v0h2j9n5r0z9k2m4c7q8x1t6w.5r0z9k2m4c7q8x1t6w3v0h2j9n"],
        ),
    ],
) -> DeliveryId:
    """The path's delivery id. Raises DeliveryNotFound for what was never one."""
    if not _DELIVERY_ID.fullmatch(delivery_id):
        raise DeliveryNotFound(delivery_id[:53])
    return DeliveryId(delivery_id)


TheWebhookId = Annotated[WebhookId, Depends(webhook_id)]
TheDeliveryId = Annotated[DeliveryId, Depends(delivery_id)]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Be told of ends",
    responses=problems(InvalidRequest, QueueUnavailable, statuses=READING_JSON),
    openapi_extra=json_body(WebhookRequest, WEBHOOK_EXAMPLES),
)
async def make_webhook(request: Request, gateway: TheGateway, tenant: TheSubmitter) -> WebhookWithSecret:
    """Name an address that is sent a message, signed by the Standard Webhooks, each time one of your jobs ends.

    `events` says which ends, and `batch.ended` there that of batches: once, when the last line has, or at a cancel.

    This is the only answer that tells the secret: keep it, your receiver checks the signatures by it.
    """
    asked = checked(WebhookRequest, await read_json(request))
    _require_permitted(gateway, asked.url)
    new = NewWebhook(id=new_webhook_id(), tenant=tenant, asked=asked, secret=new_secret())
    made = await gateway.run(add_webhook(new))
    return WebhookWithSecret(**dict(made), secret=new.secret.get_secret_value())


@router.get("", summary="List webhooks", responses=problems(QueueUnavailable))
async def list_webhooks(gateway: TheGateway, tenant: TheTenant) -> WebhookList:
    """List your webhooks, the oldest first: whether each is on, since when it fails, how much waits for it."""
    return WebhookList(data=await gateway.run(webhooks(tenant)))


@router.get("/{webhook_id}", summary="Read a webhook", responses=problems(WebhookNotFound, QueueUnavailable))
async def read_webhook(tenant: TheTenant, webhook_id: TheWebhookId, gateway: TheGateway) -> WebhookBody:
    """Read one of your webhooks."""
    for webhook in await gateway.run(webhooks(tenant)):
        if webhook.id == webhook_id:
            return webhook
    raise WebhookNotFound(webhook_id)


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook",
    responses=problems(InvalidRequest, WebhookNotFound, QueueUnavailable, statuses=READING_JSON),
    openapi_extra=json_body(WebhookChange, CHANGE_EXAMPLES),
)
async def alter_webhook(
    tenant: TheSubmitter, webhook_id: TheWebhookId, request: Request, gateway: TheGateway
) -> WebhookBody:
    """Change what is named; the rest stays. `"enabled": true` switches one on again, and what waited is sent."""
    change = checked(WebhookChange, await read_json(request))
    if change.url is not None:
        _require_permitted(gateway, change.url)
    return await gateway.run(change_webhook(webhook_id, tenant, change))


@router.delete(
    "/{webhook_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete a webhook",
    responses=problems(WebhookNotFound, QueueUnavailable, statuses=CHANGING),
)
async def delete_webhook(tenant: TheSubmitter, webhook_id: TheWebhookId, gateway: TheGateway) -> None:
    """Forget a webhook, with what waits for it and what it was told."""
    await gateway.run(remove_webhook(webhook_id, tenant))


@router.post(
    "/{webhook_id}/secret",
    summary="Give a webhook a new secret",
    responses=problems(WebhookNotFound, QueueUnavailable, statuses=CHANGING),
)
async def renew_secret(tenant: TheSubmitter, webhook_id: TheWebhookId, gateway: TheGateway) -> WebhookWithSecret:
    """Draw a new secret and tell it, here alone. For a day messages bear the signatures of both."""
    secret = new_secret()
    changed = await gateway.run(change_webhook(webhook_id, tenant, WebhookChange(), secret=secret))
    return WebhookWithSecret(**dict(changed), secret=secret.get_secret_value())


@router.post(
    "/{webhook_id}/test",
    status_code=HTTPStatus.ACCEPTED,
    summary="Send a test",
    responses=problems(WebhookNotFound, WebhookOff, QueueUnavailable, statuses=CHANGING),
)
async def send_test(tenant: TheSubmitter, webhook_id: TheWebhookId, gateway: TheGateway) -> DeliveryBody:
    """Send a `webhook.test` message; the deliveries tell what came of it."""
    return await gateway.run(ping(webhook_id, tenant, new_test_id(webhook_id)))


@router.get(
    "/{webhook_id}/deliveries",
    summary="List deliveries",
    responses=problems(InvalidRequest, WebhookNotFound, QueueUnavailable),
)
async def list_deliveries(
    tenant: TheTenant,
    webhook_id: TheWebhookId,
    gateway: TheGateway,
    cursor: Annotated[
        int, Query(ge=0, le=MOST_SKIPPED, description="`next_cursor` of the page before: how many to leave out.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=100, description="Deliveries a page, at most.")] = 20,
) -> DeliveryPage:
    """List what a webhook was told and is to be told, latest first, with each try and what the receiver answered."""
    found = await gateway.run(deliveries(webhook_id, tenant, limit=limit, skip=cursor))
    return DeliveryPage(data=found.deliveries, next_cursor=str(cursor + limit) if found.has_more else None)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=HTTPStatus.ACCEPTED,
    summary="Send a delivery again",
    responses=problems(WebhookNotFound, DeliveryNotFound, WebhookOff, QueueUnavailable, statuses=CHANGING),
)
async def replay_delivery(
    tenant: TheSubmitter, webhook_id: TheWebhookId, delivery_id: TheDeliveryId, gateway: TheGateway
) -> DeliveryBody:
    """Send a delivery once more, now, whatever came of it: the same id, the same words, all tries before it again."""
    return await gateway.run(replay(webhook_id, tenant, delivery_id))


def _require_permitted(gateway: Gateway, url: str) -> None:
    if trouble := trouble_with(url, gateway.settings.webhook_reach):
        raise InvalidRequest((FieldError("url", trouble),))
