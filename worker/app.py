"""A worker's life: announce the model, load and warm it, work shifts, hand back what is left, leave.

    source, card ──► heartbeat: warming ──► Celery worker
                                              ├─ pool's thread: load, warm ──► ready ──► shift, shift, ...
                                              └─ SIGTERM ──► draining ──► leave

Celery gives the process its signals, its reconnecting and its one pool thread, which loads the model
and then runs every shift: an engine belongs to the thread that made it.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as NotYet
from functools import cache
from typing import Any, Final, Literal, cast, final

import diffusers.utils.logging
import redis
import torch
import transformers.utils.logging
from celery import bootsteps, signals  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from celery.exceptions import WorkerShutdown  # pyright: ignore[reportMissingTypeStubs]
from celery.worker import WorkController  # pyright: ignore[reportMissingTypeStubs]
from celery.worker import state as celery_state  # pyright: ignore[reportMissingTypeStubs]

from shared.broker import WakeUps, make_app, pool_queue
from shared.compatibility import CONTRACT
from shared.connection import connect, run
from shared.contract import Batching, WorkerState
from shared.errors import CheckpointUnavailable, DarkroomError, LayoutsApart, QueueUnavailable
from shared.generation import ModelCard
from shared.keys import queue_of
from shared.logs import name_worker
from shared.object_store import ObjectStore
from shared.pools import class_in, model_in, pool_of
from shared.scripts import Mode, leave
from shared.settings import Settings, keep_compiled_code
from shared.tracing import OFF, Tracing
from shared.tuning import TuningInEffect
from shared.version import VERSION
from shared.worker_id import new_worker_id
from worker.attempts import Attempts
from worker.backlog import Backlog
from worker.counter import Counter
from worker.delivery import Delivery, Origin
from worker.duty import Duty
from worker.engine.batches import Batches
from worker.engine.card import card_of
from worker.engine.engine import Engine
from worker.engine.loras import fetch_loras
from worker.engine.model import best_device, load_model
from worker.engine.presets import chosen_presets
from worker.engine.source import Source, choose_source, fetch, notes_folder
from worker.engine.vaes import choose_vae, fetch_vae, with_vae
from worker.engine.warmup import settle_batches, warm
from worker.gauges import Gauges
from worker.heartbeat import Heartbeat
from worker.news import StopAsked
from worker.reporter import Reporter
from worker.shift import Shift
from worker.spool import Spool
from worker.storage import Storage
from worker.subscription import Subscription
from worker.sweeper import Sweeper
from worker.tasks import register
from worker.timesheet import Doing

EX_OK: Final = 0
EX_FAILURE: Final = 1
EX_HUNG: Final = 70

_logger = logging.getLogger(__name__)


@final
class Worker:
    """One process that serves one model on one device."""

    def __init__(self, settings: Settings, tracing: Tracing = OFF) -> None:
        """Find the checkpoint, without loading it. Raises CheckpointUnavailable, also for a name that means a pool."""
        self._settings = settings
        self._source: Source = choose_source(
            settings.model, cuda=torch.cuda.is_available(), cache_dir=settings.model_cache
        )
        self._vae = choose_vae(settings.vae) if settings.vae else None
        self.card: ModelCard = with_vae(chosen_presets(card_of(self._source), settings.presets), self._vae)
        self.pool = pool_of(_named_alone(self.card.id), settings.pool)
        self.id = new_worker_id()
        self._started_at_ms = time.time_ns() // 1_000_000
        self._state: Literal["warming", "ready", "draining"] = "warming"
        self._duty = Duty(attempts=Attempts(tracing, self.id))
        self._batching: tuple[Batching, ...] = ()
        self._shift: Shift | None = None
        self._tuning: TuningInEffect | None = None
        self._subscription: Subscription | None = None
        self._failure: DarkroomError | None = None
        self._exit_code = EX_OK
        self._client: redis.Redis = connect(settings)
        self._storage = Storage(ObjectStore.from_settings(settings), self._duty.meters)
        self._app = make_app(settings)
        self._wake_ups = WakeUps(settings, app=self._app)
        origin = Origin(self.card.id, self.card.revision, f"Darkroom {VERSION}")
        self._spool = Spool(settings.spool, limit_bytes=settings.spool_mb * 1_000_000)
        backlog = Backlog(self._spool, self._storage, self._duty.leases, patience_s=settings.store_patience_s)
        self._delivery = Delivery(self._client, self._storage, backlog, origin, self._duty)
        self._reporter = Reporter(self._client, self._duty.inbox)
        self._gauges = Gauges()
        self._heartbeat = Heartbeat(
            self._client,
            settings,
            self._duty,
            card=self._announced,
            state=self.state,
            on_hung=self._die_hung,
            on_apart=self._die_apart,
            on_orders=self._follow,
        )
        self._sweeper = Sweeper(self._client, settings, self._wake_ups)

    @property
    def _announced(self) -> ModelCard:
        """The card under the pool's name, by which the queue knows it."""
        return self.card.model_copy(update={"id": self.pool})

    def state(self) -> WorkerState:
        """Say what the fleet may know."""
        return WorkerState(
            id=self.id,
            state="draining" if self._duty.stop.is_asked else self._state,
            model=self.card.id,
            pool=self.pool,
            device=_device_name(),
            software_version=VERSION,
            contract=CONTRACT,
            started_at_ms=self._started_at_ms,
            jobs=len(self._duty.leases.held()),
            memory=self._gauges.memory,
            gpu=self._gauges.now,
            store_away=self._delivery.store_is_away,
            speeds=self._duty.pace.speeds,
            pace=self._duty.pace.of_jobs,
            batching=self._batching,
            tuning=self._tuning,
        )

    def run(self) -> int:
        """Work until a signal ends it; the process' exit code."""
        name_worker(self.id)
        said = {"worker": self.id, "model": self.card.id, "pool": self.pool, "device": _device_name()}
        _logger.info("starting", extra=said)
        helpers = (self._heartbeat, self._reporter, self._sweeper, self._gauges)
        for helper in helpers:
            helper.start()
        try:
            self._run_celery()
        except BaseException:
            self._exit_code = EX_FAILURE
            raise
        finally:
            self._duty.stop.ask()
            self._delivery.close()
            self._storage.close()
            self._spool.close()
            for helper in helpers:
                helper.close()
            self._leave()
            self._duty.attempts.close()
        if self._failure is not None:
            _logger.critical("%s", self._failure)
        _logger.info("stopped", extra={"worker": self.id})
        return self._exit_code

    def _run_celery(self) -> None:
        app = cast("Any", self._app)
        app.conf.task_queues = [pool_queue(self.pool)]
        register(self._app, self._work_a_shift)
        app.steps["worker"].add(_warm_up_step(self))
        cast("Any", signals).worker_shutting_down.connect(self._on_shutting_down, weak=False)
        worker = app.Worker(
            hostname=f"{self.id}@{socket.gethostname()}",
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._subscription = Subscription(worker.consumer, queue_of(self.pool))
        worker.start()
        self._exit_code = self._exit_code or worker.exitcode or EX_OK

    def warm_up(self, executor: Executor) -> None:
        """Load the model in the pool's thread; return when it is ready. Raises WorkerShutdown if that fails."""
        loading = executor.submit(self._load)
        while True:
            try:
                loading.result(timeout=0.1)
            except NotYet:
                if celery_state.should_stop is not None:
                    self._give_up_loading()
                continue
            except DarkroomError as error:
                self._failure = error
            except Exception:
                advice = "If its files are damaged or cut short, fetch them again"
                _logger.critical("%s can't be loaded. %s.", self._source.name, advice, exc_info=True)
            else:
                return
            self._exit_code = EX_FAILURE
            raise WorkerShutdown(EX_FAILURE)

    def _load(self) -> None:
        settings = self._settings
        for library in (diffusers.utils.logging, transformers.utils.logging):
            cast("Any", library).disable_progress_bar()  # a log has no use for moving bars
        begun = time.monotonic()
        if settings.compile:
            self._keep_compiled_code()
        folder = fetch(self._source, settings.model_cache)
        model = load_model(
            folder,
            self.card,
            adapters=fetch_loras(self.card, folder, settings.model_cache),
            tuning=settings.tuning,
            vae_folder=None if self._vae is None else fetch_vae(self._vae, settings.model_cache),
            vae_name=None if self._vae is None else str(self._vae),
        )
        engine = Engine(model, bulk_share=settings.bulk_percent / 100)
        self.card = model.card  # without the presets whose adapters can't be had
        self._heartbeat.announce(self._announced, engine.vocabulary)
        self._tuning = model.tuning
        _logger.info("loaded", extra={"model": self.card.id, "seconds": round(time.monotonic() - begun, 1)})
        warmth = warm(engine)
        self._duty.pace.drew(warmth.params, warmth.steps_ms)
        settle_batches(engine, notes_folder(settings.model_cache), most=settings.max_batch)
        self._batching = _batching(engine.batches)
        _logger.info("warmed", extra={"seconds": round(warmth.seconds, 1)})
        self._storage.prepare()
        self._spool.prepare()
        counter = Counter(self._client, self._wake_ups, pool=self.pool, worker=self.id, lease_s=settings.lease_s)
        self._shift = Shift(
            counter,
            engine,
            self._delivery,
            self._reporter,
            self._duty,
            drain_s=settings.drain_s,
            preview_s=settings.preview_s,
        )
        self._duty.timesheet.turn(Doing.IDLE)
        self._state = "ready"
        _logger.info("ready", extra={"worker": self.id})

    def _keep_compiled_code(self) -> None:
        """Let the next start find what the compiler makes now."""
        try:
            keep_compiled_code(notes_folder(self._settings.model_cache) / "compiled")
        except OSError as error:
            _logger.warning("compiled code is not kept for the next start: %s", error)

    def _work_a_shift(self) -> None:
        if self._shift is None:
            return
        try:
            self._shift.run()
        except Exception:
            # The engine's device is lost, or our own code is wrong: nothing in this process can be trusted.
            _logger.critical("the worker can't go on; its jobs go to others", exc_info=True)
            self._heartbeat.close()
            self._end(EX_FAILURE)

    def _on_shutting_down(self, **_: object) -> None:
        """Pass a signal on. Runs in its handler: takes no lock, does not log."""
        self._duty.stop.ask()
        self._duty.inbox.put(StopAsked())

    def _give_up_loading(self) -> None:
        """End at once: a load can't be interrupted, and nothing is held yet."""
        self._heartbeat.close()  # else it might bring the worker back after its farewell
        self._end(EX_OK)

    def _die_hung(self) -> None:
        _logger.critical("no step in %.0f s: the worker ends, its jobs go to others", self._settings.hung_step_s)
        self._end(EX_HUNG)

    def _die_apart(self, error: LayoutsApart) -> None:
        _logger.critical("%s", error)
        self._end(EX_FAILURE)

    def _end(self, exit_code: int) -> None:
        """Leave, and end without waiting for any thread; whatever happens."""
        try:
            self._exit_code = exit_code
            self._leave()
            self._duty.attempts.close()
        finally:
            os._exit(exit_code)

    def _follow(self, mode: Mode) -> None:
        """While it may begin nothing, a worker leaves the wake-ups to others."""
        if self._subscription is not None and not self._duty.stop.is_asked:
            self._subscription.keep(is_wanted=mode is Mode.WORK)

    def _leave(self) -> None:
        try:
            self._heartbeat.tell()
            run(self._client, leave(self.id, self.pool, failed=self._exit_code != EX_OK))
        except QueueUnavailable:
            _logger.warning("the queue is away, so the fleet will miss this worker only when its state lapses")


def _warm_up_step(owner: Worker) -> type:
    """Make the boot step that runs between the pool's start and the first wake-up."""

    class WarmUp(cast("Any", bootsteps).StartStopStep):
        """Loads the model before the worker takes work."""

        requires = ("celery.worker.components:Pool",)

        def start(self, parent: WorkController) -> None:
            owner.warm_up(cast("Any", parent).pool.executor)

    return WarmUp


def _batching(batches: Batches) -> tuple[Batching, ...]:
    return tuple(
        Batching(
            width=one.size.width,
            height=one.size.height,
            samples=batches.samples(one.size),
            forward_ms=dict(one.forward_ms),
        )
        for one in batches.measured
    )


def _named_alone(model: str) -> str:
    """Return a model's name that can't be taken for a pool's. Raises CheckpointUnavailable for any other."""
    if (gpu_class := class_in(model)) is not None:
        raise CheckpointUnavailable(
            f"The model is called {model}, which means the workers of the GPU class {gpu_class} that serve "
            f"{model_in(model)}. Give its folder, or the id in its darkroom.json, a name without @{gpu_class}."
        )
    return model


@cache
def _device_name() -> str:
    device = best_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
