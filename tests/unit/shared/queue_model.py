"""The queue said again, in the slowest and plainest way: what shared/lua is held against. Knows no Redis.

Nothing is stored that can be worked out: tags, places and holds are counted anew for each question. Time is left out:
whoever drives the model says what has lapsed, what is overdue, and what was kept long enough.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from shared.history import Outcome
from shared.jobs import Hold, JobId, JobStatus, Once, Submission, Tenant, WorkerId
from shared.lanes import Lane
from shared.scripts import Mode

WAITING = (JobStatus.QUEUED, JobStatus.RUNNING)
MAX_ATTEMPTS = 3
TICK = 16
"""Between the tags of two newcomers at the same clock."""


NEWEST = 3
"""Of the contracts that workers know."""


class Refused(Exception):
    """The reply's code."""


@dataclass
class Entry:
    """A job."""

    id: JobId
    tenant: Tenant
    model: str
    lane: Lane
    width: int
    work_ms: int
    num_images: int
    steps: int
    max_running: int
    once: Once | None
    result: str | None
    has_deadline: bool
    needs: int = 1
    sequence: int = 0
    status: JobStatus = JobStatus.QUEUED
    version: int = 1
    attempt: int = 0
    step: int = 0
    floor: int = 0
    tag: int | None = None
    """Where it first began, or was put beyond older workers; None as long as neither has happened."""
    has_begun: bool = False
    is_beyond: bool = False
    """True while it stands in no line: a worker was too old for it, and no other has come since."""
    token: str | None = None
    worker: WorkerId | None = None
    follows: JobId | None = None
    drawn_by: JobId | None = None
    images: set[int] = field(default_factory=set[int])
    lost: list[WorkerId] = field(default_factory=list[WorkerId])
    error: str | None = None
    due_at: int | None = None
    """When its deadline passed; None as long as it has not."""
    lapsed_at: int | None = None
    """When its lease ended, if nobody has noticed yet."""
    is_graced: bool = False
    is_old: bool = False
    is_set_aside: bool = False
    change: int = 0
    """The number of its last move or new picture, of all."""


@dataclass
class LaneState:
    """How far a model's lane is: the tag of its last begun job, its last newcomer's, and its own beside the other's."""

    clock: int = 0
    arrival: int = 0
    start: int = 0


@dataclass
class QueueModel:
    """All jobs, and what was used and begun so far."""

    bulk_percent: int
    jobs: dict[JobId, Entry] = field(default_factory=dict[JobId, Entry])
    queue: list[Entry] = field(default_factory=list[Entry])
    """What waits for a worker, in the order in which each began to."""
    lanes: dict[tuple[str, Lane], LaneState] = field(
        default_factory=lambda: defaultdict[tuple[str, Lane], LaneState](LaneState)
    )
    clocks: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    used: dict[tuple[str, Lane, Tenant], int] = field(
        default_factory=lambda: defaultdict[tuple[str, Lane, Tenant], int](int)
    )
    parked: set[tuple[Tenant, Lane, str]] = field(default_factory=set[tuple[Tenant, Lane, str]])
    claims: dict[str, JobId] = field(default_factory=dict[str, JobId])
    requests: dict[tuple[Tenant, str], tuple[JobId, str]] = field(
        default_factory=dict[tuple[Tenant, str], tuple[JobId, str]]
    )
    repeated: set[tuple[Tenant, str]] = field(default_factory=set[tuple[Tenant, str]])
    results: dict[tuple[Tenant, str], JobId] = field(default_factory=dict[tuple[Tenant, str], JobId])
    trash: dict[str, bool] = field(default_factory=dict[str, bool])
    """Objects to delete, and whether their time has come."""
    modes: dict[str, Mode] = field(default_factory=dict[str, Mode])
    submitted: int = 0
    changes: int = 0
    ended: Counter[tuple[Lane, Outcome]] = field(default_factory=Counter[tuple[Lane, Outcome]])

    # --- the order ---

    def line(self, model: str, lane: Lane, tenant: Tenant) -> list[tuple[int, int, Entry]]:
        """A tenant's waiting jobs as (tag, sequence, job), first to go first.

        What has begun once, or was beyond, keeps its tag. Each other begins where the one before it ends, or what was
        used, but not before the lane's clock at its coming.
        """
        finish, found = self.used[model, lane, tenant], list[tuple[int, int, Entry]]()
        for entry in self.queue:
            if (entry.model, entry.lane, entry.tenant) != (model, lane, tenant):
                continue
            tag = entry.tag
            if tag is None:
                tag = max(entry.floor, finish)
                finish = tag + entry.width
            found.append((tag, entry.sequence, entry))
        return sorted(found, key=lambda place: place[:2])

    def tenants(self, model: str, lane: Lane) -> set[Tenant]:
        return {entry.tenant for entry in self.queue if (entry.model, entry.lane) == (model, lane)}

    def heads(self, model: str, lane: Lane) -> list[tuple[int, int, Entry]]:
        """The first of each tenant who is not passed over, of what is not beyond."""
        may = [tenant for tenant in self.tenants(model, lane) if (tenant, lane, model) not in self.parked]
        lines = ([place for place in self.line(model, lane, tenant) if not place[2].is_beyond] for tenant in may)
        return sorted((line[0] for line in lines if line), key=lambda place: place[:2])

    def beyond(self, model: str, lane: Lane, needs: int) -> list[tuple[int, int, Entry]]:
        """What some worker was too old for, first to be brought back first."""
        return [place for place in self.order(model, lane) if place[2].is_beyond and place[2].needs == needs]

    def order(self, model: str, lane: Lane) -> list[tuple[int, int, Entry]]:
        """All waiting jobs of a lane."""
        lines = [self.line(model, lane, tenant) for tenant in self.tenants(model, lane)]
        return sorted((place for line in lines for place in line), key=lambda place: place[:2])

    def turns(self, model: str) -> list[Entry]:
        """In which order jobs would be claimed if nothing else happened and nobody were at a limit."""
        rehearsal = QueueModel(
            self.bulk_percent,
            queue=[replace(entry, max_running=0, due_at=None) for entry in self.queue if entry.model == model],
            parked=set(self.parked),
        )
        rehearsal.jobs = {entry.id: entry for entry in rehearsal.queue}
        rehearsal.lanes.update({name: replace(lane) for name, lane in self.lanes.items()})
        rehearsal.clocks.update(self.clocks)
        rehearsal.used.update(self.used)
        with rehearsal._changing():
            rehearsal.parked.clear()
            for entry in rehearsal.queue:
                entry.is_beyond = False
        begun = list[Entry]()
        while entry := rehearsal.claim(model, WorkerId("rehearsal"), str(len(begun))):
            begun.append(self.jobs[entry.id])
        return begun

    @contextmanager
    def _changing(self) -> Generator[None]:
        """A lane that has somebody who may go, and had nobody before, has saved up nothing."""
        before = self._lanes_that_wait()
        yield
        for model, lane in self._lanes_that_wait() - before:
            both = [self.lanes[model, Lane.INTERACTIVE].start, self.lanes[model, Lane.BULK].start]
            if not any(name == model for name, _ in before):
                self.clocks[model] = max(self.clocks[model], *both)
            self.lanes[model, lane].start = max(self.lanes[model, lane].start, self.clocks[model])

    def _lanes_that_wait(self) -> set[tuple[str, Lane]]:
        return {
            (entry.model, entry.lane)
            for entry in self.queue
            if (entry.tenant, entry.lane, entry.model) not in self.parked and not entry.is_beyond
        }

    def _rate(self, lane: Lane) -> int:
        return 100 - self.bulk_percent if lane is Lane.BULK else self.bulk_percent

    def _enqueue(self, entry: Entry) -> None:
        lane = self.lanes[entry.model, entry.lane]
        entry.floor = max(lane.clock, lane.arrival + TICK)
        with self._changing():
            self.queue.append(entry)
        places = self.line(entry.model, entry.lane, entry.tenant)
        if any(job is entry and tag == entry.floor for tag, _, job in places):
            lane.arrival = entry.floor

    def is_at_limit(self, entry: Entry) -> bool:
        running = sum(job.tenant == entry.tenant for job in self._running())
        return 0 < entry.max_running <= running

    def hold(self, entry: Entry) -> Hold | None:
        if entry.follows:
            return Hold.JOINED
        if entry.status is JobStatus.QUEUED and self.is_at_limit(entry):
            return Hold.RUNNING_LIMIT
        return None

    # --- the gateway's verbs ---

    def submit(self, new: Entry, *, max_waiting: int, max_tenant_waiting: int) -> tuple[Entry, Submission]:
        if known := self.jobs.get(new.id):
            if known.tenant != new.tenant:
                raise Refused("NOT_YOURS")
            return known, Submission.KNOWN
        if new.once and (new.tenant, new.once.key) in self.requests:
            before, fingerprint = self.requests[new.tenant, new.once.key]
            if fingerprint != new.once.fingerprint:
                raise Refused("MISMATCH")
            self.repeated.add((new.tenant, new.once.key))
            return self.jobs[before], Submission.REPEATED
        source = self._source_for(new)
        if source is None:
            self._make_room(new.tenant, max_waiting, max_tenant_waiting)
        self.submitted += 1
        new.sequence = self.submitted
        self.jobs[new.id] = new
        self._change(new)
        if new.once:
            self.requests[new.tenant, new.once.key] = (new.id, new.once.fingerprint)
        if source is None:
            if new.result:
                self.results[new.tenant, new.result] = new.id
            self._enqueue(new)
            return new, Submission.NEW
        if source.status is JobStatus.SUCCEEDED:
            self._show(new, source)
            return new, Submission.REUSED
        new.follows = source.id
        return new, Submission.JOINED

    def _source_for(self, new: Entry) -> Entry | None:
        """The job whose pictures this one can have; who is being waited for waits for none of the bulk lane."""
        source_id = self.results.get((new.tenant, new.result or ""))
        source = self.jobs[source_id] if source_id else None
        if source and source.status in WAITING and (new.lane, source.lane) == (Lane.INTERACTIVE, Lane.BULK):
            return None
        return source

    def _make_room(self, tenant: Tenant, max_waiting: int, max_tenant_waiting: int) -> None:
        if len(self.queue) >= max_waiting:
            raise Refused("FULL")
        if sum(entry.tenant == tenant for entry in self.queue) >= max_tenant_waiting:
            raise Refused("TENANT_FULL")

    def _show(self, entry: Entry, source: Entry) -> None:
        """The pictures of `source` are this job's too, which ends with it."""
        entry.drawn_by, entry.images, entry.step = source.id, set(source.images), source.steps
        self._close(entry, JobStatus.SUCCEEDED)

    def owned(self, job_id: JobId, tenant: Tenant) -> Entry:
        entry = self.jobs.get(job_id)
        if entry is None or entry.tenant != tenant:
            raise Refused("MISSING")
        return entry

    def cancel(self, job_id: JobId, tenant: Tenant) -> Entry:
        entry = self.owned(job_id, tenant)
        if entry.status in WAITING:
            self._close(entry, JobStatus.CANCELED)
        return entry

    def erase(self, job_id: JobId, tenant: Tenant) -> set[str]:
        """The objects to delete at once; those of a job that began are deleted again later, unless all went well."""
        entry = self.cancel(job_id, tenant)
        went_well = entry.status is JobStatus.SUCCEEDED and entry.attempt <= 1
        return self._forget(entry, is_due=not entry.has_begun or went_well)

    def withdraw(self, job_id: JobId, tenant: Tenant) -> bool:
        entry = self.owned(job_id, tenant)
        if entry.once and (tenant, entry.once.key) in self.repeated:
            return False
        self.erase(job_id, tenant)
        return True

    def reroute(self, job_id: JobId, source: str, to: str, work_ms: int) -> bool:
        entry = self.jobs.get(job_id)
        if entry is None or entry not in self.queue or entry.model != source:
            return False
        self.queue.remove(entry)
        entry.model, entry.work_ms, entry.tag, entry.is_beyond = to, work_ms, None, False
        self._enqueue(entry)
        self._move(entry, JobStatus.QUEUED)
        return True

    # --- a worker's verbs ---

    def is_resting(self, worker: WorkerId) -> bool:
        return "*" in self.modes or worker in self.modes

    def next_up(self, model: str, only: Lane | None = None) -> Entry | None:
        wanted = [only] if only else [Lane.INTERACTIVE, Lane.BULK]
        lanes = [lane for lane in wanted if self.heads(model, lane)]
        if not lanes:
            return None
        lane = min(lanes, key=lambda lane: (self.lanes[model, lane].start, lane is Lane.BULK))
        return self.heads(model, lane)[0][2]

    def claim(
        self, model: str, worker: WorkerId, token: str, lane: Lane | None = None, contract: int = NEWEST
    ) -> Entry | None:
        if token in self.claims:
            return self.jobs[self.claims[token]] if self.standing(self.claims[token], token) == "OK" else None
        if self.is_resting(worker):
            return None
        while entry := self._next_for(model, lane, contract):
            if entry.due_at is not None:
                self._overdue(entry)
            elif entry.needs > contract:
                self._put_beyond(entry)
            elif self.is_at_limit(entry):
                self.parked.add((entry.tenant, entry.lane, model))
            else:
                self._begin(entry)
                entry.attempt += 1
                entry.worker, entry.token = worker, token
                entry.lapsed_at = None
                self.claims[token] = entry.id
                self._move(entry, JobStatus.RUNNING)
                return entry
        return None

    def _next_for(self, model: str, only: Lane | None, contract: int) -> Entry | None:
        """Bring back the first of each that the worker knows, then say who goes next."""
        for needs in range(2, contract + 1):
            for lane in [only] if only else [Lane.INTERACTIVE, Lane.BULK]:
                for _, _, entry in self.beyond(model, lane, needs)[:1]:
                    with self._changing():
                        entry.is_beyond = False
        return self.next_up(model, only)

    def _put_beyond(self, entry: Entry) -> None:
        """Out of the way of those behind it, and charged."""
        user = (entry.model, entry.lane, entry.tenant)
        entry.tag = next(tag for tag, _, job in self.line(*user) if job is entry)
        self.used[user] = max(self.used[user], entry.tag + entry.width)
        entry.is_beyond = True

    def _begin(self, entry: Entry) -> None:
        entry.has_begun = True
        line = self.line(entry.model, entry.lane, entry.tenant)
        entry.tag = next(tag for tag, _, job in line if job is entry)
        self.queue.remove(entry)
        lane, user = self.lanes[entry.model, entry.lane], (entry.model, entry.lane, entry.tenant)
        self.used[user] = max(self.used[user], entry.tag + entry.width)
        self.clocks[entry.model] = max(self.clocks[entry.model], lane.start)
        lane.clock = max(lane.clock, entry.tag)
        lane.start += entry.work_ms * self._rate(entry.lane)

    def standing(self, job_id: JobId, token: str) -> str:
        entry = self.jobs.get(job_id)
        if entry is None:
            return "MISSING"
        if entry.status is JobStatus.CANCELED:
            return "CANCELED"
        if entry.token != token:
            return "LOST"
        return "OK" if entry.status is JobStatus.RUNNING else "ENDED"

    def held(self, job_id: JobId, token: str) -> Entry:
        if (verdict := self.standing(job_id, token)) != "OK":
            raise Refused(verdict)
        return self.jobs[job_id]

    def renew(self, job_id: JobId, token: str) -> bool:
        if self.standing(job_id, token) != "OK":
            return False
        self.jobs[job_id].lapsed_at = None
        self.jobs[job_id].is_graced = False
        return True

    def add_image(self, job_id: JobId, token: str, index: int) -> None:
        entry = self.held(job_id, token)
        if index not in entry.images:
            entry.images.add(index)
            self._change(entry)

    def finish(self, job_id: JobId, token: str) -> None:
        if self.standing(job_id, token) == "ENDED" and self.jobs[job_id].status is JobStatus.SUCCEEDED:
            return
        entry = self.held(job_id, token)
        if len(entry.images) < entry.num_images:
            raise Refused("INCOMPLETE")
        entry.step = entry.steps
        self._close(entry, JobStatus.SUCCEEDED)

    def fail(self, job_id: JobId, token: str, error: str) -> None:
        if self.standing(job_id, token) == "ENDED" and self.jobs[job_id].status is JobStatus.FAILED:
            return
        self._close(self.held(job_id, token), JobStatus.FAILED, error)

    def release(self, job_id: JobId, token: str) -> None:
        entry = self.held(job_id, token)
        entry.attempt -= 1
        self._requeue(entry)

    def _requeue(self, entry: Entry) -> None:
        entry.token = entry.worker = None
        entry.step = len(entry.images) * entry.steps // entry.num_images
        self.lanes[entry.model, entry.lane].start -= entry.work_ms * self._rate(entry.lane)
        entry.is_graced = False
        with self._changing():
            self._move(entry, JobStatus.QUEUED)
            self.queue.append(entry)
            self._unpark(entry.tenant)

    def _unpark(self, tenant: Tenant) -> None:
        self.parked = {place for place in self.parked if place[0] != tenant}

    # --- for those that are gone ---

    def grace(self) -> None:
        """Nobody could renew: leases count from now, once each."""
        for entry in self._running():
            if not entry.is_graced:
                entry.is_graced, entry.lapsed_at = True, None

    def reap(self) -> tuple[list[JobId], list[JobId], list[JobId]]:
        requeued, failed = list[JobId](), list[JobId]()
        lapsed = [(entry.lapsed_at, entry) for entry in self._running() if entry.lapsed_at is not None]
        for _, entry in sorted(lapsed, key=lambda pair: pair[0]):
            entry.lost.append(entry.worker or WorkerId(""))
            if entry.attempt < MAX_ATTEMPTS:
                self._requeue(entry)
                requeued.append(entry.id)
            else:
                entry.is_set_aside = True
                self._close(entry, JobStatus.FAILED, "worker_lost")
                failed.append(entry.id)
        waiting = [entry for entry in self.jobs.values() if entry.status in WAITING]
        overdue = [(entry.due_at, entry) for entry in waiting if entry.due_at is not None]
        ended = [entry for _, entry in sorted(overdue, key=lambda pair: pair[0])]
        for entry in ended:
            self._overdue(entry)
        return requeued, failed, [entry.id for entry in ended]

    def _running(self) -> list[Entry]:
        return [entry for entry in self.jobs.values() if entry.status is JobStatus.RUNNING]

    def _overdue(self, entry: Entry) -> None:
        was_running = entry.status is JobStatus.RUNNING
        self._close(entry, JobStatus.CANCELED if was_running else JobStatus.EXPIRED, "deadline_passed")

    def retire(self) -> set[JobId]:
        old = [entry for entry in self.jobs.values() if entry.is_old]
        for entry in old:
            self._forget(entry, is_due=True)
        return {entry.id for entry in old}

    def discard(self, objects: list[str]) -> None:
        for name in objects:
            if self.trash.get(name):
                del self.trash[name]

    def postpone(self, objects: list[str]) -> None:
        self.trash |= dict.fromkeys(objects, False)

    # --- moves ---

    def _move(self, entry: Entry, status: JobStatus) -> None:
        assert entry.status in WAITING, "an end is the end"
        entry.status = status
        entry.version += 1
        self._change(entry)

    def _change(self, entry: Entry) -> None:
        self.changes += 1
        entry.change = self.changes

    def followers(self, job_id: JobId) -> list[Entry]:
        found = [entry for entry in self.jobs.values() if entry.follows == job_id]
        return sorted(found, key=lambda entry: entry.sequence)

    def _close(self, entry: Entry, status: JobStatus, error: str | None = None) -> None:
        followers = self.followers(entry.id)
        if entry in self.queue:
            self.queue.remove(entry)
        if entry.status is JobStatus.RUNNING:
            with self._changing():
                self._unpark(entry.tenant)
        entry.follows = None
        entry.is_graced = False
        entry.error = error
        self.ended[entry.lane, Outcome.REUSED if entry.drawn_by else Outcome(status)] += 1
        self._move(entry, status)
        lent = (entry.tenant, entry.result or "")
        if status is not JobStatus.SUCCEEDED and self.results.get(lent) == entry.id:
            del self.results[lent]
        if status is JobStatus.SUCCEEDED:
            for follower in followers:
                self._show(follower, entry)
        elif status is JobStatus.FAILED:
            for follower in followers:
                self._close(follower, status, error)
        elif followers:
            first, *others = sorted(followers, key=lambda follower: follower.lane is Lane.BULK)
            first.follows = None
            self.results[first.tenant, first.result or ""] = first.id
            self._enqueue(first)
            for follower in others:
                follower.follows = first.id

    def _forget(self, entry: Entry, *, is_due: bool) -> set[str]:
        """Pictures go with the last job that shows them."""
        del self.jobs[entry.id]
        self.results = {name: job_id for name, job_id in self.results.items() if job_id != entry.id}
        forgotten = {name for name, (job_id, _) in self.requests.items() if job_id == entry.id}
        self.requests = {name: kept for name, kept in self.requests.items() if name not in forgotten}
        self.repeated -= forgotten
        drawer = entry.drawn_by or entry.id
        if any(drawer in (job.id, job.drawn_by) for job in self.jobs.values()):
            return set()
        objects = {f"images/{entry.tenant}/{drawer}/{index}.png" for index in range(entry.num_images)}
        self.trash |= dict.fromkeys(objects, is_due)
        return objects
