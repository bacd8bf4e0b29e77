"""A rolling update, and the way back: parts of an older commit and of this one side by side on one Redis, under load.

    python -m tests.chaos.upgrade --old COMMIT

Workers are replaced first, then gateways, each by SIGTERM and a start from the other code; the way back goes the other
way round. Meanwhile a tenant orders and cancels. Exit code 1 if a job that was accepted did not end exactly once.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from deploy.embedded import S3, Valkey
from shared.client import Client
from shared.errors import DarkroomError
from shared.object_store import ObjectStore
from shared.settings import Settings
from tests.chaos.audit import alarms, check_pictures, ended_by_two, look_for_lost
from tests.chaos.customers import Customer, Demand, Watcher
from tests.chaos.doors import GatewayDoor
from tests.chaos.ledger import Ledger
from tests.chaos.stack import ROOT, START_LIMIT_S, STOP_LIMIT_S, GatewayPlace, WorkerRun
from tests.servers import wait_until
from tests.tiny_checkpoint import make_tiny_checkpoint

WORKERS: Final = 2
GATEWAYS: Final = 2
MANY: Final = 1_000_000
"""More orders than any update takes: they end with it."""
END_LIMIT_S: Final = 300.0


class Fleet:
    """The parts that run now, and the logs of all that ran."""

    def __init__(self, environment: Mapping[str, str], folder: Path, code: Mapping[str, Path]) -> None:
        self._environment = environment
        self._folder = folder
        self._code = code
        self.workers: list[WorkerRun] = []
        self.gateways: list[GatewayPlace] = []
        self.all_workers: list[WorkerRun] = []
        self.logs: list[Path] = []

    def start_worker(self, version: str) -> WorkerRun:
        name = f"worker-{len(self.all_workers)}-{version}"
        run = WorkerRun(name, self._environment, self._folder / f"{name}.log", root=self._code[version])
        self.all_workers.append(run)
        return run

    def start_gateway(self, version: str, port: int | None = None) -> GatewayPlace:
        name = f"gateway-{len(self.logs)}-{version}"
        place = GatewayPlace(name, self._environment, self._folder, port=port, root=self._code[version])
        self.logs.append(place.log)
        place.start()
        return place

    def replace_worker(self, at: int, version: str) -> None:
        """End a worker as an operator does, then start its successor."""
        old = self.workers[at].process
        old.send(signal.SIGTERM)
        wait_until(lambda: old.pid is None, limit_s=STOP_LIMIT_S, what="the worker ends")
        self.workers[at] = self.start_worker(version)
        self.workers[at].process.wait_ready(START_LIMIT_S)

    def replace_gateway(self, at: int, version: str) -> None:
        old = self.gateways[at].process
        old.send(signal.SIGTERM)
        wait_until(lambda: old.pid is None, limit_s=STOP_LIMIT_S, what="the gateway ends")
        self.gateways[at] = self.start_gateway(version, self.gateways[at].port)

    def close(self) -> None:
        for run in self.all_workers:
            run.process.kill()
        for place in self.gateways:
            place.process.kill()


def main() -> int:
    """Run as told on the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.upgrade", description=__doc__)
    parser.add_argument("--old", required=True, help="the commit that is updated from")
    parser.add_argument("--rate", type=float, default=1.0, help="jobs a second to be accepted (%(default)s)")
    parser.add_argument("--logs", type=Path, help="keep the logs, the queue and the pictures in this new folder")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darkroom-upgrade-") as scratch, checkout(said.old, Path(scratch)) as old:
        folder = said.logs or Path(scratch) / "run"
        return drill(folder, make_tiny_checkpoint(Path(scratch) / "tiny"), {"old": old, "new": ROOT}, said.rate)


@contextmanager
def checkout(commit: str, scratch: Path) -> Generator[Path]:
    """Lay an older commit's files beside ours."""
    folder = scratch / "old"
    subprocess.run(
        ("git", "worktree", "add", "--detach", str(folder), commit), cwd=ROOT, check=True, capture_output=True
    )
    try:
        yield folder
    finally:
        subprocess.run(("git", "worktree", "remove", "--force", str(folder)), cwd=ROOT, check=True)


def drill(folder: Path, checkpoint: Path, code: Mapping[str, Path], rate: float) -> int:
    """Update all parts and go back, under load; the exit code."""
    redis, store = Valkey(folder / "redis"), S3(folder / "s3")
    redis.start()
    store.start()
    environment = {
        "DARKROOM_REDIS_URL": redis.url,
        "DARKROOM_S3_ENDPOINT": store.endpoint,
        "DARKROOM_S3_BUCKET": store.bucket,
        "DARKROOM_S3_ACCESS_KEY": store.access_key,
        "DARKROOM_S3_SECRET_KEY": store.secret_key,
        "DARKROOM_MODEL": str(checkpoint),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    settings = Settings(
        redis_url=SecretStr(redis.url),
        s3_endpoint=store.endpoint,
        s3_bucket=store.bucket,
        s3_access_key=SecretStr(store.access_key),
        s3_secret_key=SecretStr(store.secret_key),
    )
    fleet = Fleet(environment, folder, code)
    try:
        fleet.workers = [fleet.start_worker("old") for _ in range(WORKERS)]
        fleet.gateways = [fleet.start_gateway("old") for _ in range(GATEWAYS)]
        for worker in fleet.workers:
            worker.process.wait_ready(START_LIMIT_S)
        say(f"{WORKERS} workers and {GATEWAYS} gateways of the old version are ready")
        return under_load(fleet, settings, rate)
    finally:
        fleet.close()
        redis.kill()
        store.kill()


def under_load(fleet: Fleet, settings: Settings, rate: float) -> int:
    """Let a tenant order while parts are replaced; then wait, look and count."""
    door, ledger = GatewayDoor([gateway.url for gateway in fleet.gateways]), Ledger()
    watcher = Watcher((door,), ledger)
    customer = Customer(door, ledger, Demand(MANY, MANY / rate, "upgrade"), range(MANY))
    begun = time.monotonic()
    try:
        watcher.start()
        customer.start()
        try:
            for number in range(WORKERS):
                step(fleet, ledger, f"worker {number} is new", lambda at=number: fleet.replace_worker(at, "new"))
            for number in range(GATEWAYS):
                step(fleet, ledger, f"gateway {number} is new", lambda at=number: fleet.replace_gateway(at, "new"))
            for number in range(GATEWAYS):
                step(
                    fleet, ledger, f"gateway {number} is old again", lambda at=number: fleet.replace_gateway(at, "old")
                )
            for number in range(WORKERS):
                step(fleet, ledger, f"worker {number} is old again", lambda at=number: fleet.replace_worker(at, "old"))
        finally:
            customer.close()
        wait_until(lambda: not ledger.open(), limit_s=END_LIMIT_S, what="every job ends")
    finally:
        customer.close()
        watcher.close()
    look_for_lost(ledger, {door.tenant: door})
    door.close()
    return count(fleet, settings, ledger, time.monotonic() - begun)


def step(fleet: Fleet, ledger: Ledger, what: str, act: Callable[[], None]) -> None:
    """Replace a part and say how the jobs stand."""
    begun = time.monotonic()
    act()
    promises = ledger.promises()
    done = sum(promise.last.status.is_terminal for promise in promises)
    say(f"{what} after {time.monotonic() - begun:.1f} s; {done} of {len(promises)} jobs have ended; {mixed(fleet)}")


def mixed(fleet: Fleet) -> str:
    """Say what the service itself tells of who lives; an old gateway tells nothing of parts."""
    with Client(fleet.gateways[0].url) as client:
        try:
            found = client.workers()
        except DarkroomError as error:
            return str(error)
    kinds = Counter(str(part.kind) for part in found.parts)
    return f"{len(found.data)} workers live, parts that say so: {dict(kinds) or 'none told'}"


def count(fleet: Fleet, settings: Settings, ledger: Ledger, took_s: float) -> int:
    """Say what became of the promises; 1 if one was broken."""
    lines = [line for run in fleet.all_workers for line in run.lines()]
    logged = [*lines, *(line for log in fleet.logs for line in log.read_text().splitlines())]
    store = ObjectStore.from_settings(settings)
    pictures = check_pictures(ledger.promises(), store)
    store.close()
    promises = ledger.promises()
    ends = Counter(promise.last.status.value for promise in promises)
    say(f"{len(promises)} jobs in {took_s:.0f} s: {dict(ends)}; {pictures.checked} pictures read")
    say(f"submits refused: {dict(ledger.refusals())}")
    broken = {
        "lost": [promise.last.job_id for promise in promises if promise.is_lost],
        "ended twice": [promise.last.job_id for promise in promises if promise.ended_twice],
        "ended by two workers": ended_by_two(lines),
        "not right": [trouble for promise in promises for trouble in promise.troubles],
        "failed": [promise.last.job_id for promise in promises if promise.last.error not in {None, "deadline_passed"}],
        "pictures": [*pictures.missing, *pictures.different],
        "alarms": alarms(logged),
    }
    for what, which in broken.items():
        say(f"{what}: {len(which)}{': ' if which else ''}{', '.join(which[:5])}")
    return 1 if any(broken.values()) else 0


def say(line: str) -> None:
    """Say how it goes."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
