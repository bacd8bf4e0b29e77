"""A worker without its process, for the shift's tests: real Redis, real object store, an engine of the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import redis

from shared import scripts
from shared.broker import WakeUps
from shared.connection import connect, run
from shared.contract import WorkerState
from shared.generation import AspectRatio, Defaults, GenerationRequest, ModelCard, Scheduler, Size
from shared.jobs import LOCAL_TENANT, Job, NewJob, Terms, WorkerId, new_job_id
from shared.lanes import Lane
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.integration.worker.engines import (
    SteadyEngine,
)
from tests.servers import wait_until
from worker.backlog import Backlog
from worker.counter import Counter
from worker.delivery import Delivery, Origin
from worker.duty import Duty
from worker.heartbeat import Heartbeat
from worker.reporter import Reporter
from worker.shift import Shift
from worker.spool import Spool
from worker.storage import Storage

LIMIT_S: Final = 60.0
SIZE = Size(width=64, height=64)
CARD = ModelCard(
    id="test/grey",
    title="Grey",
    revision="0",
    description="",
    aspect_ratios=(AspectRatio(name="Square", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=4, guidance_scale=5, scheduler=Scheduler.EULER),
)


class Bench:
    """A worker without its process: the shift runs in the test's thread, or in one of its own."""

    def __init__(self, settings: Settings, engine: SteadyEngine) -> None:
        self.settings = settings
        self.engine = engine
        engine.most_rows = settings.max_batch
        self.duty = Duty()
        self.client: redis.Redis = connect(settings)
        self.store = ObjectStore.from_settings(settings)
        self.storage = Storage(self.store)
        self.wake_ups = WakeUps(settings)
        self.hung = threading.Event()
        origin = Origin(CARD.id, CARD.revision, "test")
        self.spool = Spool(settings.spool, limit_bytes=settings.spool_mb * 1_000_000)
        self.spool.prepare()
        backlog = Backlog(self.spool, self.storage, self.duty.leases, patience_s=settings.store_patience_s)
        self.delivery = Delivery(self.client, self.storage, backlog, origin, self.duty)
        self.reporter = Reporter(self.client, self.duty.inbox)
        self.heartbeat = Heartbeat(self.client, settings, self.duty, card=CARD, state=state, on_hung=self.hung.set)
        counter = Counter(self.client, self.wake_ups, pool=CARD.id, worker=WorkerId("w"), lease_s=settings.lease_s)
        self.shift = Shift(
            counter,
            engine,
            self.delivery,
            self.reporter,
            self.duty,
            drain_s=settings.drain_s,
            preview_s=settings.preview_s,
        )
        self.reporter.start()
        self.heartbeat.start()
        self._thread = threading.Thread(target=self.shift.run)

    def submit(
        self, prompt: str = "a cat", *, steps: int = 4, num_images: int = 1, lane: Lane = Lane.INTERACTIVE
    ) -> Job:
        request = GenerationRequest(prompt=prompt, num_inference_steps=steps, num_images=num_images)
        new = NewJob(new_job_id(), LOCAL_TENANT, CARD.id, request.resolve(CARD, drawn_seed=1), {}, lane)
        return run(self.client, scripts.submit(new, Terms(keep_s=60))).job

    def read(self, job: Job) -> Job:
        return run(self.client, scripts.read(job.id, job.tenant))

    def begin(self) -> None:
        """Run the shift beside the test."""
        self._thread.start()

    def end(self) -> None:
        """Wait until the shift is over."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def wait_for(self, job: Job, holds: Callable[[Job], bool], what: str) -> Job:
        wait_until(lambda: holds(self.read(job)), limit_s=LIMIT_S, what=what)
        return self.read(job)

    def close(self) -> None:
        self.engine.may_step.set()
        self.duty.stop.ask()
        self.duty.stop.ask()
        if self._thread.ident is not None:
            self._thread.join(LIMIT_S)
        self.delivery.close()
        self.storage.close()
        self.spool.close()
        self.reporter.close()
        self.heartbeat.close()
        self.wake_ups.close()
        self.store.close()
        self.client.close()


def state() -> WorkerState:
    return WorkerState(id="w", state="ready", model=CARD.id, device="test", software_version="0", started_at_ms=0)
