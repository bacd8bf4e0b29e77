"""What webhooks are told, when, and in whose turn; by the queue's own verbs."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.batches import BatchId, BatchStatus, Line, Place, new_batch_id
from shared.errors import DeliveryNotFound, InvalidRequest, WebhookNotFound, WebhookOff
from shared.jobs import Tenant
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.meters import WEBHOOK_ATTEMPTS, WEBHOOK_SECONDS, Totals
from shared.webhooks import (
    ALL_ENDS,
    MOST_WEBHOOKS,
    Attempt,
    DeliveryId,
    DeliveryStatus,
    EndEvent,
    NewWebhook,
    Off,
    Outcome,
    Round,
    WebhookChange,
    WebhookEvent,
    WebhookId,
    WebhookRequest,
    new_secret,
    new_test_id,
    new_webhook_id,
)
from tests.desk import OTHER, TENANT, TERMS, Desk, failed, new_job

URL = "https://example.com/hook"
HOLD_S = 30.0
DEAD_AFTER_S = 3600.0


def add(desk: Desk, *events: EndEvent, tenant: Tenant = TENANT) -> WebhookId:
    asked = WebhookRequest(url=URL, events=events) if events else WebhookRequest(url=URL)
    made = desk(scripts.add_webhook(NewWebhook(id=new_webhook_id(), tenant=tenant, asked=asked, secret=new_secret())))
    return made.id


def collect(desk: Desk, most: int = 8) -> Round | None:
    return desk(scripts.collect(most=most, hold_s=HOLD_S))


def taken(desk: Desk, most: int = 8) -> Round:
    found = collect(desk, most)
    assert found is not None
    return found


def settle(desk: Desk, sent: Round, outcome: Outcome, *, status: int | None = 200) -> Off | None:
    again_in_ms = 5000 if outcome is Outcome.AGAIN else None
    attempts = {
        delivery.id: Attempt(
            tries=delivery.tries, outcome=outcome, at_ms=1, took_ms=2, status=status, again_in_ms=again_in_ms
        )
        for delivery in sent.deliveries
    }
    return desk(scripts.settle(sent.webhook, attempts, dead_after_s=DEAD_AFTER_S))


def logged(desk: Desk, webhook: WebhookId) -> list[tuple[DeliveryStatus, int]]:
    page = desk(scripts.deliveries(webhook, TENANT, limit=100))
    return [(delivery.status, len(delivery.attempts)) for delivery in page.deliveries]


def pass_time(desk: Desk, webhook: WebhookId) -> None:
    """All that waits is due, and a round that is under way counts as dead."""
    pending = f"{DEFAULT.prefix}pending:{webhook}"
    for delivery in desk(scripts.deliveries(webhook, TENANT, limit=100)).deliveries:
        desk.client.zadd(pending, {delivery.id: 0}, xx=True)
    desk.client.hdel(f"{DEFAULT.prefix}webhook:{webhook}", "busy_until_ms")
    desk.client.zadd(f"{DEFAULT.prefix}outbox", {webhook: 0})


def keys_with(desk: Desk, part: str) -> int:
    return sum(part.encode() in key for key in desk.all_keys())


def test_each_end_of_a_job_is_told_once_with_the_job_as_it_ended(desk: Desk) -> None:
    webhook = add(desk)
    job = desk.submit()
    assert collect(desk) is None
    desk.draw_next()
    sent = taken(desk)
    (delivery,) = sent.deliveries
    assert (sent.webhook, sent.url, len(sent.secrets)) == (webhook, URL, 1)
    assert (delivery.event, delivery.tries, delivery.id) == (WebhookEvent.SUCCEEDED, 1, f"{webhook}.{job.id}")
    assert delivery.job == desk.read(job)
    assert settle(desk, sent, Outcome.DELIVERED) is None
    assert collect(desk) is None
    assert logged(desk, webhook) == [(DeliveryStatus.DELIVERED, 1)]


def test_each_attempt_is_counted_once_by_its_outcome(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    first = taken(desk)
    settle(desk, first, Outcome.AGAIN, status=500)
    settle(desk, first, Outcome.AGAIN, status=500)
    pass_time(desk, webhook)
    settle(desk, taken(desk), Outcome.DELIVERED)

    counted = Totals.of(desk(scripts.gauges()).counted)

    assert counted.counters[WEBHOOK_ATTEMPTS.name] == {("again",): 1, ("delivered",): 1}
    assert sum(counted.histograms[WEBHOOK_SECONDS.name][()].counts) == 2
    assert counted.histograms[WEBHOOK_SECONDS.name][()].total == 2 * 0.002


@pytest.mark.parametrize("event", [WebhookEvent.FAILED, WebhookEvent.CANCELED, WebhookEvent.EXPIRED])
def test_a_webhook_is_told_what_it_wants_to_know_and_no_more(desk: Desk, event: EndEvent) -> None:
    add(desk, event)
    desk.submit()
    desk.draw_next()
    desk.submit()
    claimed = desk.claim()
    failed(desk, claimed.job, claimed.lease)
    desk(scripts.cancel(desk.submit().id, TENANT))
    desk.pass_deadline(desk.submit(cancel_after_s=60).id)
    desk.reap()
    assert [delivery.event for delivery in taken(desk).deliveries] == [event]


def test_a_job_is_told_of_to_its_own_tenant_alone(desk: Desk) -> None:
    add(desk, tenant=OTHER)
    desk.submit()
    desk.draw_next()
    assert collect(desk) is None


def test_what_was_refused_waits_for_its_next_try_and_has_the_same_id(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    first = taken(desk)
    settle(desk, first, Outcome.AGAIN, status=500)
    assert collect(desk) is None
    (waiting,) = desk(scripts.deliveries(webhook, TENANT, limit=1)).deliveries
    assert waiting.next_try_at is not None
    assert 4000 < waiting.next_try_at.timestamp() * 1000 - desk.now_ms() <= 5000
    for enabled in (False, True):
        desk(scripts.change_webhook(webhook, TENANT, WebhookChange(enabled=enabled)))
        (same,) = desk(scripts.deliveries(webhook, TENANT, limit=1)).deliveries
        assert same.next_try_at == (waiting.next_try_at if enabled else None)
    pass_time(desk, webhook)
    second = taken(desk)
    assert [(one.id, one.tries) for one in second.deliveries] == [(first.deliveries[0].id, 2)]
    settle(desk, second, Outcome.FAILED, status=500)
    assert logged(desk, webhook) == [(DeliveryStatus.FAILED, 2)]


def test_a_webhook_has_one_round_at_a_time_and_keeps_no_other_waiting(desk: Desk) -> None:
    slow, other = add(desk), add(desk)
    for _ in range(3):
        desk.submit()
        desk.draw_next()
    first, second = taken(desk, most=2), taken(desk, most=2)
    assert {first.webhook, second.webhook} == {slow, other}
    assert collect(desk, most=2) is None
    settle(desk, second, Outcome.DELIVERED)
    assert taken(desk, most=2).webhook == second.webhook


def test_what_ends_during_a_round_waits_for_its_end(desk: Desk) -> None:
    add(desk)
    desk.submit()
    desk.draw_next()
    first = taken(desk)
    desk.submit()
    desk.draw_next()
    assert collect(desk) is None
    settle(desk, first, Outcome.DELIVERED)
    assert len(taken(desk).deliveries) == 1


def test_a_round_whose_courier_died_is_sent_again_and_its_own_word_counts_no_more(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    dead = taken(desk)
    pass_time(desk, webhook)
    again = taken(desk)
    assert [one.id for one in again.deliveries] == [one.id for one in dead.deliveries]
    settle(desk, dead, Outcome.FAILED)
    assert logged(desk, webhook) == [(DeliveryStatus.PENDING, 0)]
    settle(desk, again, Outcome.DELIVERED)
    settle(desk, again, Outcome.DELIVERED)
    assert logged(desk, webhook) == [(DeliveryStatus.DELIVERED, 1)]


def test_a_receiver_that_wants_no_more_is_sent_no_more(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    assert settle(desk, taken(desk), Outcome.FAILED, status=410) is Off.GONE
    desk.submit()
    desk.draw_next()
    assert collect(desk) is None
    assert logged(desk, webhook) == [(DeliveryStatus.FAILED, 1)]


def test_a_receiver_that_takes_nothing_for_long_is_switched_off_and_can_be_switched_on(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    assert settle(desk, taken(desk), Outcome.AGAIN, status=None) is None
    desk.client.hincrby(f"{DEFAULT.prefix}webhook:{webhook}", "failing_since_ms", -round(DEAD_AFTER_S * 1000))
    pass_time(desk, webhook)
    assert settle(desk, taken(desk), Outcome.AGAIN, status=None) is Off.DEAD
    dead = desk(scripts.webhooks(TENANT))[0]
    assert (dead.off, dead.pending) == (Off.DEAD, 1)
    assert collect(desk) is None
    on = desk(scripts.change_webhook(webhook, TENANT, WebhookChange(enabled=True)))
    assert (on.enabled, on.failing_since) == (True, None)
    pass_time(desk, webhook)
    settle(desk, taken(desk), Outcome.DELIVERED)
    assert logged(desk, webhook) == [(DeliveryStatus.DELIVERED, 3)]


def test_one_that_takes_something_now_and_then_lives(desk: Desk) -> None:
    webhook = add(desk)
    for outcome in (Outcome.AGAIN, Outcome.DELIVERED):
        desk.submit()
        desk.draw_next()
        pass_time(desk, webhook)
        settle(desk, taken(desk), outcome)
    assert desk(scripts.webhooks(TENANT))[0].failing_since is None


def test_a_delivery_can_be_sent_again_with_all_its_tries(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    first = taken(desk)
    settle(desk, first, Outcome.FAILED)
    replayed = desk(scripts.replay(webhook, TENANT, first.deliveries[0].id))
    assert replayed.status is DeliveryStatus.PENDING
    again = taken(desk)
    assert [(one.id, one.tries) for one in again.deliveries] == [(first.deliveries[0].id, 1)]
    settle(desk, again, Outcome.DELIVERED)
    assert logged(desk, webhook) == [(DeliveryStatus.DELIVERED, 2)]


def test_a_job_that_was_deleted_meanwhile_leaves_nothing_to_tell(desk: Desk) -> None:
    add(desk)
    job = desk.submit()
    desk.draw_next()
    desk(scripts.erase(job.id, TENANT))
    (delivery,) = taken(desk).deliveries
    assert delivery.job is None


def a_batch(desk: Desk, lines: int = 1) -> BatchId:
    batch, job = new_batch_id(), new_job()
    line = Line(
        model=job.model, params=job.params, metadata={}, lane=Lane.BULK, cancel_after_s=None, may_reuse=True
    ).model_dump_json()
    desk(scripts.fill_batch(batch, [line] * lines, before=0))
    desk(scripts.seal_batch(batch, TENANT, name="n", total=lines, keep_s=60))
    for number in range(1, lines + 1):
        desk(scripts.submit_line(new_job(), TERMS, Place(batch, number)))
    return batch


def test_a_batchs_end_is_told_once_with_the_batch_as_it_ended_to_who_asked_for_it(desk: Desk) -> None:
    jobs_alone, webhook = add(desk, *ALL_ENDS), add(desk, WebhookEvent.BATCH_ENDED)
    batch = a_batch(desk, 2)
    desk.draw_next()
    desk(scripts.remove_webhook(jobs_alone, TENANT))
    assert collect(desk) is None
    desk.cancel(desk.claim().job)
    sent = taken(desk)
    (delivery,) = sent.deliveries
    assert (delivery.event, delivery.id, delivery.job) == (WebhookEvent.BATCH_ENDED, f"{webhook}.{batch}", None)
    assert delivery.batch == desk(scripts.read_batch(batch, TENANT))
    settle(desk, sent, Outcome.DELIVERED)
    desk(scripts.cancel_batch(batch, TENANT))
    assert collect(desk) is None
    (logged,) = desk(scripts.deliveries(webhook, TENANT, limit=10)).deliveries
    assert (logged.job, logged.batch, logged.status) == (None, batch, DeliveryStatus.DELIVERED)


def test_a_canceled_batch_is_told_of_once_with_all_that_was_canceled(desk: Desk) -> None:
    add(desk, WebhookEvent.BATCH_ENDED)
    batch = a_batch(desk, 3)
    for _ in range(2):
        desk(scripts.cancel_batch(batch, TENANT))
    (delivery,) = taken(desk).deliveries
    assert delivery.batch is not None
    assert (delivery.batch.status, delivery.batch.canceled, delivery.batch.active) == (BatchStatus.CANCELED, 3, 0)
    assert collect(desk) is None


def test_nothing_is_told_of_a_batch_that_was_deleted_meanwhile_nor_of_its_jobs(desk: Desk) -> None:
    add(desk, WebhookEvent.SUCCEEDED, WebhookEvent.BATCH_ENDED)
    batch = a_batch(desk)
    desk.draw_next()
    desk(scripts.erase_batch(batch, TENANT))
    assert [(one.job, one.batch) for one in taken(desk).deliveries] == [(None, None)] * 2


def test_a_test_is_told_of_though_no_job_ended(desk: Desk) -> None:
    webhook = add(desk, WebhookEvent.FAILED)
    named = new_test_id(webhook)
    for _ in range(2):
        desk(scripts.ping(webhook, TENANT, named))
    assert [(one.id, one.event) for one in taken(desk).deliveries] == [(named, WebhookEvent.TEST)]


def test_a_new_secret_signs_at_once_and_the_old_one_for_a_while(desk: Desk) -> None:
    webhook = add(desk)
    fresh = new_secret()
    desk(scripts.change_webhook(webhook, TENANT, WebhookChange(), secret=fresh))
    desk.submit()
    desk.draw_next()
    sent = taken(desk)
    assert (len(sent.secrets), sent.secrets[0]) == (2, fresh)
    desk.client.hset(f"{DEFAULT.prefix}webhook:{webhook}", "old_secret_until_ms", desk.now_ms())
    pass_time(desk, webhook)
    assert taken(desk).secrets == (fresh,)


def test_no_more_are_made_than_a_tenant_may_have(desk: Desk) -> None:
    for _ in range(MOST_WEBHOOKS):
        add(desk)
    add(desk, tenant=OTHER)
    with pytest.raises(InvalidRequest, match="10 webhooks already"):
        add(desk)


def test_what_is_switched_off_is_told_nothing_and_sends_no_test(desk: Desk) -> None:
    webhook = add(desk)
    changed = desk(scripts.change_webhook(webhook, TENANT, WebhookChange(enabled=False, description="mine")))
    assert (changed.enabled, changed.off, changed.description) == (False, Off.SWITCHED_OFF, "mine")
    desk.submit()
    desk.draw_next()
    assert collect(desk) is None
    with pytest.raises(WebhookOff):
        desk(scripts.ping(webhook, TENANT, new_test_id(webhook)))


def test_a_deleted_webhook_leaves_nothing_behind(desk: Desk) -> None:
    webhook = add(desk)
    desk.submit()
    desk.draw_next()
    sent = taken(desk)
    desk(scripts.remove_webhook(webhook, TENANT))
    assert settle(desk, sent, Outcome.DELIVERED) is None
    assert keys_with(desk, webhook) == 0
    assert desk(scripts.webhooks(TENANT)) == ()


def test_another_tenants_webhook_is_as_good_as_none(desk: Desk) -> None:
    webhook, test = add(desk), DeliveryId("x")
    for call in (
        scripts.change_webhook(webhook, OTHER, WebhookChange(enabled=False)),
        scripts.remove_webhook(webhook, OTHER),
        scripts.deliveries(webhook, OTHER, limit=1),
        scripts.ping(webhook, OTHER, test),
        scripts.replay(webhook, OTHER, test),
    ):
        with pytest.raises(WebhookNotFound):
            desk(call)
    with pytest.raises(DeliveryNotFound):
        desk(scripts.replay(webhook, TENANT, test))
    assert desk(scripts.webhooks(TENANT))[0].enabled


def test_the_latest_thousand_are_kept_and_all_that_wait(desk: Desk) -> None:
    webhook = add(desk)
    for _ in range(130):
        for _ in range(8):
            desk(scripts.ping(webhook, TENANT, new_test_id(webhook)))
        settle(desk, taken(desk), Outcome.DELIVERED)
    assert desk.client.zcard(f"{DEFAULT.prefix}deliveries:{webhook}") == 1000
    assert keys_with(desk, "delivery:") == 1000


def test_pages_of_deliveries_have_each_of_them(desk: Desk) -> None:
    webhook = add(desk)
    for _ in range(5):
        desk(scripts.ping(webhook, TENANT, new_test_id(webhook)))
    first = desk(scripts.deliveries(webhook, TENANT, limit=3))
    rest = desk(scripts.deliveries(webhook, TENANT, limit=3, skip=3))
    assert (first.has_more, rest.has_more) == (True, False)
    assert len({one.id for one in (*first.deliveries, *rest.deliveries)}) == 5
