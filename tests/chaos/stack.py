"""The whole service on this machine, each part a process that can be killed, frozen and started again."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

from pydantic import SecretStr

from deploy.embedded import HOST, S3, Valkey, free_port
from deploy.probe import answers
from deploy.process import Process, Program
from shared.settings import Settings
from tests.servers import wait_until

ROOT: Final = Path(__file__).parents[2]
START_LIMIT_S: Final = 180.0
"""A worker imports torch, beside others that draw, on few cores."""
STOP_LIMIT_S: Final = 30.0

_ABOUT_A_JOB: Final = re.compile(r"(?P<claimed> claimed)? job=(?P<id>\w+)")


@final
class WorkerRun:
    """One life of a worker process, and what its log says."""

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        log: Path,
        before: tuple[str, ...] = (),
        *,
        root: Path = ROOT,
        module: tuple[str, ...] = ("worker",),
    ) -> None:
        """Start it, of the code in `root`; `before` stands before its command, as what takes it to another network.

        `module`: another one than the worker's own, with its words.
        """
        command = (*before, sys.executable, "-m", *module)
        self._lines: list[str] = []
        self._lock = threading.Lock()
        ready = self._is_ready
        self.process = Process(
            Program(name, command, log, ready=lambda _pid: ready(), environment=environment, cwd=root)
        )
        self.process.start()

    def lines(self) -> tuple[str, ...]:
        """All that it has logged up to now."""
        with self._lock:
            self._lines += self.process.new_lines()
            return tuple(self._lines)

    def holding(self) -> set[str]:
        """Jobs that it has claimed and, as far as it logged, not ended, lost or handed back."""
        held: set[str] = set()
        for line in self.lines():
            about = _ABOUT_A_JOB.search(line)
            if about is None:
                continue
            (held.add if about["claimed"] else held.discard)(about["id"])
        return held

    def _is_ready(self) -> bool:
        return any("ready worker=" in line for line in self.lines())


@final
class WorkerPlace:
    """A place in the fleet: a worker, and its successors after each death."""

    def __init__(self, name: str, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._environment = environment
        self._folder = folder
        self._runs: list[WorkerRun] = []
        self.in_trouble = threading.Lock()
        """Held by the fault that is about this place."""

    @property
    def run(self) -> WorkerRun:
        """The last life."""
        return self._runs[-1]

    def start(self) -> None:
        """Start a worker; it is not ready yet."""
        life = f"{self.name}-{len(self._runs)}"
        self._runs.append(WorkerRun(life, self._environment, self._folder / f"{life}.log"))

    @property
    def is_well(self) -> bool:
        """Whether it lives and has loaded its model."""
        return self.run.process.is_ready()

    def wait_ready(self) -> None:
        self.run.process.wait_ready(START_LIMIT_S)

    def lines(self) -> Iterator[str]:
        """The logs of all lives."""
        for run in self._runs:
            yield from run.lines()

    def clean_up(self) -> None:
        if self._runs:
            self.run.process.send(signal.SIGCONT)
            self.run.process.kill()


@final
class GatewayPlace:
    """A gateway, of the code in `root`, on a port that it keeps."""

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        folder: Path,
        host: str = HOST,
        *,
        port: int | None = None,
        root: Path = ROOT,
    ) -> None:
        self.port = port = port or free_port()
        self.name = name
        self.url = f"http://{host}:{port}"
        self.log = folder / f"{name}.log"
        self.process = Process(
            Program(
                name,
                (sys.executable, "-m", "api"),
                self.log,
                ready=lambda _pid: answers(f"{self.url}/healthz"),
                environment={**environment, "DARKROOM_API_HOST": host, "DARKROOM_API_PORT": str(port)},
                cwd=root,
            )
        )
        self.in_trouble = threading.Lock()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process.start()
        self.process.wait_ready(START_LIMIT_S)


@final
class Stack:
    """Redis and an object store as `make run` has them, gateways and workers."""

    def __init__(
        self, folder: Path, checkpoint: Path, *, workers: int, gateways: int, settings: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.redis = Valkey(folder / "redis")
        self.store = S3(folder / "s3")
        self.redis_in_trouble = threading.Lock()
        self.store_in_trouble = threading.Lock()
        environment = {
            "DARKROOM_REDIS_URL": self.redis.url,
            "DARKROOM_S3_ENDPOINT": self.store.endpoint,
            "DARKROOM_S3_BUCKET": self.store.bucket,
            "DARKROOM_S3_ACCESS_KEY": self.store.access_key,
            "DARKROOM_S3_SECRET_KEY": self.store.secret_key,
            "DARKROOM_MODEL": str(checkpoint),
            "OMP_NUM_THREADS": "1",  # several workers share few cores
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.settings = Settings(
            redis_url=SecretStr(self.redis.url),
            s3_endpoint=self.store.endpoint,
            s3_bucket=self.store.bucket,
            s3_access_key=SecretStr(self.store.access_key),
            s3_secret_key=SecretStr(self.store.secret_key),
        )
        self.gateways = [GatewayPlace(f"gateway-{at}", environment, folder) for at in range(gateways)]
        self.workers = [WorkerPlace(f"worker-{at}", environment, folder) for at in range(workers)]

    def __enter__(self) -> Self:
        try:
            self.redis.start()
            self.store.start()
            for worker in self.workers:
                worker.start()
            for gateway in self.gateways:
                gateway.start()
            for worker in self.workers:
                worker.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every process, whatever state it is in."""
        for worker in self.workers:
            worker.clean_up()
        for gateway in self.gateways:
            gateway.process.kill()
        self.redis.signal(signal.SIGCONT)
        self.redis.kill()
        self.store.kill()

    def worker_lines(self) -> Iterator[str]:
        """What all workers logged, in all their lives."""
        for worker in self.workers:
            yield from worker.lines()

    def wait_stopped(self, process: Process) -> None:
        """Wait until a process has ended by itself."""
        wait_until(lambda: process.pid is None, limit_s=STOP_LIMIT_S, what=f"{process.program.name} ends when told to")
