"""Every verb of the queue in any order, on a real server, beside a plain model of it.

`DARKROOM_TEST_EXAMPLES=2000 pytest tests/unit/shared/test_scripts_machine.py` looks longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shared import scripts
from shared.call import Call
from shared.errors import IdempotencyMismatch, JobNotFound, LeaseLost, QueueFull, TenantQueueFull, WorkerNotFound
from shared.generation import GenerationParams, OutputFormat, Scheduler, Size
from shared.jobs import (
    Image,
    Job,
    JobError,
    JobId,
    JobStatus,
    Lane,
    LeaseToken,
    NewJob,
    Once,
    Tenant,
    Terms,
    WorkerId,
)
from shared.keys import DEFAULT
from shared.scripts import Lease, Mode
from tests.desk import CARD, Desk, state
from tests.unit.shared.queue_keyspace import KEPT, contents, differences
from tests.unit.shared.queue_model import MAX_ATTEMPTS, WAITING, Entry, QueueModel, Refused

EXAMPLES = int(os.environ.get("DARKROOM_TEST_EXAMPLES", "100"))
STEPS = 50

TENANT_NAMES = [Tenant("ann"), Tenant("bob"), Tenant("cid")]
MODEL_NAMES = ["small", "a/large:one"]
TENANTS = st.sampled_from(TENANT_NAMES)
MODELS = st.sampled_from(MODEL_NAMES)
WORKERS = st.sampled_from([WorkerId("w1"), WorkerId("w2")])
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


class QueueMachine(RuleBasedStateMachine):
    """The queue and its model side by side."""

    jobs = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.desk.client.flushall()  # pyright: ignore[reportUnknownMemberType]: **kwargs
        self.names = count(1)
        self.born: set[str] = set()
        self.living: set[str] = set()
        self.ends: dict[JobId, Job] = {}
        self.model = QueueModel(20)
        self.dues = count(1)
        """Ever later times, all long past: which comes first is never left to chance."""

    @initialize(bulk_percent=st.sampled_from([20, 20, 50, 1]))
    def begin(self, bulk_percent: int) -> None:
        self.model = QueueModel(bulk_percent)
        self.desk.sweep_was(ago_s=0)
        self.reap()

    # --- the gateway ---

    @rule(
        target=jobs,
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
        cancel_after_s=st.sampled_from([None, 3600]),
        once=st.none() | st.builds(Once, st.sampled_from("kl"), st.sampled_from(["f", "f", "g"])),
        result=st.none() | st.sampled_from("rst"),
    )
    def submit(
        self,
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
    ) -> tuple[JobId, Tenant]:
        if result:
            num_images = 1 if result == "r" else 2  # the digest decides what is drawn
            model = "small"
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
        new = NewJob(job_id, tenant, model, params, {}, lane, work_ms, cancel_after_s)
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
            width=max(1, round(params.cost / weight)),
            work_ms=work_ms,
            num_images=num_images,
            steps=2 * num_images,
            max_running=max_running,
            once=once,
            result=result,
            has_deadline=cancel_after_s is not None,
        )
        call = scripts.submit(new, terms, once=once, result=result)
        try:
            wanted = self.model.submit(entry, max_waiting=max_waiting, max_tenant_waiting=max_tenant_waiting)
        except Refused as refused:
            assert self.refusal(call) == str(refused)
            return job_id, tenant
        submitted = self.desk(call)
        assert (submitted.job.id, submitted.how) == (wanted[0].id, wanted[1])
        assert self.desk(call).job == submitted.job
        return submitted.job.id, tenant

    def refusal(self, call: Call[object]) -> str | None:
        try:
            self.desk(call)
        except tuple(REFUSALS) as error:
            return REFUSALS[type(error)]
        return None

    @rule(job=jobs, tenant=TENANTS)
    def cancel(self, job: tuple[JobId, Tenant], tenant: Tenant) -> None:
        job_id, _ = job
        try:
            entry = self.model.cancel(job_id, tenant)
        except Refused:
            assert self.refusal(scripts.cancel(job_id, tenant)) == "MISSING"
        else:
            assert self.desk(scripts.cancel(job_id, tenant)).status == entry.status

    @rule(job=jobs)
    def cancel_own(self, job: tuple[JobId, Tenant]) -> None:
        self.cancel(job, job[1])

    @rule(job=jobs)
    def erase(self, job: tuple[JobId, Tenant]) -> None:
        try:
            objects = self.model.erase(*job)
        except Refused:
            assert self.refusal(scripts.erase(*job)) == "MISSING"
        else:
            assert set(self.desk(scripts.erase(*job))) == objects
        assert self.refusal(scripts.read(*job)) == "MISSING"

    @rule(job=jobs)
    def withdraw(self, job: tuple[JobId, Tenant]) -> None:
        try:
            is_gone = self.model.withdraw(*job)
        except Refused:
            assert self.refusal(scripts.withdraw(*job)) == "MISSING"
        else:
            assert self.desk(scripts.withdraw(*job)) == is_gone

    # --- workers ---

    @rule(target=leases, model=MODELS, worker=WORKERS)
    def claim(self, model: str, worker: WorkerId) -> object:
        token = LeaseToken(f"t{next(self.names)}")
        claimed = self.desk(scripts.claim(model, worker, token, lease_s=LONG_S))
        entry = self.model.claim(model, worker, token)
        assert (claimed and claimed.job.id) == (entry and entry.id)
        return claimed.lease if claimed else multiple()

    @rule(lease=leases)
    def claim_again(self, lease: Lease) -> None:
        entry = self.model.claim("small", WorkerId("w1"), lease.token)
        claimed = self.desk(scripts.claim("small", WorkerId("w1"), lease.token, lease_s=LONG_S))
        assert (claimed and claimed.job.id) == (entry and entry.id)

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        held = self.model.renew(lease.job_id, lease.token)
        assert self.desk(scripts.renew([lease], lease_s=LONG_S)) == (frozenset() if held else {lease})

    @rule(lease=leases, step=st.integers(0, 2))
    def progress(self, lease: Lease, step: int) -> None:
        def told() -> None:
            entry = self.model.held(lease.job_id, lease.token)
            entry.step = max(entry.step, step)

        self.fenced(told, scripts.progress(lease, step, jpeg=b"jpeg"))

    @rule(lease=leases, index=st.integers(0, 1))
    def add_image(self, lease: Lease, index: int) -> None:
        entry = self.model.jobs.get(lease.job_id)
        num_images = entry.num_images if entry else 1

        def told() -> None:
            self.model.held(lease.job_id, lease.token).images.add(index % num_images)

        self.fenced(told, scripts.add_image(lease, picture(lease.job_id, index % num_images)))

    @rule(lease=leases)
    def finish(self, lease: Lease) -> None:
        self.fenced(lambda: self.model.finish(lease.job_id, lease.token), scripts.finish(lease))

    @rule(lease=leases)
    def draw(self, lease: Lease) -> None:
        for index in range(2):
            self.add_image(lease, index)
        self.finish(lease)

    @rule(lease=leases)
    def fail(self, lease: Lease) -> None:
        error = JobError(code="model_error", message="No.")
        self.fenced(lambda: self.model.fail(lease.job_id, lease.token, error.code), scripts.fail(lease, error))

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        self.fenced(lambda: self.model.release(lease.job_id, lease.token), scripts.release(lease))

    def fenced(self, told: Callable[[], None], call: Call[None]) -> None:
        try:
            told()
        except Refused as refused:
            with pytest.raises((LeaseLost, RuntimeError), match=f"{str(refused).lower()}|picture is missing"):
                self.desk(call)
        else:
            self.desk(call)

    # --- time ---

    @rule(data=st.data())
    def lapse(self, data: st.DataObject) -> None:
        """A lease ends."""
        if entry := self.any_of(data, [e for e in self.model.jobs.values() if e.status is JobStatus.RUNNING]):
            entry.lapsed_at = next(self.dues)
            self.desk.lapse(entry.id, entry.lapsed_at)

    @rule(data=st.data())
    def pass_deadline(self, data: st.DataObject) -> None:
        waiting = [e for e in self.model.jobs.values() if e.has_deadline and e.status in WAITING]
        if entry := self.any_of(data, waiting):
            entry.due_at = next(self.dues)
            self.desk.pass_deadline(entry.id, entry.due_at)

    @rule(data=st.data())
    def grow_old(self, data: st.DataObject) -> None:
        """A job was kept long enough."""
        if entry := self.any_of(data, [e for e in self.model.jobs.values() if e.status not in WAITING]):
            entry.is_old = True
            self.desk.grow_old(entry.id)

    def any_of(self, data: st.DataObject, entries: list[Entry]) -> Entry | None:
        return data.draw(st.sampled_from(entries)) if entries else None

    @rule()
    def reap(self) -> None:
        self.desk.sweep_was(ago_s=0)
        self.sweep()

    @rule(ago_s=st.sampled_from([LONG_S * 2, -60.0]))
    def reap_after_an_outage(self, ago_s: float) -> None:
        self.desk.sweep_was(ago_s)
        self.model.grace()
        self.sweep()

    def sweep(self) -> None:
        sweep = self.desk(scripts.reap(lease_s=LONG_S, max_attempts=MAX_ATTEMPTS))
        assert tuple(map(list, (sweep.requeued, sweep.failed, sweep.overdue))) == self.model.reap()
        waiting = {model for model in MODEL_NAMES for lane in Lane if self.model.heads(model, lane)}
        assert set(sweep.waiting_models) == (set() if "*" in self.model.modes else waiting)

    @rule(is_due=st.booleans(), loses=st.booleans())
    def retire(self, is_due: bool, loses: bool) -> None:
        """Forget what is old; `loses`: before the objects' deletion can be noted, its sweeper dies."""
        if is_due and self.model.trash:
            self.desk.make_due(self.model.trash)
            self.model.trash = dict.fromkeys(self.model.trash, True)
        retired = self.desk(scripts.retire(limit=1000))
        assert set(retired.jobs) == self.model.retire()
        assert set(retired.objects) == {name for name, due in self.model.trash.items() if due}
        if not loses:
            self.model.discard(list(self.model.trash))
            self.desk(scripts.discard([*retired.objects, *self.model.trash]))

    # --- the fleet ---

    @rule(worker=WORKERS, is_known=st.booleans())
    def heartbeat(self, worker: WorkerId, is_known: bool) -> None:
        if is_known:
            self.desk(scripts.announce(CARD))
        told = self.desk(scripts.heartbeat(state(worker), life_s=LONG_S))
        self.living.add(worker)
        self.born.add(worker)
        wanted = {self.model.modes.get("*", Mode.WORK), self.model.modes.get(worker, Mode.WORK)}
        assert told.mode is next(mode for mode in (Mode.DRAINED, Mode.PAUSED, Mode.WORK) if mode in wanted)
        assert told.is_announced or not is_known

    @rule(worker=WORKERS, failed=st.booleans())
    def leave(self, worker: WorkerId, failed: bool) -> None:
        self.desk(scripts.leave(worker, CARD.id, failed=failed))
        self.living.discard(worker)
        self.model.modes.pop(worker, None)
        if not failed:
            self.born.discard(worker)

    @rule(worker=WORKERS)
    def fall_silent(self, worker: WorkerId) -> None:
        self.desk.client.delete(f"{DEFAULT.prefix}worker:{worker}")
        self.living.discard(worker)

    @rule(worker=st.none() | WORKERS, mode=st.sampled_from([Mode.WORK, Mode.WORK, Mode.PAUSED, Mode.DRAINED]))
    def direct(self, worker: WorkerId | None, mode: Mode) -> None:
        if worker is not None and worker not in self.living:
            with pytest.raises(WorkerNotFound):
                self.desk(scripts.direct(mode, worker))
            return
        self.desk(scripts.direct(mode, worker))
        self.model.modes.pop(worker or "*", None)
        if mode is not Mode.WORK:
            self.model.modes[worker or "*"] = mode

    @rule()
    def look_at_the_fleet(self) -> None:
        fleet = self.desk(scripts.fleet())
        for worker in {name for name in self.model.modes if name != "*"} - self.living:
            del self.model.modes[worker]
        assert {worker.id for worker in fleet.workers} == self.living
        assert fleet.lost.get(CARD.id, 0) == len(self.born - self.living)
        assert dict(fleet.modes) == {name: mode for name, mode in self.model.modes.items() if name != "*"}
        assert fleet.mode == self.model.modes.get("*", Mode.WORK)

    # --- always ---

    @invariant()
    def redis_holds_and_tells_what_the_model_says(self) -> None:
        assert differences(self.model, self.desk.client) == []
        self.every_job_is_told_as_the_model_tells_it()
        self.the_outlook_is_the_sum()

    def every_job_is_told_as_the_model_tells_it(self) -> None:
        places = {job_id: place for name in MODEL_NAMES for job_id, place in self.places(name).items()}
        for tenant in TENANT_NAMES:
            page = self.desk(scripts.page(tenant, cursor=None, limit=1000))
            entries = sorted((e for e in self.model.jobs.values() if e.tenant == tenant), key=lambda e: -e.sequence)
            assert [job.id for job in page.jobs] == [entry.id for entry in entries]
            for job, entry in zip(page.jobs, entries, strict=True):
                position, ahead_ms = places.get(entry.follows or entry.id, (None, 0))
                assert told(job) == wanted(self.model, entry)
                assert (job.id, job.position, job.ahead_ms) == (entry.id, position, ahead_ms)
                if job.status.is_terminal:
                    assert self.ends.setdefault(job.id, job) == job

    def places(self, model: str) -> dict[JobId, tuple[int, int]]:
        found, ahead_ms = dict[JobId, tuple[int, int]](), 0
        for position, entry in enumerate(self.model.turns(model)):
            found[entry.id] = (position, ahead_ms)
            ahead_ms += entry.work_ms
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

    def teardown(self) -> None:
        """When all jobs are gone, nothing of them is left."""
        for entry in list(self.model.jobs.values()):
            self.model.erase(entry.id, entry.tenant)
            self.desk(scripts.erase(entry.id, entry.tenant))
        self.reap()
        self.retire(is_due=True, loses=False)
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
        lambda: QueueMachine(desk),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
