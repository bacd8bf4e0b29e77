"""A worker process that a test can harm, and the servers' outages in the shortest words."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from shared.jobs import Job
from tests.integration.worker.system import System, WorkerProcess
from tests.servers import RedisServer


@final
class FaultyWorker:
    """A worker whose clocks jump and whose steps hang when the test says so."""

    def __init__(self, system: System, folder: Path, **changes: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        module = "tests.integration.worker.faulty_worker"
        self.child: WorkerProcess = system.start_worker((sys.executable, "-m", module, str(folder)), **changes)

    def hold(self) -> None:
        """Let no step end that begins from now on."""
        (self._folder / "hold").touch()

    def go_on(self) -> None:
        """Let the steps end."""
        (self._folder / "hold").unlink()

    def set_clock(self, off_s: float) -> None:
        """Have its clocks jump; they are then off by so much."""
        new = self._folder / "clock.new"
        new.write_text(str(off_s))
        new.replace(self._folder / "clock")

    def freeze(self) -> None:
        """Stop every thread of it at once, as a machine that sleeps does."""
        self.child.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again; it has noticed nothing."""
        self.child.process.send_signal(signal.SIGCONT)


def holder_first(job: Job, workers: tuple[FaultyWorker, FaultyWorker]) -> tuple[FaultyWorker, FaultyWorker]:
    """The worker that has the job, and the other one."""
    first, second = workers
    return (first, second) if first.child.is_the_one(job.worker) else (second, first)


@contextmanager
def frozen(server: RedisServer, for_s: float) -> Generator[None]:
    """Freeze Redis for so long; connections stay open and nothing answers."""
    server.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        yield
        time.sleep(max(0.0, begun + for_s - time.monotonic()))
    finally:
        server.signal(signal.SIGCONT)
