"""Webhooks: where a tenant wants to be told of ends, what was sent there, and the JSON bodies of both.

Messages and signatures are those of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com). A delivery is one event
for one webhook; it is tried until it is taken, so a receiver may see it twice and knows it by its id.
"""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, NewType

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from shared.batches import Batch, BatchBody, BatchId
from shared.contract import Body, JobBody
from shared.jobs import Job, JobId, Tenant, new_job_id
from shared.words import Word

WebhookId = NewType("WebhookId", str)
"""Random, as a job's id is."""

DeliveryId = NewType("DeliveryId", str)
"""`<webhook>.<job or batch>` for an end, which comes once; the message's `webhook-id`, the same with each try."""

MOST_WEBHOOKS: Final = 10
"""Of one tenant."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 what it begins with
SECRET_BYTES: Final = 32

MAX_URL_CHARS: Final = 2000


class WebhookEvent(Word):
    """What a webhook can be told."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"
    BATCH_ENDED = "batch.ended"
    """Each of a batch's lines has ended, or the batch was canceled."""
    TEST = "webhook.test"
    """Somebody asked for it with `POST /v1/webhooks/{id}/test`."""


JobEvent = Literal[WebhookEvent.SUCCEEDED, WebhookEvent.FAILED, WebhookEvent.CANCELED, WebhookEvent.EXPIRED]

EndEvent = Literal[JobEvent, WebhookEvent.BATCH_ENDED]
"""What may be asked for."""

ALL_ENDS: Final[tuple[JobEvent, ...]] = (
    WebhookEvent.SUCCEEDED,
    WebhookEvent.FAILED,
    WebhookEvent.CANCELED,
    WebhookEvent.EXPIRED,
)
"""Of jobs: what a webhook is told that names no events. A batch's end is about something else, so it is named."""


class Off(Word):
    """Why a webhook is switched off."""

    SWITCHED_OFF = "switched_off"
    """Its owner did."""
    GONE = "gone"
    """Its receiver answered 410."""
    DEAD = "dead"
    """Its receiver has taken nothing for days."""


class DeliveryStatus(Word):
    """What came of a delivery."""

    PENDING = "pending"
    """It is sent as soon as it is due, and the webhook is on."""
    DELIVERED = "delivered"
    """The receiver took it: answered with a 2xx."""
    FAILED = "failed"
    """The receiver took none of its tries."""
    DROPPED = "dropped"
    """Its job or batch was deleted before it could be sent."""


class Outcome(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    AGAIN = "again"
    FAILED = "failed"
    """There is no further try."""
    DROPPED = "dropped"


class Attempt(BaseModel):
    """One try to send a delivery, as the record keeps it."""

    model_config = ConfigDict(frozen=True)

    tries: int
    """Which try it was, from 1."""
    outcome: Outcome
    at_ms: int
    took_ms: int
    status: int | None = None
    """The receiver's HTTP status; None if it gave no answer."""
    error: str = ""
    """Why it was not taken; empty if it was."""
    again_in_ms: int | None = None
    """When the next one is due, with `again`."""


Events = Annotated[tuple[EndEvent, ...], Field(min_length=1, max_length=len(ALL_ENDS) + 1)]
Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_URL_CHARS)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class WebhookRequest(BaseModel):
    """`POST /v1/webhooks`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Url
    """Where to send: `https`, and an address that the whole world can reach."""
    events: Events = ALL_ENDS
    description: Description = ""
    """Yours."""


class WebhookChange(BaseModel):
    """`PATCH /v1/webhooks/{id}`: what is absent stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = None
    """True: also one that was switched off for its receiver's sake; what waits is sent then."""


class WebhookBody(Body):
    """A webhook, without its secret."""

    id: WebhookId
    url: str
    events: tuple[WebhookEvent, ...]
    description: str
    created_at: datetime
    enabled: bool
    off: Off | None = None
    """Why it is off: nothing is told meanwhile; null if it is on."""
    failing_since: datetime | None = None
    """The first try since then that its receiver took was none."""
    pending: int = 0
    """Deliveries that wait, for their time or for their next try."""
    left_out: int = 0
    """Events that it was not told of, since too much waited."""


class WebhookWithSecret(WebhookBody):
    """A webhook as it was made, or given a new secret: the only answer that tells the secret."""

    secret: str


class WebhookList(Body):
    """`GET /v1/webhooks`."""

    data: tuple[WebhookBody, ...]


class AttemptBody(Body):
    """One try."""

    at: datetime
    took_ms: int
    status: int | None
    """The receiver's HTTP status; null if it gave no answer."""
    error: str
    """Why the delivery was not taken; empty if it was."""


class DeliveryBody(Body):
    """What a webhook was told, or is to be told."""

    id: DeliveryId
    event: WebhookEvent
    job: JobId | None
    """Null for a batch and for a test."""
    batch: BatchId | None = None
    """Null for a job and for a test."""
    status: DeliveryStatus
    created_at: datetime
    next_try_at: datetime | None
    """Null once it has ended, and while the webhook is off."""
    attempts: tuple[AttemptBody, ...]
    """The last twenty."""


class DeliveryPage(Body):
    """`GET /v1/webhooks/{id}/deliveries`: latest first."""

    data: tuple[DeliveryBody, ...]
    next_cursor: str | None
    """Hand it back as `cursor` for the next page; null on the last one."""


class Message(Body):
    """What a receiver is sent."""

    type: WebhookEvent
    timestamp: datetime
    """When it happened."""
    data: JobBody | BatchBody | None
    """The job, or the batch, as it ended; null for a test."""


class NewWebhook(BaseModel):
    """What `add_webhook` writes."""

    model_config = ConfigDict(frozen=True)

    id: WebhookId
    tenant: Tenant
    asked: WebhookRequest
    secret: SecretStr


class Delivery(BaseModel):
    """A delivery that is to be sent now."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    id: DeliveryId
    event: WebhookEvent
    created_at_ms: int
    tries: int
    """With this one."""
    job: Job | None
    """None for a batch and a test, and if it was forgotten meanwhile."""
    batch: Batch | None
    """None for a job and a test, and if it was forgotten meanwhile."""


class Round(BaseModel):
    """Some deliveries to one webhook, to be sent and settled together."""

    model_config = ConfigDict(frozen=True)

    webhook: WebhookId
    url: str
    secrets: tuple[SecretStr, ...]
    """All of them sign: the new one, and the old one for a day after a change."""
    deliveries: tuple[Delivery, ...]
    fails: bool
    """True if the webhook's last round was refused."""


def new_webhook_id() -> WebhookId:
    """Draw an id that nobody can guess."""
    return WebhookId(new_job_id())


def new_test_id(webhook: WebhookId) -> DeliveryId:
    """Name a test."""
    return DeliveryId(f"{webhook}.test-{secrets.token_hex(8)}")


def new_secret() -> SecretStr:
    """Draw a secret, in the form that receivers' libraries take."""
    return SecretStr(SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())
