"""A Redis whose memory is full: nothing new is accepted, and what was accepted goes on to its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from shared import scripts
from shared.access import NO_LIMITS
from shared.connection import connect
from shared.errors import JobNotFound, QueueUnavailable
from shared.jobs import JobStatus
from tests.conftest import settings_for
from tests.desk import TENANT, Desk, image_of
from tests.servers import RedisServer


@pytest.fixture
def client(own_redis_server: RedisServer) -> Iterator[redis.Redis]:
    with connect(settings_for(own_redis_server)) as client:
        yield client


def fill(client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "noeviction")  # pyright: ignore[reportUnknownMemberType]: **kwargs
    client.config_set("maxmemory", "1")  # pyright: ignore[reportUnknownMemberType]: **kwargs


def test_a_full_redis_accepts_nothing_and_keeps_nothing_of_what_it_refused(client: redis.Redis) -> None:
    desk = Desk(client)
    desk.submit()
    fill(client)
    before = client.dbsize()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    with pytest.raises(QueueUnavailable, match="is full"):
        desk.submit()
    with pytest.raises(QueueUnavailable, match="is full"):
        desk(scripts.set_limits(TENANT, NO_LIMITS))
    assert client.dbsize() == before  # pyright: ignore[reportUnknownMemberType]: **kwargs


def test_a_full_redis_brings_what_it_accepted_to_its_end(client: redis.Redis) -> None:
    desk = Desk(client)
    drawn, canceled, erased, requeued = (desk.submit() for _ in range(4))
    fill(client)

    claimed = desk.claim()
    assert claimed.job.id == drawn.id
    desk(scripts.renew([claimed.lease], lease_s=60))
    desk(scripts.add_image(claimed.lease, image_of(claimed.job)))
    desk(scripts.finish(claimed.lease))
    desk(scripts.cancel(canceled.id, TENANT))
    desk(scripts.erase(erased.id, TENANT))
    desk(scripts.release(desk.claim().lease))
    desk(scripts.reap(lease_s=60, max_attempts=3))

    ends = [desk.read(job).status for job in (drawn, canceled, requeued)]
    assert ends == [JobStatus.SUCCEEDED, JobStatus.CANCELED, JobStatus.QUEUED]
    with pytest.raises(JobNotFound):
        desk.read(erased)


def test_a_full_redis_that_knows_no_library_yet_does_what_it_may_all_the_same(client: redis.Redis) -> None:
    desk = Desk(client)
    erased, stays = desk.submit(), desk.submit()
    fill(client)
    client.function_flush()

    assert desk.read(stays).status is JobStatus.QUEUED
    desk(scripts.erase(erased.id, TENANT))
    with pytest.raises(QueueUnavailable, match="is full"):
        desk.submit()
    with pytest.raises(JobNotFound):
        desk.read(erased)
