"""A shift's rounds side by side, over the real queue: what one tenant's webhook meets is no other's trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import redis

from shared import scripts
from shared.connection import connect_async
from shared.jobs import Job, Tenant
from shared.keys import DEFAULT
from shared.network import Reach
from shared.settings import Settings
from shared.webhooks import NewWebhook, WebhookRequest, new_secret, new_webhook_id
from tests.desk import OTHER, TENANT, Desk
from tests.unit.worker.courier.receivers import receiver, receiver_that_never_answers
from worker.courier.rounds import MOST_ROUNDS, Rounds
from worker.courier.sender import Sender

LOCAL = Reach.of(["127.0.0.0/8"])


def work_a_shift(settings: Settings, *, timeout_s: float = 5, is_stopping: Callable[[], bool] = lambda: False) -> None:
    async def worked() -> None:
        client = connect_async(settings)
        try:
            async with Sender(LOCAL, timeout_s=timeout_s) as sender:
                rounds = Rounds(client, sender, timeout_s=timeout_s, dead_after_s=3600)
                await rounds.run(is_stopping=is_stopping)
        finally:
            await client.aclose()

    asyncio.run(worked())


def ended_job(desk: Desk, tenant: Tenant, url: str) -> Job:
    """A job whose end a webhook is to be told."""
    asked = WebhookRequest(url=url)
    desk(scripts.add_webhook(NewWebhook(id=new_webhook_id(), tenant=tenant, asked=asked, secret=new_secret())))
    desk.submit(tenant=tenant)
    return desk.draw_next()


def test_a_record_that_can_not_be_read_breaks_off_nobody_elses_round(
    redis_settings: Settings, queue: redis.Redis
) -> None:
    desk = Desk(queue)
    with receiver() as mine, receiver() as theirs:
        ended_job(desk, TENANT, mine.url)
        odd = ended_job(desk, OTHER, theirs.url)
        queue.hset(f"{DEFAULT.prefix}job:{odd.id}", "status", "of a later version")

        work_a_shift(redis_settings)

    assert (len(mine.came), theirs.came) == (1, [])
    assert desk(scripts.due()) == 0


def test_receivers_that_hang_again_hold_up_no_other_however_many(redis_settings: Settings, queue: redis.Redis) -> None:
    desk, timeout_s = Desk(queue), 3.0
    with receiver_that_never_answers() as silent, receiver() as well:
        for number in range(MOST_ROUNDS + 1):
            ended_job(desk, Tenant(f"tenant{number}"), silent.url)
        for webhook in (key for key in desk.all_keys() if key.startswith(f"{DEFAULT.prefix}webhook:".encode())):
            queue.hset(webhook.decode(), "failing_since_ms", str(desk.now_ms()))
        ended_job(desk, TENANT, well.url)
        begun = time.monotonic()
        told_after_s: list[float] = []

        def is_told() -> bool:
            if well.came and not told_after_s:
                told_after_s.append(time.monotonic() - begun)
            return bool(well.came)

        work_a_shift(redis_settings, timeout_s=timeout_s, is_stopping=is_told)

    assert told_after_s[0] < timeout_s
