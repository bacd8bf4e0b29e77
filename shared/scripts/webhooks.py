"""What is done with webhooks: the tenant's verbs, and those of whoever sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pydantic import SecretStr

from shared.batches import BatchId
from shared.call import Call, Reply, call_of, items, number, text
from shared.errors import DeliveryNotFound, FieldError, InvalidRequest, WebhookNotFound, WebhookOff
from shared.jobs import JobId, Tenant
from shared.keys import DEFAULT, Keys
from shared.record import batch_of, job_of
from shared.webhooks import (
    MOST_WEBHOOKS,
    Attempt,
    AttemptBody,
    Delivery,
    DeliveryBody,
    DeliveryId,
    DeliveryStatus,
    NewWebhook,
    Off,
    Round,
    WebhookBody,
    WebhookChange,
    WebhookEvent,
    WebhookId,
)

OLD_SECRET_LIFE_S: Final = 24 * 3600
"""How long both secrets sign after a change, so that no receiver misses a message meanwhile."""


@dataclass(frozen=True, slots=True)
class DeliveriesPage:
    """Some of a webhook's deliveries, latest first."""

    deliveries: tuple[DeliveryBody, ...]
    has_more: bool


def add_webhook(new: NewWebhook, *, keys: Keys = DEFAULT) -> Call[WebhookBody]:
    """Tell a tenant of ends at an address. Raises InvalidRequest if it has as many webhooks as it may."""

    def parse(code: str, rest: list[Reply]) -> WebhookBody:
        if code == "FULL":
            raise InvalidRequest((FieldError("url", f"You have {MOST_WEBHOOKS} webhooks already: delete one first."),))
        return _webhook(rest[0])

    asked = new.asked
    args = (MOST_WEBHOOKS, asked.url, " ".join(asked.events), asked.description, new.secret.get_secret_value())
    return call_of("add_webhook", keys, (new.id, new.tenant, *args), parse)


def change_webhook(
    webhook: WebhookId,
    tenant: Tenant,
    change: WebhookChange,
    *,
    secret: SecretStr | None = None,
    keys: Keys = DEFAULT,
) -> Call[WebhookBody]:
    """Change a webhook, and its secret if a new one is given. Raises WebhookNotFound."""
    said = {
        "url": change.url,
        "events": None if change.events is None else " ".join(change.events),
        "description": change.description,
    }
    switch = {None: "", True: "on", False: Off.SWITCHED_OFF}[change.enabled]
    words = tuple(word for name, value in said.items() if value is not None for word in (name, value))
    args = (switch, "" if secret is None else secret.get_secret_value(), OLD_SECRET_LIFE_S * 1000, *words)

    def parse(code: str, rest: list[Reply]) -> WebhookBody:
        _require_ok(code, webhook)
        return _webhook(rest[0])

    return call_of("change_webhook", keys, (webhook, tenant, *args), parse)


def remove_webhook(webhook: WebhookId, tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[None]:
    """Forget a webhook and its deliveries. Raises WebhookNotFound."""
    return call_of("remove_webhook", keys, (webhook, tenant), lambda code, _rest: _require_ok(code, webhook))


def webhooks(tenant: Tenant, *, keys: Keys = DEFAULT) -> Call[tuple[WebhookBody, ...]]:
    """List a tenant's webhooks, the oldest first."""

    def parse(_code: str, rest: list[Reply]) -> tuple[WebhookBody, ...]:
        return tuple(sorted(map(_webhook, items(rest[0])), key=lambda one: (one.created_at, one.id)))

    return call_of("webhooks", keys, (tenant,), parse)


def deliveries(
    webhook: WebhookId, tenant: Tenant, *, limit: int, skip: int = 0, keys: Keys = DEFAULT
) -> Call[DeliveriesPage]:
    """List what a webhook was told and is to be told, latest first. Raises WebhookNotFound."""

    def parse(code: str, rest: list[Reply]) -> DeliveriesPage:
        _require_ok(code, webhook)
        found, more = rest
        return DeliveriesPage(tuple(map(_delivery, items(found))), has_more=number(more) == 1)

    return call_of("deliveries", keys, (webhook, tenant, limit, skip), parse)


def ping(webhook: WebhookId, tenant: Tenant, delivery: DeliveryId, *, keys: Keys = DEFAULT) -> Call[DeliveryBody]:
    """Let a test wait to be sent. Raises WebhookNotFound, WebhookOff."""
    return _waiting("ping", webhook, tenant, delivery, keys)


def replay(webhook: WebhookId, tenant: Tenant, delivery: DeliveryId, *, keys: Keys = DEFAULT) -> Call[DeliveryBody]:
    """Send a delivery again, now. Raises WebhookNotFound, DeliveryNotFound, WebhookOff."""
    return _waiting("replay", webhook, tenant, delivery, keys)


def due(*, keys: Keys = DEFAULT) -> Call[int]:
    """Tell how many webhooks have something to be sent now."""
    return call_of("due", keys, (), lambda _code, rest: number(rest[0]))


def attend(courier: str, *, keys: Keys = DEFAULT) -> Call[None]:
    """Say that a courier takes calls."""
    return call_of("attend", keys, (courier,), lambda _code, _rest: None)


def couriers(*, life_s: float, keys: Keys = DEFAULT) -> Call[tuple[str, ...]]:
    """List those that have said within `life_s` that they take calls."""
    return call_of("couriers", keys, (int(life_s * 1000),), lambda _code, rest: tuple(map(text, items(rest[0]))))


def collect(*, most: int, hold_s: float, only_well: bool = False, keys: Keys = DEFAULT) -> Call[Round | None]:
    """Take a round of at most `most` deliveries to one webhook, to be settled within `hold_s`; None if nothing is due.

    What is not settled in time is sent again. `only_well`: leave webhooks for later whose last round was refused.
    """

    def parse(code: str, rest: list[Reply]) -> Round | None:
        if code != "OK":
            return None
        webhook, url, secret, old_secret, taken, fails = rest
        signers = tuple(SecretStr(text(one)) for one in (secret, old_secret) if text(one))
        sent = tuple(_taken(items(one)) for one in items(taken))
        return Round(
            webhook=WebhookId(text(webhook)),
            url=text(url),
            secrets=signers,
            deliveries=sent,
            fails=number(fails) == 1,
        )

    return call_of("collect", keys, (most, round(hold_s * 1000), int(only_well)), parse)


def settle(
    webhook: WebhookId, attempts: Mapping[DeliveryId, Attempt], *, dead_after_s: float, keys: Keys = DEFAULT
) -> Call[Off | None]:
    """End a round with what came of each delivery; gives why the webhook is off now, None if it is on or gone."""

    def parse(code: str, rest: list[Reply]) -> Off | None:
        return Off(text(rest[0])) if code == "OK" and text(rest[0]) else None

    words = tuple(word for one, attempt in attempts.items() for word in (one, attempt.model_dump_json()))
    return call_of("settle", keys, (webhook, round(dead_after_s * 1000), *words), parse)


def _waiting(name: str, webhook: WebhookId, tenant: Tenant, delivery: DeliveryId, keys: Keys) -> Call[DeliveryBody]:
    def parse(code: str, rest: list[Reply]) -> DeliveryBody:
        if code == "UNKNOWN":
            raise DeliveryNotFound(delivery)
        if code == "OFF":
            raise WebhookOff
        if code == "FULL":
            raise WebhookOff("Too much waits for this webhook already. Mend its receiver, or switch it off.")
        _require_ok(code, webhook)
        return _delivery(rest[0])

    return call_of(name, keys, (webhook, tenant, delivery), parse)


def _require_ok(code: str, webhook: WebhookId) -> None:
    """Another tenant's webhook is as good as none."""
    if code != "OK":
        raise WebhookNotFound(webhook)


def _webhook(reply: Reply) -> WebhookBody:
    webhook, pending, flat = items(reply)
    fields = _fields(flat)
    off, failing_since = fields.get("off"), fields.get("failing_since_ms")
    return WebhookBody(
        id=WebhookId(text(webhook)),
        url=fields["url"],
        events=tuple(WebhookEvent(event) for event in fields["events"].split()),
        description=fields["description"],
        created_at=_time(fields["created_at_ms"]),
        enabled=off is None,
        off=None if off is None else Off(off),
        failing_since=None if failing_since is None else _time(failing_since),
        pending=number(pending),
        left_out=int(fields.get("left_out", 0)),
    )


def _delivery(reply: Reply) -> DeliveryBody:
    delivery, due_ms, flat = items(reply)
    fields = _fields(flat)
    tried = sorted((name for name in fields if name.startswith("attempt:")), key=lambda name: int(name[8:]))
    return DeliveryBody(
        id=DeliveryId(text(delivery)),
        event=WebhookEvent(fields["event"]),
        job=JobId(fields["job"]) if fields["job"] else None,
        batch=BatchId(fields["batch"]) if fields.get("batch") else None,
        status=DeliveryStatus(fields["status"]),
        created_at=_time(fields["created_at_ms"]),
        next_try_at=_time(text(due_ms)) if text(due_ms) else None,
        attempts=tuple(_attempt(fields[name]) for name in tried),
    )


def _attempt(said: str) -> AttemptBody:
    attempt = Attempt.model_validate_json(said)
    return AttemptBody(
        at=_time(str(attempt.at_ms)), took_ms=attempt.took_ms, status=attempt.status, error=attempt.error
    )


def _taken(entry: list[Reply]) -> Delivery:
    delivery, event, created_at_ms, tries, job, batch = entry
    return Delivery(
        id=DeliveryId(text(delivery)),
        event=WebhookEvent(text(event)),
        created_at_ms=int(text(created_at_ms)),
        tries=number(tries),
        job=None if job == b"" else job_of(job),
        batch=None if batch == b"" else batch_of(batch),
    )


def _fields(flat: Reply) -> dict[str, str]:
    words = [text(word) for word in items(flat)]
    return dict(zip(words[::2], words[1::2], strict=True))


def _time(at_ms: str) -> datetime:
    return datetime.fromtimestamp(float(at_ms) / 1000, tz=UTC)
