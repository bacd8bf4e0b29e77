"""Every verb of the queue in any order, on a real server, beside a plain model of it.

`DARKROOM_TEST_EXAMPLES=2000 pytest tests/unit/shared/test_scripts_machine.py` looks longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from shared import scripts
from shared.call import Call
from shared.errors import IdempotencyMismatch, JobNotFound, LeaseLost, QueueFull, TenantQueueFull
from shared.generation import GenerationParams, OutputFormat, Scheduler, Size
from shared.jobs import (
    Image,
    Job,
    JobError,
    JobId,
    JobStatus,
    LeaseToken,
    NewJob,
    Once,
    Tenant,
    Terms,
    WorkerId,
)
from shared.lanes import Lane
from shared.scripts import Claimed, Lease, Mode
from tests.desk import Desk
from tests.unit.shared.fleet_beside import FleetBeside
from tests.unit.shared.queue_keyspace import KEPT, contents, differences
from tests.unit.shared.queue_model import MAX_ATTEMPTS, NEWEST, WAITING, Entry, QueueModel, Refused

Method = TypeVar("Method", bound=Callable[..., None])

EXAMPLES = int(os.environ.get("DARKROOM_TEST_EXAMPLES", "30"))
LOOKS_LONGER = "DARKROOM_TEST_EXAMPLES" in os.environ
STEPS = 50
MENDED_AT_ONCE = 8
"""Of the jobs behind one that leaves its line (shared/lua/fair.lua). Longer lines are mended by the sweeps, little by
little: test_scripts_order."""
FATES = ["gone", "gone", "lost", "refused"]
"""Of objects that were told to be deleted."""

TENANT_NAMES = [Tenant("ann"), Tenant("bob"), Tenant("cid")]
MODEL_NAMES = ["small", "a/large:one"]
TENANTS = st.sampled_from([*TENANT_NAMES, TENANT_NAMES[0], TENANT_NAMES[0]])
MODELS = st.sampled_from([*MODEL_NAMES, *MODEL_NAMES[:1] * 4])
WORKERS = st.sampled_from([WorkerId("w1"), WorkerId("w2")])
TAKEN_FROM = [None, None, None, Lane.INTERACTIVE, Lane.BULK]
LONG_S = 3600.0
"""A lease that ends only when a rule says so."""

REFUSALS = {
    QueueFull: "FULL",
    TenantQueueFull: "TENANT_FULL",
    IdempotencyMismatch: "MISMATCH",
    JobNotFound: "MISSING",
}


def picture(job_id: JobId, index: int) -> Image:
    return Image(
        index=index,
        seed=7,
        key=f"{job_id}/{index}",
        size=Size(width=8, height=8),
        output_format=OutputFormat.PNG,
        num_bytes=3,
        sha256="ab" * 32,
    )


VERBS: list[str] = []
TERMS: dict[str, st.SearchStrategy[dict[str, object]]] = {}


def verb(often: int, /, **terms: st.SearchStrategy[Any]) -> Callable[[Method], Method]:
    """Mark what the machine may do, `often` times as often as what has 1; a rule alone knows no weight."""

    def mark(method: Method) -> Method:
        VERBS.extend([method.__name__] * often)
        TERMS[method.__name__] = st.fixed_dictionaries(terms)
        return method

    return mark


class QueueMachine(RuleBasedStateMachine):
    """The queue and its model side by side."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.desk.client.flushall()  # pyright: ignore[reportUnknownMemberType]: **kwargs
        self.names = count(1)
        self.known: list[tuple[JobId, Tenant]] = []
        self.leases: list[Lease] = []
        self.ends: dict[JobId, Job] = {}
        self.model = QueueModel(20)
        self.fleet = FleetBeside(desk, lambda: self.model.modes)
        self.dues = count(1)
        """Ever later times, all long past: which comes first is never left to chance."""

    @initialize(bulk_percent=st.sampled_from([20, 20, 50, 1]))
    def begin(self, bulk_percent: int) -> None:
        self.model = QueueModel(bulk_percent)
        self.desk.sweep_was(ago_s=0)
        self.reap()

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(VERBS))
        getattr(self, name)(**data.draw(TERMS[name], label=name))

    # --- the gateway ---

    @verb(
        5,
        number=st.sampled_from([1, 1, 2, 3, 5]),
        tenant=TENANTS,
        model=MODELS,
        lane=st.sampled_from(Lane),
        height=st.sampled_from([1, 1, 1, 3, 7, 40, 5000]),
        num_images=st.integers(1, 2),
        work_ms=st.sampled_from([1, 2, 3, 10, 40, 1000]),
        weight=st.sampled_from([1.0, 1.0, 2.0, 0.5]),
        max_running=st.sampled_from([0, 0, 1, 2]),
        max_waiting=st.sampled_from([100, 100, 5]),
        max_tenant_waiting=st.sampled_from([100, 100, 3]),
        cancel_after_s=st.sampled_from([None, None, 3600]),
        once=st.sampled_from([None, None, None, None, Once("k", "f"), Once("k", "g"), Once("l", "f")]),
        result=st.sampled_from([None, None, None, "r", "s"]),
        needs=st.sampled_from([1, 1, 1, 1, 2, 3]),
    )
    def submit(self, *, number: int, **terms: Any) -> None:  # noqa: ANN401 - those of submit_one
        for _ in range(number):
            self.submit_one(**terms)

    def submit_one(
        self,
        *,
        tenant: Tenant,
        model: str,
        lane: Lane,
        height: int,
        num_images: int,
        work_ms: int,
        weight: float,
        max_running: int,
        max_waiting: int,
        max_tenant_waiting: int,
        cancel_after_s: int | None,
        once: Once | None,
        result: str | None,
        needs: int,
    ) -> None:
        if result:
            num_images = 1 if result == "r" else 2  # the digest decides what is drawn
            model = "small"
        line = [e for e in self.model.jobs.values() if (e.tenant, e.model, e.lane) == (tenant, model, lane)]
        if sum(not e.status.is_terminal for e in line) > MENDED_AT_ONCE:
            return
        job_id = JobId(f"job{next(self.names)}")
        params = GenerationParams(
            prompt="a fox",
            width=1000,
            height=height,
            num_inference_steps=2,
            guidance_scale=1,
            seed=7,
            num_images=num_images,
            scheduler=Scheduler.EULER,
        )
        new = NewJob(job_id, tenant, model, params, {}, lane, work_ms, cancel_after_s, needs=needs)
        terms = Terms(
            keep_s=3600,
            weight=weight,
            bulk_percent=self.model.bulk_percent,
            max_waiting=max_waiting,
            max_tenant_waiting=max_tenant_waiting,
            max_tenant_running=max_running,
        )
        entry = Entry(
            job_id,
            tenant,
            model,
            lane,
            width=max(1, round(32 * params.cost / weight)),
            work_ms=work_ms,
            num_images=num_images,
            steps=2 * num_images,
            max_running=max_running,
            once=once,
            result=result,
            has_deadline=cancel_after_s is not None,
            needs=needs,
        )
        call = scripts.submit(new, terms, once=once, result=result)
        wanted = None
        try:
            wanted = self.model.submit(entry, max_waiting=max_waiting, max_tenant_waiting=max_tenant_waiting)
        except Refused as refused:
            wrong = str(refused)
        else:
            wrong = None
        if wrong or wanted is None:
            assert self.refusal(call) == wrong
            return
        submitted = self.desk(call)
        self.known.append((job_id, tenant))
        assert (submitted.job.id, submitted.how) == (wanted[0].id, wanted[1])
        assert self.desk(call).job == submitted.job

    def refusal(self, call: Call[object]) -> str | None:
        try:
            self.desk(call)
        except (QueueFull, TenantQueueFull, IdempotencyMismatch, JobNotFound) as error:
            return REFUSALS[type(error)]
        return None

    @verb(
        3,
        data=st.data(),
        verb=st.sampled_from(["cancel", "cancel", "cancel", "erase", "withdraw"]),
        is_own=st.sampled_from([True, True, True, False]),
    )
    def ask(self, data: st.DataObject, verb: str, *, is_own: bool) -> None:
        """Say something to a job; to one that is gone already too, or another tenant's."""
        job_id, tenant = data.draw(st.sampled_from(self.known)) if self.known else (JobId("none"), TENANT_NAMES[0])
        if not is_own:
            tenant = TENANT_NAMES[TENANT_NAMES.index(tenant) - 1]
        match verb:
            case "cancel":
                self.cancel(job_id, tenant)
            case "erase":
                self.erase(job_id, tenant)
            case _:
                self.withdraw(job_id, tenant)

    def cancel(self, job_id: JobId, tenant: Tenant) -> None:
        try:
            entry = self.model.cancel(job_id, tenant)
        except Refused:
            assert self.refusal(scripts.cancel(job_id, tenant)) == "MISSING"
        else:
            assert self.desk(scripts.cancel(job_id, tenant)).status == entry.status

    def erase(self, job_id: JobId, tenant: Tenant) -> None:
        try:
            objects = self.model.erase(job_id, tenant)
        except Refused:
            assert self.refusal(scripts.erase(job_id, tenant)) == "MISSING"
        else:
            assert set(self.desk(scripts.erase(job_id, tenant))) == objects
        assert self.refusal(scripts.read(job_id, tenant)) == "MISSING"

    def withdraw(self, job_id: JobId, tenant: Tenant) -> None:
        try:
            is_gone = self.model.withdraw(job_id, tenant)
        except Refused:
            assert self.refusal(scripts.withdraw(job_id, tenant)) == "MISSING"
        else:
            assert self.desk(scripts.withdraw(job_id, tenant)) == is_gone

    @verb(2, data=st.data(), source=MODELS, to=MODELS, work_ms=st.sampled_from([1, 10, 1000]), number=st.integers(1, 3))
    def reroute(self, data: st.DataObject, source: str, to: str, work_ms: int, number: int) -> None:
        """Jobs go to another pool; one that has begun, or is gone, or is elsewhere, stays where it is."""
        for _ in range(number):
            job_id, _ = data.draw(st.sampled_from(self.known)) if self.known else (JobId("none"), None)
            entry = self.model.jobs.get(job_id)
            if entry and len(self.model.line(to, entry.lane, entry.tenant)) >= MENDED_AT_ONCE:
                return
            call = scripts.reroute(job_id, source=source, to=to, work_ms=work_ms)
            assert self.desk(call) == self.model.reroute(job_id, source, to, work_ms)

    # --- workers ---

    @verb(
        5,
        model=MODELS,
        worker=WORKERS,
        number=st.sampled_from([1, 1, 2, 4]),
        lane=st.sampled_from(TAKEN_FROM),
        contract=st.sampled_from([1, 1, 2, NEWEST, NEWEST]),
    )
    def claim(self, model: str, worker: WorkerId, number: int, lane: Lane | None, contract: int) -> None:
        for _ in range(number):
            token = LeaseToken(f"t{next(self.names)}")
            claimed = self.claim_under(token, model, worker, lane, contract)
            if claimed:
                self.leases.append(claimed.lease)

    def claim_under(
        self, token: LeaseToken, model: str, worker: WorkerId, lane: Lane | None = None, contract: int = NEWEST
    ) -> Claimed | None:
        claimed = self.desk(scripts.claim(model, worker, token, lease_s=LONG_S, lane=lane, contract=contract))
        entry = self.model.claim(model, worker, token, lane, contract)
        assert (claimed and claimed.job.id) == (entry and entry.id)
        return claimed

    @verb(
        6,
        data=st.data(),
        verb=st.sampled_from(
            ["release", "release", "draw", "draw", "fail", "renew", "progress", "add_image", "finish", "claim_again"]
        ),
        holds=st.sampled_from([True, True, True, True, False]),
    )
    def work(self, data: st.DataObject, verb: str, *, holds: bool) -> None:
        """Say something under a lease; also under one that is worth nothing any more."""
        leases = [lease for lease in self.leases if not holds or self.model.standing(lease.job_id, lease.token) == "OK"]
        if not leases:
            return
        lease = data.draw(st.sampled_from(leases))
        match verb:
            case "release":
                self.fenced(lambda: self.model.release(lease.job_id, lease.token), scripts.release(lease))
            case "draw":
                self.draw(lease)
            case "fail":
                error = JobError(code="model_error", message="No.")
                self.fenced(lambda: self.model.fail(lease.job_id, lease.token, error.code), scripts.fail(lease, error))
            case "renew":
                lost = frozenset[Lease]() if self.model.renew(lease.job_id, lease.token) else {lease}
                assert self.desk(scripts.renew([lease], lease_s=LONG_S)) == lost
            case "progress":
                self.progress(lease, data.draw(st.integers(0, 2)))
            case "add_image":
                self.add_image(lease, data.draw(st.integers(0, 1)))
            case "finish":
                self.finish(lease)
            case _:
                self.claim_under(lease.token, MODEL_NAMES[0], WorkerId("w1"))

    def progress(self, lease: Lease, step: int) -> None:
        def told() -> None:
            entry = self.model.held(lease.job_id, lease.token)
            entry.step = max(entry.step, step)

        self.fenced(told, scripts.progress(lease, step, jpeg=b"jpeg"))

    def add_image(self, lease: Lease, index: int) -> None:
        entry = self.model.jobs.get(lease.job_id)
        index %= entry.num_images if entry else 1
        self.fenced(
            lambda: self.model.add_image(lease.job_id, lease.token, index),
            scripts.add_image(lease, picture(lease.job_id, index)),
        )

    def finish(self, lease: Lease) -> None:
        self.fenced(lambda: self.model.finish(lease.job_id, lease.token), scripts.finish(lease))

    def draw(self, lease: Lease) -> None:
        for index in range(2):
            self.add_image(lease, index)
        self.finish(lease)

    def fenced(self, told: Callable[[], None], call: Call[None]) -> None:
        try:
            told()
        except Refused as refused:
            with pytest.raises((LeaseLost, RuntimeError), match=f"{str(refused).lower()}|picture is missing"):
                self.desk(call)
        else:
            self.desk(call)

    # --- time ---

    @verb(2, data=st.data(), number=st.sampled_from([1, 1, 2, 3]), is_noticed=st.booleans())
    def lapse(self, data: st.DataObject, number: int, *, is_noticed: bool) -> None:
        """Leases end."""
        for _ in range(number):
            if entry := self.any_of(data, [e for e in self.model.jobs.values() if e.status is JobStatus.RUNNING]):
                entry.lapsed_at = next(self.dues)
                self.desk.lapse(entry.id, entry.lapsed_at)
        if is_noticed:
            self.reap()

    @verb(1, data=st.data(), is_noticed=st.booleans())
    def pass_deadline(self, data: st.DataObject, *, is_noticed: bool) -> None:
        waiting = [e for e in self.model.jobs.values() if e.has_deadline and e.status in WAITING]
        if entry := self.any_of(data, waiting):
            entry.due_at = next(self.dues)
            self.desk.pass_deadline(entry.id, entry.due_at)
        if is_noticed:
            self.reap()

    @verb(1, ago_s=st.sampled_from([LONG_S * 2, -60.0]))
    def reap_after_an_outage(self, ago_s: float) -> None:
        self.desk.sweep_was(ago_s)
        self.model.grace()
        self.sweep()

    def reap(self) -> None:
        self.desk.sweep_was(ago_s=0)
        self.sweep()

    def any_of(self, data: st.DataObject, entries: list[Entry]) -> Entry | None:
        return data.draw(st.sampled_from(entries)) if entries else None

    def sweep(self) -> None:
        sweep = self.desk(scripts.reap(lease_s=LONG_S, max_attempts=MAX_ATTEMPTS))
        assert tuple(map(list, (sweep.requeued, sweep.failed, sweep.overdue))) == self.model.reap()
        waiting = {model for model in MODEL_NAMES for lane in Lane if self.model.heads(model, lane)}
        waiting |= {entry.model for entry in self.model.queue if entry.is_beyond}
        assert set(sweep.waiting_pools) == (set() if "*" in self.model.modes else waiting)

    @verb(1, data=st.data(), number=st.integers(0, 2), is_due=st.booleans(), fate=st.sampled_from(FATES))
    def retire(self, data: st.DataObject, number: int, fate: str, *, is_due: bool) -> None:
        """Forget what is old; before the deletion of the objects can be noted, the sweeper may die."""
        for _ in range(number):
            if entry := self.any_of(data, [e for e in self.model.jobs.values() if e.status not in WAITING]):
                entry.is_old = True
                self.desk.grow_old(entry.id)
        self.clear_away(is_due=is_due, fate=fate)

    def clear_away(self, *, is_due: bool, fate: str = "gone") -> None:
        if is_due and self.model.trash:
            self.desk.make_due(self.model.trash)
            self.model.trash = dict.fromkeys(self.model.trash, True)
        retired = self.desk(scripts.retire(limit=1000))
        assert set(retired.jobs) == self.model.retire()
        assert set(retired.objects) == {name for name, due in self.model.trash.items() if due}
        objects = list(self.model.trash)
        if fate == "gone":
            self.model.discard(objects)
            self.desk(scripts.discard(objects))
        elif fate == "refused":
            self.model.postpone(objects)
            self.desk(scripts.postpone(objects, pause_s=LONG_S))

    # --- the fleet ---

    @verb(
        1,
        worker=WORKERS,
        verb=st.sampled_from(["heartbeat", "heartbeat", "heartbeat", "leave", "fail", "fall silent"]),
        of_all=st.sampled_from([None, None, None, None, None, Mode.PAUSED, Mode.DRAINED]),
        of_one=st.sampled_from([None, Mode.WORK, Mode.PAUSED, Mode.DRAINED]),
        is_known=st.booleans(),
    )
    def operate(self, worker: WorkerId, verb: str, of_all: Mode | None, of_one: Mode | None, *, is_known: bool) -> None:
        """A worker comes or goes, orders are given; each pause of all ends with the next."""
        match verb:
            case "heartbeat":
                self.fleet.heartbeat(worker, is_known=is_known)
            case "fall silent":
                self.fleet.fall_silent(worker)
            case _:
                self.fleet.leave(worker, failed=verb == "fail")
        self.fleet.direct(None, of_all or Mode.WORK)
        if of_one:
            self.fleet.direct(worker, of_one)
        if is_known:
            self.fleet.look()

    # --- always ---

    @invariant()
    def redis_holds_and_tells_what_the_model_says(self) -> None:
        wrong = differences(self.model, self.desk.client)
        assert not wrong, "\n".join(wrong)
        self.every_job_is_told_as_the_model_tells_it()
        self.the_outlook_is_the_sum()
        self.who_waits_is_told()
        self.the_history_counts_every_end()

    def every_job_is_told_as_the_model_tells_it(self) -> None:
        places = {job_id: place for name in MODEL_NAMES for job_id, place in self.places(name).items()}
        for tenant in TENANT_NAMES:
            page = self.desk(scripts.page(tenant, cursor=None, limit=1000))
            entries = sorted((e for e in self.model.jobs.values() if e.tenant == tenant), key=lambda e: -e.sequence)
            assert [job.id for job in page.jobs] == [entry.id for entry in entries]
            for job, entry in zip(page.jobs, entries, strict=True):
                place = places.get(entry.follows or entry.id, (None, 0, 0))
                assert told(job) == wanted(self.model, entry)
                assert (job.id, job.position, job.ahead_jobs, job.ahead_ms) == (entry.id, *place)
                if job.status.is_terminal:
                    assert self.ends.setdefault(job.id, job) == job
            self.who_follows_jobs_is_told_the_same(tenant, page.jobs)

    def who_follows_jobs_is_told_the_same(self, tenant: Tenant, jobs: tuple[Job, ...]) -> None:
        stands = self.desk(scripts.glance([*(job.id for job in jobs), JobId("unknown")]))
        assert [stand and (stand.version, stand.of(job)) for stand, job in zip(stands, jobs, strict=False)] == [
            (job.version, job) for job in jobs
        ]
        assert stands[len(jobs) :] == (None,)
        found = self.desk(scripts.changed(tenant, since=0))
        assert found.number == self.model.changes
        assert [change.number for change in found.changes] == sorted(self.model.jobs[job.id].change for job in jobs)
        assert {change.job.id: change.job for change in found.changes} == {job.id: job for job in jobs}

    def places(self, model: str) -> dict[JobId, tuple[int, int, int]]:
        """Each waiting job's place; how many of its lane go before it, and their work in ms."""
        found, before = dict[JobId, tuple[int, int, int]](), dict[Lane, list[int]]()
        for position, entry in enumerate(self.model.turns(model)):
            own = before.setdefault(entry.lane, [])
            place = len(own) if entry.lane is Lane.INTERACTIVE else position
            found[entry.id] = (place, len(own), sum(own))
            own.append(entry.work_ms)
        return found

    def the_outlook_is_the_sum(self) -> None:
        for model in MODEL_NAMES:
            outlook = self.desk(scripts.outlook(model))
            waits = {lane: [e.work_ms for e in self.model.queue if (e.model, e.lane) == (model, lane)] for lane in Lane}
            assert {lane: (w.jobs, w.work_ms) for lane, w in outlook.waiting.items()} == {
                lane: (len(works), sum(works)) for lane, works in waits.items()
            }
            running = [e.work_ms for e in self.model.jobs.values() if (e.model, e.status) == (model, JobStatus.RUNNING)]
            assert sorted(job.work_ms for job in outlook.running) == sorted(running)

    def who_waits_is_told(self) -> None:
        for model in MODEL_NAMES:
            for lane, told in self.desk(scripts.waiting(model)).items():
                lines = {tenant: self.model.line(model, lane, tenant) for tenant in self.model.tenants(model, lane)}
                assert {line.tenant: (line.jobs, line.work_ms) for line in told.lines} == {
                    tenant: (len(line), sum(entry.work_ms for _, _, entry in line)) for tenant, line in lines.items()
                }
                assert told.tenants == len(lines)

    def the_history_counts_every_end(self) -> None:
        for minutes in (120, 180):
            total = self.desk(scripts.history(minutes)).total()
            ends = {(lane, how): ends.jobs for lane, ended in total.items() for how, ends in ended.outcomes.items()}
            assert ends == self.model.ended

    def teardown(self) -> None:
        """When all jobs are gone, nothing of them is left."""
        for entry in list(self.model.jobs.values()):
            self.model.erase(entry.id, entry.tenant)
            self.desk(scripts.erase(entry.id, entry.tenant))
        self.reap()
        self.clear_away(is_due=True)
        self.redis_holds_and_tells_what_the_model_says()
        left = {key.split(":")[0] for key in contents(self.desk.client)}
        assert left <= KEPT | {"worker", "workers", "card", "cards", "born"}


def told(job: Job) -> dict[str, object]:
    return {
        "status": job.status,
        "version": job.version,
        "attempt": job.attempt,
        "step": job.step,
        "images": {image.index for image in job.images},
        "hold": job.hold,
        "worker": job.worker,
        "error": job.error and job.error.code,
        "lost": list(job.lost_workers),
        "reused": job.is_reused,
    }


def wanted(model: QueueModel, entry: Entry) -> dict[str, object]:
    source = model.jobs.get(entry.follows) if entry.follows else None
    return {
        "status": entry.status,
        "version": entry.version,
        "attempt": entry.attempt,
        "step": source.step if source else entry.step,
        "images": entry.images,
        "hold": model.hold(entry),
        "worker": entry.worker,
        "error": entry.error,
        "lost": entry.lost,
        "reused": entry.drawn_by is not None,
    }


def test_the_queue_does_what_its_model_does(desk: Desk) -> None:
    run_state_machine_as_test(
        cast("type[QueueMachine]", partial(QueueMachine, desk)),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            # A failure is told at once, with what repeats it: to shrink it takes minutes.
            phases=[Phase.generate, Phase.shrink] if LOOKS_LONGER else [Phase.generate],
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
            database=None,
        ),
    )
