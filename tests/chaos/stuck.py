"""A stuck worker, twice: one that is frozen (SIGSTOP), one whose step never ends. Shows what an operator sees of it.

    python -m tests.chaos.stuck

Meanwhile a tenant orders and cancels. Exit code 1 if a job that was accepted did not end exactly once; a traceback if
something that docs/operations/drills.md promises was not seen within two minutes.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Final

import httpx2
from pydantic import SecretStr

from deploy.embedded import S3, Valkey
from shared.checks import Finding
from shared.client import Client
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.chaos.audit import check_pictures, ended_by_two, look_for_lost
from tests.chaos.customers import Customer, Demand, Watcher
from tests.chaos.doors import GatewayDoor
from tests.chaos.ledger import Ledger
from tests.chaos.stack import ROOT, START_LIMIT_S, GatewayPlace, WorkerRun
from tests.servers import wait_until
from tests.tiny_checkpoint import make_tiny_checkpoint
from ui.oversight import Watch, look

MANY: Final = 1_000_000
"""More orders than the drill takes: they end with it."""
SEEN_LIMIT_S: Final = 120.0
END_LIMIT_S: Final = 300.0
OURS: Final = "drill"
"""The visitor whose job hangs."""
HUNG_STEP_S: Final = 60
"""Half of the default, so that the drill is shorter."""
TOLD: Final = ("darkroom_workers{", "darkroom_workers_lost", "darkroom_leases_expired_total", "darkroom_jobs_running")

_BETWEEN: Final = re.compile(r"<[^>]*>|\s+")


class Drill:
    """The parts, and who orders meanwhile."""

    def __init__(self, folder: Path, checkpoint: Path, rate: float) -> None:
        self._folder = folder
        self._redis, self._store = Valkey(folder / "redis"), S3(folder / "s3")
        self._environment = {
            "DARKROOM_REDIS_URL": self._redis.url,
            "DARKROOM_S3_ENDPOINT": self._store.endpoint,
            "DARKROOM_S3_BUCKET": self._store.bucket,
            "DARKROOM_S3_ACCESS_KEY": self._store.access_key,
            "DARKROOM_S3_SECRET_KEY": self._store.secret_key,
            "DARKROOM_MODEL": str(checkpoint),
            "DARKROOM_HUNG_STEP_S": str(HUNG_STEP_S),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.gateway = GatewayPlace("gateway", self._environment, folder)
        self.workers: list[WorkerRun] = []
        self._rate = rate
        self._begun = 0.0

    def run(self) -> int:
        """Go through both; the exit code."""
        self._redis.start()
        self._store.start()
        try:
            frozen = self.start_worker("frozen")
            self.start_worker("well")
            self.gateway.start()
            for worker in self.workers:
                worker.process.wait_ready(START_LIMIT_S)
            return self._under_load(frozen)
        finally:
            for worker in self.workers:
                worker.process.send(signal.SIGCONT)
                worker.process.kill()
            self.gateway.process.kill()
            self._redis.kill()
            self._store.kill()

    def start_worker(self, name: str, *module: str) -> WorkerRun:
        run = WorkerRun(name, self._environment, self._folder / f"{name}.log", module=module or ("worker",))
        self.workers.append(run)
        return run

    def _under_load(self, frozen: WorkerRun) -> int:
        door, ledger = GatewayDoor([self.gateway.url]), Ledger()
        watcher = Watcher((door,), ledger)
        customer = Customer(door, ledger, Demand(MANY, MANY / self._rate, "stuck"), range(MANY))
        try:
            watcher.start()
            customer.start()
            self._freeze(frozen)
            self._hang()
        finally:
            customer.close()
            try:
                wait_until(lambda: not ledger.open(), limit_s=END_LIMIT_S, what="every job ends")
            finally:
                watcher.close()
        look_for_lost(ledger, {door.tenant: door})
        door.close()
        return self._count(ledger)

    def _freeze(self, worker: WorkerRun) -> None:
        say("# A worker is frozen")
        wait_until(lambda: bool(worker.holding()), limit_s=SEEN_LIMIT_S, what="it holds a job")
        worker.process.send(signal.SIGSTOP)
        self._begun = time.monotonic()
        self.say("SIGSTOP while it held a job")
        self._expect("is missed", "fell silent", of=worker)
        self.show("once it is missed")
        wait_until(self._expired, limit_s=SEEN_LIMIT_S, what="its jobs' leases are counted as expired")
        worker.process.send(signal.SIGCONT)
        self._begun = time.monotonic()
        self.say("SIGCONT")
        wait_until(
            lambda: any("another's by now" in line for line in worker.lines()),
            limit_s=SEEN_LIMIT_S,
            what="it hears that its jobs are others'",
        )
        self._quote(worker, "another's by now")
        self._expect("is back", "of which none is stuck")
        wait_until(lambda: bool(worker.holding()), limit_s=SEEN_LIMIT_S, what="it works again")
        self.say("it holds a job again")
        worker.process.send(signal.SIGSTOP)
        self._begun = time.monotonic()
        self.say("SIGSTOP again")
        self._expect("is missed", "fell silent", of=worker)
        worker.process.kill()
        self.say("SIGKILL, which ends a frozen process too")

    def _hang(self) -> None:
        say("# A step that never ends")
        folder = self._folder / "faults"
        folder.mkdir()
        worker = self.start_worker("hung", "tests.integration.worker.faulty_worker", str(folder))
        worker.process.wait_ready(START_LIMIT_S)
        job = self._give_a_job_to(worker)
        (folder / "hold").touch()
        self._begun = time.monotonic()
        self.say(f"no step of it ends any more (DARKROOM_HUNG_STEP_S={HUNG_STEP_S})")
        self._expect("is suspected", "may be stuck", of=worker)
        self.show("while it hangs")
        wait_until(lambda: worker.process.pid is None, limit_s=2 * SEEN_LIMIT_S, what="it ends itself")
        self.say(f"it ended itself, with exit code {worker.process.exit_code()}")
        self._quote(worker, "no step in")
        self._expect("is told of", "died, failed or fell silent since")
        self.show("once it has ended")
        with Client(self.gateway.url, visitor=OURS) as client:
            done = client.wait(job, timeout_s=END_LIMIT_S)
        self.say(f"the job that hung: {done.status}, attempt {done.attempt}, {len(done.images)} pictures")

    def _give_a_job_to(self, worker: WorkerRun) -> str:
        """Have it take a job that nobody cancels, while the others are paused."""
        with Client(self.gateway.url) as client:
            others = [one.id for one in client.workers().data if f"-{worker.process.pid}-" not in one.id]
            for other in others:
                client.direct_worker("pause", other)
        with Client(self.gateway.url, visitor=OURS) as client:  # another tenant's: the watcher knows its own alone
            job = client.submit("a job that hangs", num_inference_steps=20, num_images=4, reuse=False)
        wait_until(lambda: job.id in worker.holding(), limit_s=SEEN_LIMIT_S, what="it holds the job")
        with Client(self.gateway.url) as client:
            for other in others:
                client.direct_worker("resume", other)
        return job.id

    def _expect(self, what: str, words: str, *, of: WorkerRun | None = None) -> None:
        """Wait until the doctor says so."""
        told: list[Finding] = []

        def is_said() -> bool:
            told[:] = [one for one in self._findings() if words in one.found and self._is_about(one, of)]
            return bool(told)

        wait_until(is_said, limit_s=SEEN_LIMIT_S, what=f"the doctor says {words!r}")
        self.say(f"{what}: {told[0].level}: {told[0].found}")

    @staticmethod
    def _is_about(finding: Finding, worker: WorkerRun | None) -> bool:
        """An id has the process' number in its middle."""
        return worker is None or f"-{worker.process.pid}-" in finding.found

    def _findings(self) -> tuple[Finding, ...]:
        with Client(self.gateway.url) as client:
            return client.checks().data

    def _expired(self) -> bool:
        return any(
            line.startswith("darkroom_leases_expired_total") and not line.endswith(" 0.0") for line in self._metrics()
        )

    def _metrics(self) -> list[str]:
        text = httpx2.get(f"{self.gateway.url}/metrics", trust_env=False, timeout=30).text
        return [line for line in text.splitlines() if line.startswith(TOLD)]

    def show(self, when: str) -> None:
        """Show all places where an operator can look."""
        self.say(f"what is seen {when}")
        for words in (("doctor",), ("workers",)):
            command = (sys.executable, "-m", "shared.cli", "--url", self.gateway.url, *words)
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=_of_command())
            lines = [line for line in done.stdout.splitlines() if words != ("doctor",) or _is_told(line)]
            say(f"$ darkroom {' '.join(words)}    (exit code {done.returncode})", *lines)
        with Client(self.gateway.url) as client:
            boards = look(client, Watch())
        say("Operators' tab, its text:", unescape(_BETWEEN.sub(" ", boards["fleet"])).strip())
        say("/metrics:", *self._metrics())
        say("the gateway's log:", *[line for line in self.gateway.process.new_lines() if "WARNING" in line][-3:])

    def _quote(self, worker: WorkerRun, words: str) -> None:
        say("its log:", *[line for line in worker.lines() if words in line][-2:])

    def _count(self, ledger: Ledger) -> int:
        """Say what became of the promises; 1 if one was broken."""
        settings = Settings(
            s3_endpoint=self._store.endpoint,
            s3_bucket=self._store.bucket,
            s3_access_key=SecretStr(self._store.access_key),
            s3_secret_key=SecretStr(self._store.secret_key),
        )
        store = ObjectStore.from_settings(settings)
        pictures = check_pictures(ledger.promises(), store)
        store.close()
        promises = ledger.promises()
        ends = Counter(promise.last.status.value for promise in promises)
        say("# All in all", f"{len(promises)} jobs: {dict(ends)}; {pictures.checked} pictures read")
        broken = {
            "lost": [promise.last.job_id for promise in promises if promise.is_lost],
            "ended twice": [promise.last.job_id for promise in promises if promise.ended_twice],
            "ended by two workers": ended_by_two([line for run in self.workers for line in run.lines()]),
            "not right": [trouble for promise in promises for trouble in promise.troubles],
            "failed": [one.last.job_id for one in promises if one.last.error not in {None, "deadline_passed"}],
            "pictures": [*pictures.missing, *pictures.different],
        }
        say(*(f"{what}: {len(which)} {', '.join(which[:5])}" for what, which in broken.items()))
        return 1 if any(broken.values()) else 0

    def say(self, line: str) -> None:
        """Say what happens, and when: in seconds since the fault."""
        say(f"{time.monotonic() - self._begun:5.1f} s  {line}")


def main() -> int:
    """Run as told on the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.stuck", description=__doc__)
    parser.add_argument("--rate", type=float, default=1.0, help="jobs a second to be accepted (%(default)s)")
    parser.add_argument("--logs", type=Path, help="keep the logs, the queue and the pictures in this new folder")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darkroom-stuck-") as scratch:
        folder = said.logs or Path(scratch) / "run"
        folder.mkdir(parents=True)
        return Drill(folder, make_tiny_checkpoint(Path(scratch) / "tiny"), said.rate).run()


def _is_told(line: str) -> bool:
    """Of the doctor's table: what is not well, and what it says of workers."""
    return not line.startswith("ok ") or " workers " in line


def _of_command() -> Mapping[str, str]:
    return {"COLUMNS": "150", "NO_COLOR": "1", "PATH": "/usr/bin:/bin"}


def say(*lines: str) -> None:
    """Say how it goes."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
