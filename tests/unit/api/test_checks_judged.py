"""What the checks make of what they are told: workers that may be stuck, ways on which others listen, an old Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from api import door_checks, fleet_checks, redis_checks
from api.fleet_checks import Known
from api.redis_checks import Said
from shared.checks import Finding
from shared.contract import WorkerState
from shared.jobs import WorkerId
from shared.lanes import Lane
from shared.meters import COURIERS, JOBS_TO_FORGET, OBJECTS_TO_DELETE, WEBHOOKS_DUE
from shared.scripts import Fleet, Gauges, Order, Outlook, Roll, RunningWork
from shared.settings import Settings
from tests.desk import CARD

WORKER = WorkerState(id="w", state="ready", model="m", device="cpu", software_version="0", started_at_ms=0)
NOTHING_DUE = dict.fromkeys((COURIERS.name, JOBS_TO_FORGET.name, OBJECTS_TO_DELETE.name, WEBHOOKS_DUE.name), 0)


def held(elapsed_s: float, work_s: float = 2.0) -> RunningWork:
    return RunningWork(WorkerId("w"), Lane.BULK, round(work_s * 1000), 3, 25, round(elapsed_s * 1000))


def of_fleet(what: str, *running: RunningWork, pace: float = 1.0, figures: dict[str, int] | None = None) -> Finding:
    worker = WORKER.model_copy(update={"pace": pace})
    gauges = Gauges((Order("m", Lane.BULK, 0, 0, 0),), {}, NOTHING_DUE | (figures or {}), {})
    known = Known(Fleet((), (worker,)), gauges, (), Roll({}, ()), {"m": Outlook({}, running, 0.2)})
    return {finding.what: finding for finding in fleet_checks.judge(known)}[what]


def of_redis(said: Said, replicas: int = 0, *, asks_sentinels: bool = False) -> dict[str, Finding]:
    return {one.what: one for one in redis_checks.judge(said, replicas=replicas, asks_sentinels=asks_sentinels)}


class TestStuckWorkers:
    def test_one_whose_job_takes_far_longer_than_expected(self) -> None:
        found = of_fleet("workers", held(60))

        assert (found.level, "w may be stuck: it has had a job for 60 s" in found.found) == ("warning", True)
        assert "at step 3 of 25" in found.found

    @pytest.mark.parametrize("running", [(), (held(20),), (held(60, work_s=15),)], ids=["idle", "young", "large"])
    def test_one_that_may_well_be_drawing(self, running: tuple[RunningWork, ...]) -> None:
        assert of_fleet("workers", *running).level == "ok"

    def test_one_whose_job_was_overtaken_by_another_that_gets_on(self) -> None:
        assert of_fleet("workers", held(600), held(1)).level == "ok"

    def test_one_that_has_been_slow_all_day(self) -> None:
        assert of_fleet("workers", held(60), pace=10).level == "ok"


class TestAPoolWithoutWorkers:
    def test_whose_jobs_another_of_its_model_draws(self) -> None:
        found = starved()

        assert (found.level, f"go to {CARD.id}@h100 after DARKROOM_POOL_PATIENCE_S" in found.found) == ("warning", True)
        assert "they named this pool" in (found.remedy or "")

    def test_for_which_a_scaler_asks(self) -> None:
        assert "after ten minutes" in starved(scaled=frozenset({f"{CARD.id}@l4"})).found

    def test_that_draws_other_pictures_than_its_models_other_pools(self) -> None:
        found = starved(of_l4={"revision": "another"})

        assert (found.level, found.remedy) == ("wrong", "Start one of this pool; or cancel the jobs.")

    def test_whose_worker_loads_its_model(self) -> None:
        loads = WORKER.model_copy(update={"id": "l", "state": "warming", "model": CARD.id, "pool": f"{CARD.id}@l4"})

        assert "1 load the model" in starved(loads).found


def starved(*more: WorkerState, of_l4: dict[str, str] | None = None, scaled: frozenset[str] = frozenset()) -> Finding:
    l4, h100 = (CARD.model_copy(update={"id": f"{CARD.id}@{one}"}) for one in ("l4", "h100"))
    ready = WORKER.model_copy(update={"model": CARD.id, "pool": h100.id})
    fleet = Fleet((h100, l4.model_copy(update=of_l4 or {})), (ready, *more), scaled=scaled)
    gauges = Gauges((Order(l4.id, Lane.INTERACTIVE, 1, 1, 1),), {}, NOTHING_DUE, {})
    known = Known(fleet, gauges, (), Roll({}, ()), {})
    return {finding.what: finding for finding in fleet_checks.judge(known)}["pools"]


def test_what_is_not_deleted_for_long_is_told() -> None:
    assert of_fleet("retention", figures={OBJECTS_TO_DELETE.name: 200_000}).level == "warning"
    assert of_fleet("retention", figures={OBJECTS_TO_DELETE.name: 200}).level == "ok"


class TestRedis:
    @pytest.mark.parametrize(
        ("info", "level"),
        [
            ({"redis_version": "6.2.1"}, "wrong"),
            ({"redis_version": "7.4.0"}, "warning"),
            ({"redis_version": "8.2.0"}, "ok"),
            ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.0"}, "warning"),
            ({"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}, "ok"),
            ({"redis_version": "8.2.0", "redis_mode": "cluster"}, "wrong"),
            ({"redis_version": "255.255.255", "server_name": "other"}, "ok"),
        ],
    )
    def test_its_version(self, info: dict[str, Any], level: str) -> None:
        assert of_redis(Said(info))["redis version"].level == level

    @pytest.mark.parametrize(
        ("changes", "level"),
        [
            ({}, "ok"),
            ({"aof_last_write_status": "err"}, "wrong"),
            ({"aof_last_bgrewrite_status": "err"}, "warning"),
        ],
    )
    def test_its_last_writes(self, changes: dict[str, Any], level: str) -> None:
        well = {"aof_enabled": 1, "aof_last_write_status": "ok", "aof_last_bgrewrite_status": "ok"}

        assert of_redis(Said(well | changes, fsync="always"))["redis log"].level == level
        assert of_redis(Said(well | {"rdb_last_bgsave_status": "err"}))["redis snapshot"].level == "warning"

    @pytest.mark.parametrize(
        ("used", "limit", "level"), [(69, 100, "ok"), (71, 100, "warning"), (100, 100, "wrong"), (600, 0, "warning")]
    )
    def test_its_memory(self, used: int, limit: int, level: str) -> None:
        info = {"used_memory": used, "maxmemory": limit, "total_system_memory": 1000}

        assert of_redis(Said(info))["redis memory"].level == level

    def test_a_master_of_sentinels_that_would_go_on_alone(self) -> None:
        info: dict[str, Any] = {"role": "master", "connected_slaves": 1, "slave0": {"state": "online"}}

        assert of_redis(Said(info), asks_sentinels=True)["redis replicas"].level == "warning"
        guarded = info | {"min_slaves_good_slaves": 1}
        assert of_redis(Said(guarded), 1, asks_sentinels=True)["redis replicas"].level == "ok"

    def test_a_replica_whose_address_it_does_not_tell(self) -> None:
        info: dict[str, Any] = {"role": "master", "connected_slaves": 2, "slave0": {"state": "online"}}

        assert of_redis(Said(info), 1)["redis replicas"].found.startswith("It has 1 that is up to date")

    @pytest.mark.parametrize(
        ("ahead_s", "level"), [(0.2, "ok"), (-9.0, "warning"), (9.0, "warning"), (None, "unknown")]
    )
    def test_its_clock(self, ahead_s: float | None, level: str) -> None:
        assert of_redis(Said(ahead_s=ahead_s))["redis clock"].level == level


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("redis://:secret@127.0.0.1:6379/0", "ok"),
        ("rediss://:secret@198.51.100.1:6380/0", "ok"),
        ("redis://:secret@10.1.2.3:6379/0", "unknown"),
        ("redis://:secret@8.8.8.8:6379/0", "wrong"),
        ("redis://:secret@darkroom.invalid:6379/0", "unknown"),
        ("redis+sentinel://:secret@127.0.0.1,8.8.8.8/darkroom/0", "wrong"),
    ],
)
def test_the_way_to_redis(url: str, level: str) -> None:
    found = asyncio.run(door_checks.redis_way(Settings(redis_url=SecretStr(url))))

    assert (found.level, "secret" in found.model_dump_json()) == (level, False)


@pytest.mark.parametrize(
    ("endpoint", "level"),
    [("", "ok"), ("http://127.0.0.1:8333", "ok"), ("https://s3.example.net", "ok"), ("http://8.8.8.8:8333", "wrong")],
)
def test_the_way_to_the_store(endpoint: str, level: str) -> None:
    assert asyncio.run(door_checks.store_way(Settings(s3_endpoint=endpoint))).level == level
