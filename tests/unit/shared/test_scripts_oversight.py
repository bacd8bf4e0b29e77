"""What operators are told, on a real server: the latest failures, who waits, how jobs ended."""

from __future__ import annotations

from shared import scripts
from shared.history import Ends, Outcome
from shared.jobs import JobStatus, LeaseToken, Tenant, Terms
from shared.keys import DEFAULT
from shared.lanes import Lane
from tests.desk import MODEL, OTHER, TENANT, TERMS, WORKER, Desk, failed

BULK = Lane.BULK


def fail_one(desk: Desk, tenant: Tenant = TENANT) -> scripts.Claimed:
    desk.submit(tenant=tenant)
    claimed = desk.claim()
    failed(desk, claimed.job, claimed.lease)
    return claimed


class TestFailures:
    def test_those_of_all_tenants_are_listed_latest_first(self, desk: Desk) -> None:
        one, other = fail_one(desk), fail_one(desk, OTHER)
        desk.client.zadd(DEFAULT.prefix + "failed", {one.job.id: 1})

        assert [job.id for job in desk(scripts.failures(limit=10))] == [other.job.id, one.job.id]
        assert [job.id for job in desk(scripts.failures(limit=1))] == [other.job.id]

    def test_one_is_found_whoever_it_is_of(self, desk: Desk) -> None:
        failed_job = fail_one(desk, OTHER).job
        good = desk.submit()

        found = desk(scripts.failure(failed_job.id))

        assert found is not None
        assert (found.tenant, found.status) == (OTHER, JobStatus.FAILED)
        assert desk(scripts.failure(good.id)) is None

    def test_it_is_forgotten_with_the_job(self, desk: Desk) -> None:
        job = fail_one(desk).job

        desk(scripts.erase(job.id, TENANT))

        assert desk(scripts.failures(limit=10)) == ()
        assert desk(scripts.failure(job.id)) is None

    def test_only_the_latest_thousand_are_remembered(self, desk: Desk) -> None:
        desk.client.zadd(DEFAULT.prefix + "failed", {f"old{at}": at for at in range(1000)})

        job = fail_one(desk).job

        assert desk.client.zcard(DEFAULT.prefix + "failed") == 1000
        assert desk(scripts.failure(job.id)) is not None


class TestHistory:
    def test_its_keys_do_not_stay(self, desk: Desk) -> None:
        desk.cancel(desk.submit())

        names = [name for name in desk.all_keys() if name.startswith(f"{DEFAULT.prefix}history:".encode())]

        assert len(names) == 2
        lives = sorted(desk.client.ttl(name) for name in names)
        assert 0 < lives[0] <= 3 * 3600 < lives[1] <= 48 * 3600

    def test_a_job_that_took_anothers_pictures_is_counted_apart_and_not_timed(self, desk: Desk) -> None:
        desk.submit(result="same", num_images=2)
        desk.draw_next()
        desk.submit(result="same", num_images=2)

        ended = desk(scripts.history(60)).total()[Lane.INTERACTIVE]

        assert ended.outcomes == {Outcome.SUCCEEDED: Ends(1, 2), Outcome.REUSED: Ends(1, 2)}
        assert (ended.waited.jobs, ended.drew.jobs) == (1, 1)

    def test_an_end_that_is_said_twice_is_counted_once(self, desk: Desk) -> None:
        claimed = fail_one(desk)
        failed(desk, claimed.job, claimed.lease)

        assert desk(scripts.history(60)).total()[Lane.INTERACTIVE].outcomes == {Outcome.FAILED: Ends(1, 1)}


class TestWaiting:
    def test_whoever_has_most_work_waiting_is_first(self, desk: Desk) -> None:
        for tenant, jobs, work_ms in (("few", 1, 9000), ("many", 5, 1000), ("tiny", 1, 10)):
            for _ in range(jobs):
                desk.submit(tenant=Tenant(tenant), lane=BULK, work_ms=work_ms)

        told = desk(scripts.waiting(MODEL, most=2))[BULK]

        assert [(line.tenant, line.jobs, line.work_ms) for line in told.lines] == [("few", 1, 9000), ("many", 5, 5000)]
        assert told.tenants == 3

    def test_a_long_line_is_reckoned_from_its_beginning(self, desk: Desk) -> None:
        desk.submit_many(300)

        (line,) = desk(scripts.waiting(MODEL))[Lane.INTERACTIVE].lines

        assert (line.tenant, line.jobs, line.work_ms) == (TENANT, 300, 300_000)

    def test_one_who_may_begin_no_more_is_told_all_the_same(self, desk: Desk) -> None:
        terms = Terms(keep_s=TERMS.keep_s, max_tenant_running=1)
        for _ in range(3):
            desk.submit(terms=terms)
        desk.claim()
        assert desk(scripts.claim(MODEL, WORKER, LeaseToken("another"), lease_s=5)) is None

        (line,) = desk(scripts.waiting(MODEL))[Lane.INTERACTIVE].lines

        assert (line.jobs, line.running) == (2, 1)
