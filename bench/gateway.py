"""Requests a second: the gateway beside the least that FastAPI can answer, on the same machine in one run.

Each is served by one process of uvicorn, and pressed by as many connections, in turn; a round that the machine's host
disturbed is taken again. Each round is printed as it comes. How fast the gateway could be at most is measured too: the
same server with the same calls of Redis and nothing else (`bench.baselines.raw`).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final, cast

import psutil

from bench.host import Stolen
from bench.press import Order, Pressed
from bench.site import ROOT, Site
from bench.table import Bar, markdown
from deploy.embedded import free_port
from shared.client import Client
from shared.connection import connect, run
from shared.contract import WorkerState
from shared.generation import AspectRatio, Defaults, ModelCard, Scheduler, Size
from shared.jobs import JobId, LeaseToken, WorkerId
from shared.scripts import announce, claim, heartbeat

CONNECTIONS: Final = 32
JOBS: Final = 96
"""Of each kind but running ones, polled in turn; so many wait that a place means something."""
WORKERS: Final = tuple(WorkerId(f"bench-{number}") for number in range(8))
HELD: Final = 4
"""Jobs that each worker holds. It draws nothing: as on a busy fleet, wake-ups wait and a submit sends no other."""
MOST_STOLEN: Final = 0.02
EXTRA_S: Final = 240.0
"""For rounds that are taken again."""
STATUS: Final = Bar(0.6)
SUBMIT: Final = Bar(0.35)

SIZE: Final = Size(width=1024, height=1024)
CARD: Final = ModelCard(
    id="bench/model",
    title="Bench",
    revision="0",
    description="Nobody draws with it.",
    aspect_ratios=(AspectRatio(name="Square 1:1", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=25, guidance_scale=9.0, scheduler=Scheduler.EULER),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests that are sent in turn, and the process that answers them."""

    url: str
    requests: tuple[str, ...]
    pid: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What a round came to."""

    per_second: float
    cpu_us: float
    """Processor time of the answering process, an answer."""
    valkey_us: float
    """The same of Valkey."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int = 9
    seconds: float = 2.0


class Presser:
    """`bench.press` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def press(self, url: str, requests: Iterable[str], seconds: float) -> Pressed:
        """Press for so long. Raises RuntimeError if any answer was not a 2xx."""
        host, port = url.removeprefix("http://").split(":")
        there = tuple(request.replace("{host}", f"{host}:{port}") for request in requests)
        order = Order(host, int(port), there, CONNECTIONS, seconds)
        cast("IO[str]", self._process.stdin).write(json.dumps(asdict(order)) + "\n")
        cast("IO[str]", self._process.stdin).flush()
        pressed = Pressed(**json.loads(cast("IO[str]", self._process.stdout).readline()))
        if any(not status.startswith("2") for status in pressed.statuses):
            raise RuntimeError(f"{url} was asked {there[0]!r} and answered {pressed.statuses}")
        return pressed


@contextmanager
def presser() -> Generator[Presser]:
    """Start one."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.press"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Presser(process)
        finally:
            process.terminate()


def get(path: str) -> str:
    """Word a GET for the wire."""
    return f"GET {path} HTTP/1.1\r\nHost: {{host}}\r\nAccept: */*\r\n\r\n"


def polls(job_ids: Iterable[JobId]) -> tuple[str, ...]:
    """Word polls of these jobs."""
    return tuple(get(f"/v1/jobs/{job_id}") for job_id in job_ids)


def raw_reads(job_ids: Iterable[JobId]) -> tuple[str, ...]:
    """Word reads of these jobs by the server that does nothing else."""
    return tuple(get(f"/read/{job_id}") for job_id in job_ids)


def post(path: str) -> str:
    """Word a request for a picture for the wire, each with another prompt."""
    body = json.dumps({"prompt": "a lighthouse in a storm, oil painting {n}", "num_inference_steps": 25})
    length = len(body) - len("{n}") + 16
    head = f"POST {path} HTTP/1.1\r\nHost: {{host}}\r\nContent-Type: application/json\r\nContent-Length: {length}"
    return f"{head}\r\n\r\n{body}"


def main(folder: Path, scale: Scale) -> None:
    """Measure and print."""
    with Site(folder, model=CARD.id) as site, presser() as press, connect(site.settings) as redis:
        port = free_port()
        redis_url = site.settings.redis_url.get_secret_value()
        hello = site.start(("-m", "bench.baselines.hello", str(port), redis_url), "Uvicorn running on").pid or 0
        bare = f"http://127.0.0.1:{port}"
        raw_port = free_port()
        raw = site.start(("-m", "bench.baselines.raw", str(raw_port)), "Uvicorn running on").pid or 0
        least = f"http://127.0.0.1:{raw_port}"
        site.environment.update({"DARKROOM_MAX_WAITING": "10000000", "DARKROOM_MAX_TENANT_WAITING": "10000000"})
        gateway = site.gateway()
        pid = site.gateway_process.pid or 0
        run(redis, announce(CARD))
        for worker in WORKERS:
            state = WorkerState(
                id=worker,
                state="ready",
                model=CARD.id,
                device="none",
                software_version="0",
                started_at_ms=int(time.time() * 1000),
            )
            run(redis, heartbeat(state, life_s=3600))
        with Client(gateway) as client:
            running = [client.submit(f"a start {number}", seed=number).id for number in range(len(WORKERS) * HELD)]
            for number, worker in enumerate(WORKERS * HELD):
                run(redis, claim(CARD.id, worker, LeaseToken(f"lease-{number}"), lease_s=3600))
            ended = [client.cancel(client.submit(f"an end {number}", seed=number).id).id for number in range(JOBS)]
            queued = [client.submit(f"a queue {number}", seed=number).id for number in range(JOBS)]
        asked = {
            "hello": Asked(bare, (get("/"),), hello),
            "hello, one key of Redis": Asked(bare, (get("/one-key"),), hello),
            "hello, one task of Celery": Asked(bare, (post("/one-task"),), hello),
            "raw": Asked(least, (get("/"),), raw),
            "raw, one read of a waiting job": Asked(least, raw_reads(queued), raw),
            "raw, one read of a running job": Asked(least, raw_reads(running), raw),
            "raw, one submit": Asked(least, (post("/submit"),), raw),
            "alive": Asked(gateway, (get("/healthz"),), pid),
            "status, waiting": Asked(gateway, polls(queued), pid),
            "status, running": Asked(gateway, polls(running), pid),
            "status, ended": Asked(gateway, polls(ended), pid),
            "submit": Asked(gateway, (post("/v1/jobs"),), pid),
        }
        for one in asked.values():
            press.press(one.url, one.requests, 0.5)
        valkey = psutil.Process(site.valkey.pid or 0)
        report(*measure(press, asked, scale, valkey))


def measure(
    press: Presser, asked: Mapping[str, Asked], scale: Scale, valkey: psutil.Process
) -> tuple[list[dict[str, Speed]], int]:
    """Press each in turn, round by round; what came of each, and how many rounds were disturbed and taken again."""
    rounds: list[dict[str, Speed]] = []
    disturbed = 0
    until = time.monotonic() + scale.rounds * len(asked) * scale.seconds + EXTRA_S
    while len(rounds) < scale.rounds:
        before = Stolen.now()
        speeds = {name: speed_of(press, one, scale.seconds, valkey) for name, one in asked.items()}
        is_good = before.share_since() <= MOST_STOLEN or time.monotonic() > until
        print(f"round {len(rounds) + 1}{'' if is_good else ', disturbed'}:", _in_short(speeds), flush=True)
        if is_good:
            rounds.append(speeds)
        else:
            disturbed += 1
    return rounds, disturbed


def _in_short(speeds: Mapping[str, Speed]) -> str:
    return "; ".join(f"{name} {speed.per_second:.0f}, {speed.cpu_us:.0f} us" for name, speed in speeds.items())


def speed_of(press: Presser, asked: Asked, seconds: float, valkey: psutil.Process) -> Speed:
    """Press for so long."""
    processes = (psutil.Process(asked.pid), valkey)
    before = [sum(process.cpu_times()[:2]) for process in processes]
    pressed = press.press(asked.url, asked.requests, seconds)
    cpu_us, valkey_us = (
        (sum(process.cpu_times()[:2]) - was) / pressed.answers * 1e6
        for process, was in zip(processes, before, strict=True)
    )
    return Speed(pressed.per_second, cpu_us, valkey_us)


def report(rounds: list[dict[str, Speed]], disturbed: int) -> None:
    """Print the table: medians of the rates, and of the ratios within each round."""
    bars = {"status, waiting": STATUS, "status, running": STATUS, "status, ended": STATUS, "submit": SUBMIT}
    rows: list[tuple[object, ...]] = []
    for name in rounds[0]:
        ratios = [one[name].per_second / one["hello"].per_second for one in rounds]
        ratio = statistics.median(ratios)
        bar = bars.get(name)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rate = statistics.median(one[name].per_second for one in rounds)
        cpu = statistics.median(one[name].cpu_us for one in rounds)
        valkey = statistics.median(one[name].valkey_us for one in rounds)
        rows.append((name, rate, cpu, valkey, ratio, spread, bar.judge(ratio) if bar else None))
    print(
        f"\n{CONNECTIONS} connections, one process each, {len(rounds)} rounds, {disturbed} disturbed and taken again\n"
    )
    print(
        markdown(("", "a second", "us of processor each", "and of Valkey's", "of hello's rate", "rounds", "bar"), rows)
    )
