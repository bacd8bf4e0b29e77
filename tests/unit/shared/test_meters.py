"""What is counted: once, however often it is sent, by bounds that contain themselves, exactly where a job turns."""

from __future__ import annotations

import threading
from importlib import resources

import pytest
import redis

from shared import scripts
from shared.jobs import Submission
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.meters import (
    ENGINE_SECONDS,
    JOB_DREW,
    JOB_SECONDS,
    JOB_WAITED,
    JOBS_ENDED,
    JOBS_RELEASED,
    JOBS_SUBMITTED,
    LEASES_EXPIRED,
    METERS,
    PICTURES,
    STEP_ROWS,
    STORE_CALL_SECONDS,
    STORE_ERRORS,
    Increments,
    Meters,
    Totals,
)
from shared.scripts import Gauges
from tests.desk import MODEL, TENANT, Desk, image_of
from tests.desk import failed as give_up

INTERACTIVE = Lane.INTERACTIVE


def totals(desk: Desk) -> Totals:
    return Totals.of(desk(scripts.gauges()).counted)


def figures(desk: Desk) -> Gauges:
    return desk(scripts.gauges())


class TestMeters:
    def test_a_bound_contains_itself_and_what_is_beyond_all_is_counted_too(self) -> None:
        meters = Meters()
        for rows in (1, 2, 2.5, 8, 9):
            meters.note(STEP_ROWS, rows, "m")

        untold = meters.untold()

        assert untold is not None
        sizes = Totals.of(untold.counts).histograms["step_rows"]["m",]
        assert sizes.counts == (1, 1, 1, 0, 0, 0, 0, 1, 1)
        assert sizes.total == 1 + 2 + 2 + 8 + 9

    def test_what_is_untold_stays_the_same_until_it_is_told(self) -> None:
        meters = Meters()
        assert meters.untold() is None
        meters.count(STORE_ERRORS, "worker", "put")

        first = meters.untold()
        meters.count(STORE_ERRORS, "worker", "put")

        assert meters.untold() == first == Increments(1, {"store_errors|worker|put": 1})
        meters.told()
        assert meters.untold() == Increments(2, {"store_errors|worker|put": 1})
        meters.told()
        assert meters.untold() is None

    def test_what_is_kept_in_parts_is_told_in_whole_ones(self) -> None:
        meters = Meters()
        meters.add(ENGINE_SECONDS, 1.5, "idle", "m")
        meters.add(ENGINE_SECONDS, 0.000_002, "idle", "m")

        untold = meters.untold()

        assert untold is not None
        assert untold.counts == {"engine_seconds|idle|m": 1_500_002}
        assert Totals.of(untold.counts).counters["engine_seconds"]["idle", "m"] == 1.500_002

    def test_threads_lose_nothing(self) -> None:
        meters, times = Meters(), 5_000

        def work() -> None:
            for _ in range(times):
                meters.count(STORE_ERRORS, "worker", "put")
                meters.note(STORE_CALL_SECONDS, 0.001, "worker", "put")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        untold = meters.untold()
        assert untold is not None
        found = Totals.of(untold.counts)
        assert found.counters["store_errors"]["worker", "put"] == 4 * times
        assert sum(found.histograms["store_call_seconds"]["worker", "put"].counts) == 4 * times

    def test_a_name_is_one_meters_and_a_pool_stands_last(self) -> None:
        assert len({one.name for one in METERS}) == len(METERS)
        assert all("pool" not in one.labels[:-1] for one in METERS)

    def test_what_another_version_counts_is_left_out(self) -> None:
        fields = {
            "of_tomorrow|x": 1,
            "jobs_ended|bulk|failed": 1,
            "step_rows|99|m": 1,
            "step_rows|x|m": 2,
            "pictures": 1,
        }

        assert Totals.of(fields) == Totals()

    def test_a_pools_name_may_hold_anything(self) -> None:
        assert Totals.of({"leases_expired|a|b": 3}).counters == {"leases_expired": {("a|b",): 3}}


class TestMeter:
    def test_increments_that_are_sent_twice_count_once(self, desk: Desk) -> None:
        first = Increments(1, {"store_errors|worker|put": 2, "step_rows|0|m": 1})
        for increments in (first, first, Increments(2, {"store_errors|worker|put": 5}), first):
            desk(scripts.meter("one", increments))
        desk(scripts.meter("other", first))

        assert figures(desk).counted == {"store_errors|worker|put": 9, "step_rows|0|m": 2}


class TestCountedByTheQueue:
    def test_each_job_is_counted_when_it_comes_and_when_it_ends(self, desk: Desk) -> None:
        drawn, failed, canceled, waiting = (desk.submit(num_images=2) for _ in range(4))
        taken = desk.claim()
        for index in range(2):
            desk(scripts.add_image(taken.lease, image_of(taken.job, index)))
        desk(scripts.finish(taken.lease))
        desk(scripts.finish(taken.lease))
        taken = desk.claim()
        give_up(desk, taken.job, taken.lease)
        desk(scripts.cancel(canceled.id, TENANT))
        desk(scripts.cancel(canceled.id, TENANT))

        found = totals(desk)

        assert [desk.read(job).status for job in (drawn, failed)] == ["succeeded", "failed"]
        assert found.counters[JOBS_SUBMITTED.name] == {(INTERACTIVE, Submission.NEW, MODEL): 4}
        assert found.counters[JOBS_ENDED.name] == {
            (INTERACTIVE, "succeeded", "", MODEL): 1,
            (INTERACTIVE, "failed", "model_error", MODEL): 1,
            (INTERACTIVE, "canceled", "", MODEL): 1,
        }
        assert found.counters[PICTURES.name][INTERACTIVE, "succeeded", MODEL] == 2
        assert sum(found.histograms[JOB_WAITED.name][INTERACTIVE, MODEL].counts) == 2
        assert sum(found.histograms[JOB_DREW.name][INTERACTIVE, MODEL].counts) == 1
        (order,) = (one for one in figures(desk).waiting if one.lane is INTERACTIVE)
        assert (order.model, order.jobs, order.work_ms) == (MODEL, 1, waiting.work_ms)

    def test_what_was_drawn_already_is_counted_apart(self, desk: Desk) -> None:
        source = desk.submit(result="digest")
        desk.submit(result="digest")
        taken = desk.claim()
        desk(scripts.add_image(taken.lease, image_of(source)))
        desk(scripts.finish(taken.lease))
        desk.submit(result="digest")

        found = totals(desk)

        submitted = {how: count for (_, how, _), count in found.counters[JOBS_SUBMITTED.name].items()}
        ended = {how: count for (_, how, _, _), count in found.counters[JOBS_ENDED.name].items()}
        assert submitted == {Submission.NEW: 1, Submission.JOINED: 1, Submission.REUSED: 1}
        assert ended == {"succeeded": 1, "reused": 2}

    def test_leases_that_expire_and_jobs_that_are_handed_back_are_counted(self, desk: Desk) -> None:
        desk.submit()
        desk(scripts.release(desk.claim().lease))
        desk.reap()  # a sweep of long ago would give the lease more time
        desk.lapse(desk.claim().job.id)
        desk.reap(max_attempts=1)

        found = totals(desk)

        assert found.counters[JOBS_RELEASED.name] == {(MODEL,): 1}
        assert found.counters[LEASES_EXPIRED.name] == {(MODEL,): 1}
        assert found.counters[JOBS_ENDED.name] == {(INTERACTIVE, "failed", "worker_lost", MODEL): 1}
        assert figures(desk).figures["jobs_set_aside"] == 1

    def test_what_runs_is_told_by_model_and_lane(self, desk: Desk) -> None:
        desk.submit(lane=Lane.BULK)
        desk.submit()
        desk.claim()

        told = figures(desk)

        assert sum(told.running.values()) == 1
        assert sum(order.jobs for order in told.waiting) == 1
        (oldest,) = (order.oldest_ms for order in told.waiting if order.jobs)
        assert 0 <= oldest < 60_000

    @pytest.mark.parametrize(
        ("ms", "at"),
        [(-5, 0), (0, 0), (16, 0), (17, 1), (32, 1), (33, 2), (2**22, 18), (2**22 + 1, 19), (2**40, 19)],
    )
    def test_lua_counts_times_by_the_bounds_that_are_told(self, queue: redis.Redis, ms: int, at: int) -> None:
        parts = (scripts_source(name) for name in ("keys", "meters"))
        counting = "count_time(tonumber(ARGV[1]), 'job_waited_seconds', 'bulk', 'm')"
        queue.eval("\n".join([*parts, "name_keys(KEYS[1])", counting]), 1, DEFAULT.prefix, str(ms))

        sizes = totals(Desk(queue)).histograms[JOB_WAITED.name]["bulk", "m"]

        assert sizes.counts.index(1) == at
        assert sum(sizes.counts) == 1
        assert sizes.total == max(0, ms) / 1000
        assert len(sizes.counts) == len(JOB_SECONDS) + 1
        assert at == len(JOB_SECONDS) or max(0, ms) / 1000 <= JOB_SECONDS[at]
        assert at == 0 or ms / 1000 > JOB_SECONDS[at - 1]


def scripts_source(name: str) -> str:
    return resources.files("shared").joinpath("lua", f"{name}.lua").read_text()
