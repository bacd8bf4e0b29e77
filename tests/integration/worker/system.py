"""A whole queue for a test: real servers, real worker processes, and the shortest words to speak to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar, final

import redis

from shared import scripts
from shared.broker import WakeUps
from shared.call import Call
from shared.connection import connect, run
from shared.generation import GenerationRequest, ModelCard
from shared.jobs import LOCAL_TENANT, Job, NewJob, Terms, new_job_id
from shared.lanes import Lane
from shared.object_store import ObjectStore
from shared.settings import Settings
from shared.worker_id import is_on_this_host
from tests.servers import wait_until

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[3]
WORKER: Final = (sys.executable, "-m", "worker")
PASSED_ON: Final = (
    "s3_endpoint",
    "s3_bucket",
    "lease_s",
    "max_attempts",
    "max_batch",
    "hung_step_s",
    "drain_s",
    "store_patience_s",
    "spool_mb",
)
"""Settings that a worker is told as they are."""
LIMIT_S: Final = 300.0
"""For anything that a busy machine may take long for; nothing waits so long unless it fails."""


@final
class WorkerProcess:
    """A worker as a child."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.log_file = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended with {self.process.returncode}:\n{self.log}")
        return "ready worker=" in self.log

    def is_the_one(self, worker: str | None) -> bool:
        """Whether a job's `worker` names it."""
        return is_on_this_host(str(worker), self.process.pid)

    def wait_ready(self) -> None:
        wait_until(lambda: self.is_ready, limit_s=LIMIT_S, what="the worker is ready")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.kill()
        print(f"---- {self.log_file.name}\n{self.log}")  # noqa: T201 (pytest shows it when the test fails)


@final
class System:
    """Redis, an object store and any number of workers of one tiny model."""

    def __init__(self, settings: Settings, checkpoint: Path, folder: Path) -> None:
        self.settings = settings
        self.client: redis.Redis = connect(settings)
        self.store = ObjectStore.from_settings(settings)
        self.wake_ups = WakeUps(settings)
        self.spool = folder / "spool"
        self._checkpoint = checkpoint
        self._folder = folder
        self._workers: list[WorkerProcess] = []

    def __call__(self, call: Call[T]) -> T:
        return run(self.client, call)

    def start_worker(self, command: Sequence[str] = WORKER, **changes: object) -> WorkerProcess:
        """Start a worker; `changes` are settings that differ from the system's."""
        settings = self.settings.model_copy(update=changes)
        environment = os.environ | {
            "DARKROOM_MODEL": str(self._checkpoint) if settings.model == "auto" else settings.model,
            "DARKROOM_REDIS_URL": settings.redis_url.get_secret_value(),
            "DARKROOM_SPOOL": str(self.spool),
            "DARKROOM_MODEL_CACHE": str(self._folder / "models"),
            "OMP_NUM_THREADS": "1",  # several workers share few cores
        }
        if settings.pool is not None:
            environment["DARKROOM_POOL"] = settings.pool
        for name in PASSED_ON:
            environment[f"DARKROOM_{name.upper()}"] = str(getattr(settings, name))
        for name, secret in (("S3_ACCESS_KEY", settings.s3_access_key), ("S3_SECRET_KEY", settings.s3_secret_key)):
            if secret is not None:
                environment[f"DARKROOM_{name}"] = secret.get_secret_value()
        worker = WorkerProcess(command, environment, self._folder / f"worker-{len(self._workers)}.log")
        self._workers.append(worker)
        return worker

    def ready_worker(self, command: Sequence[str] = WORKER, **changes: object) -> WorkerProcess:
        worker = self.start_worker(command, **changes)
        worker.wait_ready()
        return worker

    @property
    def card(self) -> ModelCard:
        return self(scripts.fleet()).cards[0]

    def submit(
        self,
        *,
        wake: bool = True,
        steps: int = 3,
        num_images: int = 1,
        seed: int | None = 1,
        prompt: str = "x",
        lane: Lane = Lane.INTERACTIVE,
        preset: str | None = None,
        variation_seed: int | None = None,
    ) -> Job:
        card = self.card
        request = GenerationRequest(
            prompt=prompt,
            num_inference_steps=steps,
            num_images=num_images,
            seed=seed,
            preset=preset,
            variation_seed=variation_seed,
        )
        new = NewJob(new_job_id(), LOCAL_TENANT, card.id, request.resolve(card, drawn_seed=0), {}, lane=lane)
        job = self(scripts.submit(new, Terms(keep_s=3600))).job
        if wake:
            self.wake_ups.send(card.id)
        return job

    def read(self, job: Job) -> Job:
        return self(scripts.read(job.id, job.tenant))

    def wait_for(self, job: Job, holds: Callable[[Job], bool], what: str) -> Job:
        """Wait until the job is so; the job as it is then."""
        wait_until(lambda: holds(self.read(job)), limit_s=LIMIT_S, what=what)
        return self.read(job)

    def wait_ended(self, job: Job) -> Job:
        return self.wait_for(job, lambda now: now.status.is_terminal, "the job ends")

    def wait_drawing(self, job: Job, step: int = 2) -> Job:
        return self.wait_for(job, lambda now: now.step >= step, f"step {step} is taken")

    def close(self) -> None:
        for worker in self._workers:
            worker.clean_up()
        self.wake_ups.close()
        self.store.close()
        self.client.close()
