"""The shift while the object store is away, refuses, or comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared import scripts
from shared.connection import run
from shared.jobs import JobError, JobStatus, LeaseToken, WorkerId
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.integration.worker.engines import (
    PIXELS,
    SteadyEngine,
)
from tests.integration.worker.workbench import CARD, LIMIT_S, Bench
from tests.servers import S3Server, free_port, wait_until
from worker.delivery import MOST_PICTURES
from worker.engine.pictures import Glance
from worker.shift import CLAIM_PAUSE_S
from worker.spool import PREFIX


def spooled(parent: Path) -> list[Path]:
    return list(parent.glob(f"{PREFIX}*/*"))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def test_pictures_wait_for_a_store_that_comes_back(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, **keys)
        bench.store.ensure_bucket()
        job = bench.submit()
        server.kill()
        bench.begin()
        wait_until(lambda: bench.engine.drawn != [], limit_s=LIMIT_S, what="the picture is drawn")
        server.start()
        bench.end()
        assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.SUCCEEDED, 1)


def test_a_store_that_stays_away_sends_the_job_back_uncharged(bench_of: Callable[..., Bench], tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, store_patience_s=0.0, **keys)
        bench.store.ensure_bucket()
        job = bench.submit()
        server.kill()
        bench.shift.run()
        waiting = bench.read(job)
        assert (waiting.status, waiting.attempt, waiting.images) == (JobStatus.QUEUED, 0, ())
        steps = bench.engine.steps
        bench.shift.run()
        assert bench.engine.steps == steps  # nothing is drawn in vain
        server.start()
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(job).status is JobStatus.SUCCEEDED


def test_a_store_that_answers_but_takes_no_pictures_gets_none_drawn_in_vain(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, store_patience_s=0.0, **keys)
        bench.store.ensure_bucket()
        in_the_way = tmp_path / "s3" / bench.settings.s3_bucket / "images"
        in_the_way.write_bytes(b"")  # a file where pictures need a folder
        job = bench.submit()
        bench.begin()
        bench.end()
        assert bench.engine.steps == 4
        assert (bench.read(job).status, bench.read(job).attempt) == (JobStatus.QUEUED, 0)
        bench.store.ensure_bucket()  # answers
        in_the_way.unlink()
        server.restart()  # it remembers folders for minutes
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(job).status is JobStatus.SUCCEEDED


def test_a_job_whose_pictures_the_store_refuses_for_good_fails(
    settings: Settings, bench_of: Callable[..., Bench]
) -> None:
    ObjectStore.from_settings(settings).ensure_bucket()
    wrong_key = {"s3_endpoint": settings.s3_endpoint, "s3_secret_key": SecretStr("wrong")}
    bench = bench_of(SteadyEngine(), store_patience_s=0.0, **wrong_key)
    job = bench.submit()
    bench.shift.run()
    failed = bench.wait_for(job, lambda now: now.status.is_terminal, "the job fails")
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (JobStatus.FAILED, "store_unavailable")
    assert "DARKROOM_S3_SECRET_KEY" in failed.error.message


def test_no_job_is_claimed_from_the_first_picture_that_is_not_taken(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, store_patience_s=LIMIT_S, **keys)
        bench.store.ensure_bucket()
        drawn = bench.submit()
        server.kill()
        bench.begin()
        wait_until(lambda: bench.storage.is_away, limit_s=LIMIT_S, what="an upload fails")
        waiting = bench.submit()
        with pytest.raises(AssertionError):
            wait_until(lambda: bench.read(waiting).attempt > 0, limit_s=10 * CLAIM_PAUSE_S, what="it is claimed")
        assert bench.read(drawn).status is JobStatus.RUNNING  # its picture is kept
        server.start()
        bench.end()
        assert (bench.read(drawn).status, bench.read(drawn).attempt) == (JobStatus.SUCCEEDED, 1)
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(waiting).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("spool_mb", [1, 0])
def test_pictures_wait_on_the_disk_or_else_the_engine_waits(
    bench_of: Callable[..., Bench], tmp_path: Path, spool_mb: int
) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        spool = {"spool": tmp_path, "spool_mb": spool_mb}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, max_batch=2 * MOST_PICTURES, **spool, **keys)
        bench.store.ensure_bucket()
        jobs = [bench.submit(steps=1, num_images=MOST_PICTURES // 2) for _ in range(4)]
        server.kill()
        bench.begin()
        on_disk = 2 * MOST_PICTURES if spool_mb else 0
        drawn = on_disk or MOST_PICTURES
        wait_until(lambda: len(bench.engine.drawn) == drawn, limit_s=LIMIT_S, what="the pictures are drawn")
        wait_until(lambda: len(spooled(tmp_path)) == on_disk, limit_s=LIMIT_S, what="the pictures wait")
        wait_until(lambda: bench.delivery.has_room is (on_disk > 0), limit_s=LIMIT_S, what="memory is free, or taken")
        assert len(bench.engine.drawn) == drawn
        server.start()
        bench.end()
        for ended in map(bench.read, jobs):
            assert (ended.status, ended.attempt, len(ended.images)) == (JobStatus.SUCCEEDED, 1, MOST_PICTURES // 2)
        assert spooled(tmp_path) == []


def test_a_job_that_is_canceled_while_its_pictures_wait_leaves_none_on_the_disk(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    bench = bench_of(SteadyEngine(), s3_endpoint=nowhere, spool=tmp_path, store_patience_s=LIMIT_S)
    job = bench.submit(steps=1, num_images=3)
    bench.begin()
    wait_until(lambda: len(spooled(tmp_path)) == 3, limit_s=LIMIT_S, what="the pictures wait")
    run(bench.client, scripts.cancel(job.id, job.tenant))
    bench.end()
    wait_until(lambda: spooled(tmp_path) == [], limit_s=LIMIT_S, what="their files go")
    assert bench.read(job).status is JobStatus.CANCELED


@pytest.mark.parametrize("harm", [Path.unlink, empty])
def test_a_job_whose_picture_vanished_from_the_disk_goes_back_uncharged(
    bench_of: Callable[..., Bench], tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    with S3Server(tmp_path / "s3") as server:
        keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
        bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, spool=tmp_path, **keys)
        bench.store.ensure_bucket()
        job = bench.submit()
        server.kill()
        bench.begin()
        wait_until(lambda: len(spooled(tmp_path)) == 1, limit_s=LIMIT_S, what="the picture waits")
        harm(spooled(tmp_path)[0])
        server.start()
        bench.end()
        ended = bench.read(job)
        assert (ended.status, ended.attempt, len(bench.engine.drawn)) == (JobStatus.SUCCEEDED, 1, 2)


def test_a_job_fails_at_once_while_the_pictures_of_another_wait_for_the_store(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(SteadyEngine(), s3_endpoint=f"http://127.0.0.1:{free_port()}", store_patience_s=LIMIT_S)
    drawn, wrong = bench.submit(num_images=4), bench.submit()
    for token in ("drawn", "wrong"):
        claimed = run(bench.client, scripts.claim(CARD.id, WorkerId("w"), LeaseToken(token), lease_s=LIMIT_S))
        assert claimed is not None
        bench.duty.leases.hold(claimed.lease)
        if token == "drawn":
            bench.delivery.expect(claimed.lease, range(4))
            for index in range(4):
                picture = Glance(lambda: PIXELS)
                bench.delivery.deliver(claimed.job, claimed.lease, index, picture, was_alone=True)
        else:
            bench.delivery.fail(claimed.lease, JobError(code="model_error", message="No."))
    wait_until(lambda: bench.read(wrong).status is JobStatus.FAILED, limit_s=LIMIT_S / 2, what="the job fails")
    assert bench.read(drawn).status is JobStatus.RUNNING


def test_no_job_is_claimed_while_the_store_that_was_away_at_the_start_stays_away(
    bench_of: Callable[..., Bench], tmp_path: Path
) -> None:
    server = S3Server(tmp_path / "s3")
    keys = {"s3_access_key": SecretStr(server.access_key), "s3_secret_key": SecretStr(server.secret_key)}
    bench = bench_of(SteadyEngine(), s3_endpoint=server.endpoint, **keys)
    bench.storage.prepare()
    job = bench.submit()
    bench.shift.run()
    assert (bench.read(job).status, bench.engine.steps) == (JobStatus.QUEUED, 0)
    with server:
        wait_until(lambda: not bench.storage.is_away, limit_s=LIMIT_S, what="a probe is stored")
        bench.shift.run()
        assert bench.read(job).status is JobStatus.SUCCEEDED
