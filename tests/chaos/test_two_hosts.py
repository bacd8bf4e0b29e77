"""Workers on two hosts, and the cable of one pulled in the middle of a job: it is drawn elsewhere, and ends once.

Redis, the store and the gateway are on a third. Silence, not an error, is what the cut-off worker meets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, final

import pytest

from deploy.embedded import HOST, S3, Valkey
from deploy.process import Program
from shared.client import Client
from shared.contract import JobBody
from shared.jobs import JobStatus
from tests.chaos.audit import ended_by_two
from tests.chaos.hosts import Host, Switch, why_no_hosts
from tests.chaos.stack import GatewayPlace, WorkerRun
from tests.servers import wait_until
from tests.tiny_checkpoint import make_tiny_checkpoint

pytestmark = pytest.mark.timeout(900)  # two workers import torch

LIMIT_S: Final = 180.0
LEASE_S: Final = 2.0


@final
class OpenS3(S3):
    """The embedded store, listening on one more address."""

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self._address = address

    def program(self) -> Program:
        program = super().program()
        return replace(program, command=(*program.command, "--addr", f"{self._address}:{self.port}"))


@dataclass(frozen=True)
class Site:
    """A host and the worker on it."""

    host: Host
    worker: WorkerRun

    def says(self, words: str) -> bool:
        return any(words in line for line in self.worker.lines())


@dataclass(frozen=True)
class Cluster:
    """Two hosts with a worker each, and the gateway."""

    client: Client
    sites: tuple[Site, Site]

    def submit(self, steps: int = 100, num_images: int = 3) -> str:
        # The same again and again, but each drawn.
        job = self.client.submit("far away", num_inference_steps=steps, num_images=num_images, seed=7, reuse=False)
        return job.id

    def wait_for(self, job_id: str, holds: Callable[[JobBody], bool], what: str) -> JobBody:
        wait_until(lambda: holds(self.client.job(job_id)), limit_s=LIMIT_S, what=what)
        return self.client.job(job_id)

    def who_draws(self, job_id: str) -> tuple[Site, Site]:
        """The site that claimed the job first, and the other."""
        one, other = self.sites
        return (one, other) if one.says(f"claimed job={job_id} attempt=1") else (other, one)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = why_no_hosts()
    if reason is not None:  # hosts are network namespaces: Linux, and root; elsewhere there is nothing to cut
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hosts")
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(Switch())
        hosts = [stack.enter_context(switch.host()) for _ in range(2)]
        redis = stack.enter_context(Valkey(folder / "redis", options={"bind": f"{HOST} {switch.address}"}))
        store = stack.enter_context(OpenS3(folder / "s3", switch.address))
        environment = {
            "DARKROOM_REDIS_URL": redis.url.replace(HOST, switch.address),
            "DARKROOM_S3_ENDPOINT": store.endpoint.replace(HOST, switch.address),
            "DARKROOM_S3_BUCKET": store.bucket,
            "DARKROOM_S3_ACCESS_KEY": store.access_key,
            "DARKROOM_S3_SECRET_KEY": store.secret_key,
            "DARKROOM_MODEL": str(make_tiny_checkpoint(folder / "tiny")),
            "DARKROOM_LEASE_S": str(LEASE_S),
            "DARKROOM_ALLOW_OPEN_NETWORK": "true",
            "NO_PROXY": switch.address,
            "OMP_NUM_THREADS": "1",  # two workers share few cores
            "PYTHONUNBUFFERED": "1",
        }
        gateway = GatewayPlace("gateway", environment, folder, switch.address)
        sites: list[Site] = []
        for at, host in enumerate(hosts):
            log = folder / f"worker-{at}.log"
            worker = WorkerRun(f"worker-{at}", environment, log, before=host.inside)
            stack.callback(_end, worker, log)
            sites.append(Site(host, worker))
        stack.callback(gateway.process.kill)
        gateway.start()
        for site in sites:
            site.worker.process.wait_ready(LIMIT_S)
        client = stack.enter_context(Client(gateway.url))
        yield Cluster(client, (sites[0], sites[1]))


def _end(worker: WorkerRun, log: Path) -> None:
    worker.process.kill()
    print(f"---- {log.name}\n{log.read_text(errors='replace')}")  # noqa: T201 (pytest shows it when the test fails)


def assert_ended_once(cluster: Cluster, job: JobBody) -> None:
    """It succeeded at the second attempt, nobody ended it again, and its pictures are what it says."""
    assert (job.status, job.attempt) == (JobStatus.SUCCEEDED, 2)
    assert job.version == 5  # submit, claim, reap, claim, finish: none came twice
    for image in job.images:
        assert sha256(cluster.client.image(job.id, image.index)).hexdigest() == image.sha256
    assert not ended_by_two([line for site in cluster.sites for line in site.worker.lines()])


def assert_both_draw(cluster: Cluster) -> None:
    """Both workers take new jobs, once the one that was cut off hears wake-ups again."""
    drawn = list[str]()

    def both_drew() -> bool:
        jobs = [cluster.submit(steps=50) for _ in range(2)]
        for job_id in jobs:
            assert cluster.client.wait(job_id, timeout_s=LIMIT_S).status is JobStatus.SUCCEEDED
        drawn.extend(jobs)
        return all(any(site.says(f"ended job={job_id}") for job_id in drawn) for site in cluster.sites)

    wait_until(both_drew, limit_s=LIMIT_S, what="both workers draw")


def test_a_job_of_a_host_that_is_cut_off_is_drawn_by_another_and_ends_once(cluster: Cluster) -> None:
    job_id = cluster.submit()
    cluster.wait_for(job_id, lambda now: len(now.images) >= 1, "the first picture is kept")
    far, near = cluster.who_draws(job_id)
    far.host.cut_off()
    try:
        ended = cluster.client.wait(job_id, timeout_s=LIMIT_S)
        assert near.says(f"claimed job={job_id} attempt=2")
        wait_until(lambda: far.says("the queue does not answer"), limit_s=LIMIT_S, what="the far worker notices")
        assert not far.says(f"another's by now job={job_id}")
    finally:
        far.host.bring_back()
    wait_until(lambda: far.says(f"another's by now job={job_id}"), limit_s=LIMIT_S, what="the far worker drops it")
    now = cluster.client.job(job_id)
    assert (now.version, now.images) == (ended.version, ended.images)
    assert_ended_once(cluster, now)
    assert_both_draw(cluster)


def test_a_host_that_comes_back_while_another_draws_its_job_leaves_it_alone(cluster: Cluster) -> None:
    job_id = cluster.submit(num_images=8)
    cluster.wait_for(job_id, lambda now: now.progress.step >= 2, "step 2 is taken")
    far, near = cluster.who_draws(job_id)
    far.host.cut_off()
    try:
        wait_until(lambda: near.says(f"claimed job={job_id} attempt=2"), limit_s=LIMIT_S, what="the other takes it")
    finally:
        far.host.bring_back()
    wait_until(lambda: far.says(f"another's by now job={job_id}"), limit_s=LIMIT_S, what="the far worker drops it")
    assert not cluster.client.job(job_id).status.is_terminal
    assert_ended_once(cluster, cluster.client.wait(job_id, timeout_s=LIMIT_S))
    assert_both_draw(cluster)
