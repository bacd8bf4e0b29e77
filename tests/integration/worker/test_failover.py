"""Redis' master dies, or steps down, under a service that asks sentinels: all go over to the next, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import httpx2
import pytest
from pydantic import SecretStr

from api.changes import Changes, Word, about_tenant
from api.together import Together
from shared import scripts
from shared.broker import COURIER_QUEUE, WakeUps
from shared.connection import connect, connect_async, run, run_async
from shared.errors import JobNotFound, QueueUnavailable
from shared.jobs import LOCAL_TENANT, Job, JobId, JobStatus
from shared.settings import Settings
from tests.conftest import settings_for
from tests.desk import TENANT, Desk, new_job, submit_call
from tests.integration.serving import serving
from tests.integration.worker.system import LIMIT_S, ROOT, System
from tests.servers import RedisServer, S3Server, wait_until
from tests.watched import NAME, Watched, asker, watched

pytestmark = pytest.mark.timeout(900)  # a worker imports torch

SOON_S = 60.0
ENOUGH = 6
"""Jobs that are acknowledged before the master dies, and again after."""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Watched]:
    """A master and one replica."""
    with watched(tmp_path / "redis", replicas=1) as made:
        yield made


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Watched]:
    """A master and two replicas."""
    with watched(tmp_path / "redis", replicas=2) as made:
        yield made


def settings_of(servers: Watched, s3_server: S3Server | None = None, **changes: object) -> Settings:
    settings = settings_for(servers.servers[0], s3_server)
    return settings.model_copy(update={"redis_url": SecretStr(servers.url), **changes})


def role_of(server: RedisServer) -> bytes:
    with asker(server.port, server.password) as client:
        return cast("list[bytes]", client.role())[0]


def step_down(servers: Watched) -> None:
    """Have the sentinels make a replica the master, and the master its replica."""
    old, sentinel = servers.master, servers.sentinels[0]
    with asker(sentinel.port, sentinel.password) as client:
        client.execute_command("SENTINEL", "FAILOVER", NAME)  # pyright: ignore[reportUnknownMemberType]: **options
    servers.wait_for_another(old)
    wait_until(lambda: role_of(old) == b"slave", limit_s=SOON_S, what="the old master is a replica")


def test_threads_loops_and_listeners_leave_a_master_that_steps_down(
    two: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sentinels.REMEMBER_S", 3600.0)  # which the first loss ends
    settings = settings_of(two)

    async def main() -> None:
        in_loop = connect_async(settings)
        changes, heard = Changes(in_loop), list[Word | None]()
        listening = asyncio.create_task(changes.run())
        with connect(settings) as client, changes.listening(about_tenant(TENANT), heard.append):
            desk = Desk(client)
            await until(lambda: None in heard, "it listens")
            before = desk.submit()
            heard.clear()
            await asyncio.to_thread(step_down, two)
            await until(lambda: None in heard, "it listens anew")
            after = await asyncio.to_thread(patiently_submit, desk)
            await until(lambda: any(word and word.about == after.id for word in heard), "there is word of the new job")
            for job in (before, after):
                assert desk.read(job).id == job.id
                assert (await run_async(in_loop, scripts.read(job.id, job.tenant))).id == job.id
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await in_loop.aclose()

    asyncio.run(main())


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait in a thread, while the loop goes on."""
    await asyncio.to_thread(wait_until, holds, limit_s=SOON_S, what=what)


def patiently_submit(desk: Desk) -> Job:
    """Submit as a client does that is told to come again."""
    while True:
        try:
            return desk.submit()
        except QueueUnavailable:
            time.sleep(0.05)


def test_a_connection_whose_server_became_a_replica_is_used_no_more(
    own_redis_server: RedisServer, tmp_path: Path
) -> None:
    """As behind a name that a managed service moves to another server: nobody closes the connection."""
    with RedisServer(tmp_path / "other") as other, connect(settings_for(own_redis_server)) as client:
        desk = Desk(client)
        desk.submit()
        with asker(own_redis_server.port, own_redis_server.password) as operator:
            operator.config_set("masterauth", other.password)  # pyright: ignore[reportUnknownMemberType]
            operator.replicaof("127.0.0.1", other.port)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
        number = client.client_id()  # pyright: ignore[reportUnknownMemberType]
        with pytest.raises(QueueUnavailable):
            desk.submit()
        with asker(own_redis_server.port, own_redis_server.password) as operator:
            there = operator.client_list()  # pyright: ignore[reportUnknownMemberType]
        assert str(number) not in {one["id"] for one in there}


def test_what_too_few_replicas_have_is_not_acknowledged(two: Watched) -> None:
    async def main() -> None:
        redis = connect_async(settings_of(two))
        safe, quick = Together(redis, replicas=1), Together(redis)
        await run_async(redis, scripts.fleet())
        first, second, third = new_job(), new_job(), new_job()
        await safe.run(submit_call(first))
        replica = two.replicas[0]
        replica.signal(signal.SIGSTOP)
        try:
            with pytest.raises(QueueUnavailable, match="replicas"):
                await safe.run(submit_call(second))
            assert (await safe.read(first.id, first.tenant)).id == first.id
            await quick.run(submit_call(third))
        finally:
            replica.signal(signal.SIGCONT)
        await redis.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("trouble", ["min-replicas-to-write 1", "replicaof 127.0.0.1 1"])
def test_who_takes_wake_ups_outlives_a_redis_that_takes_no_writes(
    own_redis_server: RedisServer, tmp_path: Path, trouble: str
) -> None:
    settings = settings_for(own_redis_server)
    log = tmp_path / "courier.log"
    with log.open("wb") as stream:
        courier = subprocess.Popen(
            (sys.executable, "-m", "worker.courier"),
            cwd=ROOT,
            env=os.environ | {"DARKROOM_REDIS_URL": own_redis_server.url},
            stdout=stream,
            stderr=stream,
        )
    try:
        with asker(own_redis_server.port, own_redis_server.password) as operator, connect(settings) as client:
            wait_until(lambda: bool(run(client, scripts.couriers(life_s=20))), limit_s=SOON_S, what="it takes calls")
            name, value = trouble.split(" ", 1)
            if name == "replicaof":
                operator.execute_command("REPLICAOF", *value.split())  # pyright: ignore[reportUnknownMemberType]
            else:
                operator.config_set(name, value)  # pyright: ignore[reportUnknownMemberType]
            wait_until(lambda: "connect" in log.read_text(), limit_s=SOON_S, what="it has noticed")
            assert courier.poll() is None
            if name == "replicaof":
                operator.execute_command("REPLICAOF", "NO", "ONE")  # pyright: ignore[reportUnknownMemberType]
            else:
                operator.config_set(name, "0")  # pyright: ignore[reportUnknownMemberType]
            wake_ups = WakeUps(settings)
            wake_ups.call_courier()
            wake_ups.close()
            wait_until(lambda: operator.llen(COURIER_QUEUE) == 0, limit_s=SOON_S, what="it takes the next call")
        assert courier.poll() is None
        assert own_redis_server.password not in log.read_text()
    finally:
        courier.terminate()
        courier.wait(LIMIT_S)
        print(log.read_text())  # noqa: T201 (pytest shows it when the test fails)


@contextmanager
def submitting(http: httpx2.Client) -> Generator[list[JobId]]:
    """Submit one job after the other until the block ends, through all refusals; the list has what was acknowledged."""
    acknowledged: list[JobId] = []
    ends = threading.Event()

    def submit() -> None:
        seed = 0
        while not ends.wait(0.2):
            seed += 1
            body = {"prompt": "a lighthouse", "num_inference_steps": 2, "seed": seed, "width": 32, "height": 32}
            answer = http.post("/v1/jobs", json=body)
            assert answer.status_code in {201, 202, 503}, answer.text
            if answer.status_code != 503:
                acknowledged.append(JobId(answer.json()["id"]))

    thread = threading.Thread(target=submit, name="customer")
    thread.start()
    try:
        yield acknowledged
    finally:
        ends.set()
        thread.join(LIMIT_S)


def test_the_service_goes_on_after_its_master_died_and_every_acknowledged_job_is_drawn(
    three: Watched, s3_server: S3Server, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    settings = settings_of(three, s3_server, redis_replicas=1, lease_s=2.0)
    system = System(settings, tiny_checkpoint, tmp_path)
    try:
        system.ready_worker()
        old = three.master
        with serving(settings) as gateway, submitting(gateway.http) as acknowledged:
            wait_until(lambda: len(acknowledged) >= ENOUGH, limit_s=SOON_S, what="jobs are accepted")
            old.kill()
            three.wait_for_another(old)
            before = len(acknowledged)
            wait_until(lambda: len(acknowledged) >= before + ENOUGH, limit_s=SOON_S, what="jobs are accepted again")
            old.start()  # comes back as what it was, and the sentinels make it a replica
            assert run(system.client, scripts.fleet()).workers
        try:
            ended = [
                system.wait_ended(system(scripts.read(job_id, LOCAL_TENANT))) for job_id in dict.fromkeys(acknowledged)
            ]
        except JobNotFound as error:
            raise AssertionError("a job that was acknowledged is gone") from error
        assert {job.status for job in ended} == {JobStatus.SUCCEEDED}
        assert len(ended) >= 2 * ENOUGH
    finally:
        system.close()
