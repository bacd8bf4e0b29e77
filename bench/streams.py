"""A thousand open streams on one gateway: how late an event comes, what a stream weighs, what the gateway works.

    python -m bench streams

One gateway as `python -m api` starts it, the Valkey of `make run`, a process with all the readers, and here the
workers: they say what workers say, by the same verbs, for jobs that are drawn nowhere. Each running job is reported
four times a second; after 25 reports it has its picture, ends, and the next one is claimed, so that all places shift.
An event's delay is from Redis' reply to who said it to the event parsed at its reader, all on one machine with one
clock.
"""

from __future__ import annotations

import json
import resource
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections import ChainMap, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import redis

from bench.host import Stolen
from bench.site import ROOT, Site
from bench.table import markdown
from shared.call import Call
from shared.connection import connect, run
from shared.contract import WorkerState
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, OutputFormat, Scheduler, Size
from shared.jobs import LOCAL_TENANT, Image, LeaseToken, NewJob, Terms, WorkerId, image_key, new_job_id
from shared.scripts import Claimed, add_image, announce, claim, finish, heartbeat, progress, renew, submit

STREAMS: Final = 1000
WORKERS: Final = 5
REPORTS_A_SECOND: Final = 4
"""Of each running job."""
REPORTS_A_JOB: Final = 25
SETTLE_S: Final = 5.0
LEASE_S: Final = 30.0
MIB: Final = 2**20
PART: Final = 99
"""The percentile beside the median."""

SIZE: Final = Size(width=512, height=512)
CARD: Final = ModelCard(
    id="bench/streams",
    title="Streams",
    revision="0",
    description="Drawn nowhere.",
    aspect_ratios=(AspectRatio(name="Square 1:1", size=SIZE),),
    schedulers=(Scheduler.EULER,),
    defaults=Defaults(size=SIZE, num_inference_steps=25, guidance_scale=9.0, scheduler=Scheduler.EULER),
)
PARAMS: Final = GenerationParams(
    prompt="a lighthouse in a storm, oil painting",
    width=512,
    height=512,
    num_inference_steps=REPORTS_A_JOB,
    guidance_scale=9.0,
    seed=7,
    scheduler=Scheduler.EULER,
)
TERMS: Final = Terms(keep_s=3600)
JPEG: Final = secrets.token_bytes(6000)
"""As large as a preview of 256 pixels."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams, each of another job, of which so many run."""

    streams: int
    running: int
    seconds: float

    @property
    def ending(self) -> int:
        """Jobs that will have ended: as many streams more are opened, so that so many are left."""
        return round(self.running * self.seconds * REPORTS_A_SECOND / REPORTS_A_JOB) + self.running


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a load."""

    said: dict[tuple[str, str, int], float]
    """When Redis answered to a report, a picture or an end."""
    parsed: dict[tuple[str, str, int], float]
    places: int
    """`queued` events."""
    took_s: float
    """Longer than it should where the workers here could not keep up."""
    idle_mib: float
    """The gateway's memory without streams, and with them."""
    open_mib: float
    processor: float
    """The gateway's, in cores."""
    stolen: float

    def delays_ms(self, *events: str) -> list[float]:
        """How late those that came were, in order."""
        return sorted(
            1000 * (self.parsed[said] - at)
            for said, at in self.said.items()
            if said[1] in events and said in self.parsed
        )


class Player:
    """A worker that draws nothing: `running` jobs at once, each with its own turn within a quarter of a second."""

    def __init__(self, client: redis.Redis, number: int, running: int) -> None:
        self._client = client
        self._number = number
        self._running = running
        self._worker = WorkerId(f"bench-streams-{number}")
        self._jobs: deque[tuple[Claimed, int]] = deque()
        self.said: dict[tuple[str, str, int], float] = {}

    def arrive(self) -> None:
        """Be ready."""
        run(self._client, announce(CARD))
        state = WorkerState(
            id=self._worker,
            state="ready",
            model=CARD.id,
            device="none",
            software_version="0",
            started_at_ms=int(time.time() * 1000),
        )
        run(self._client, heartbeat(state, life_s=600))

    def play(self, seconds: float) -> None:
        """Claim the jobs, as if each had been begun at another time; then report, one after another, evenly."""
        for at in range(self._running):
            place = at * WORKERS + self._number
            self._jobs.append((self._claimed(), place * REPORTS_A_JOB // (self._running * WORKERS)))
        begun = renewed = time.monotonic()
        for turn in range(round(seconds * REPORTS_A_SECOND * self._running)):
            wait_s = begun + turn / (REPORTS_A_SECOND * self._running) - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            if time.monotonic() - renewed > 1:
                run(self._client, renew([claimed.lease for claimed, _ in self._jobs], lease_s=LEASE_S))
                renewed = time.monotonic()
            self._turn()

    def _turn(self) -> None:
        claimed, step = self._jobs.popleft()
        job, lease, step = claimed.job, claimed.lease, step + 1
        self._say(job.id, "progress", step, progress(lease, step, jpeg=JPEG))
        if step == REPORTS_A_JOB:
            image = Image(
                index=0,
                seed=7,
                key=image_key(job.tenant, job.id, 0, OutputFormat.PNG),
                size=SIZE,
                output_format=OutputFormat.PNG,
                num_bytes=400_000,
                sha256="ab" * 32,
            )
            self._say(job.id, "image", 0, add_image(lease, image))
            self._say(job.id, "end", 0, finish(lease))
            claimed, step = self._claimed(), 0
        self._jobs.append((claimed, step))

    def _say(self, job: str, event: str, told: int, call: Call[None]) -> None:
        run(self._client, call)
        self.said[job, event, told] = time.monotonic()

    def _claimed(self) -> Claimed:
        claimed = run(self._client, claim(CARD.id, self._worker, LeaseToken(new_job_id()), lease_s=LEASE_S))
        if claimed is None:
            raise RuntimeError("no job waits")
        return claimed


def main(folder: Path, loads: tuple[Load, ...]) -> None:
    """Measure each load on a site of its own, print the tables."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows: list[list[object]] = []
    memory: list[list[object]] = []
    for at, load in enumerate(loads):
        with Site(folder / str(at), model=CARD.id) as site, connect(site.settings) as client:
            measured = _measured(site, client, load)
        progressed, ended = measured.delays_ms("progress"), measured.delays_ms("image", "end")
        said = sum(event == "progress" for _, event, _ in measured.said)
        rows.append(
            [
                f"{load.streams:,}, {load.running} of them running",
                f"{said / measured.took_s:.0f}",
                f"{100 * len(progressed) / said:.1f} %",
                *(f"{_percentile(delays, part):.1f}" for delays in (progressed, ended) for part in (50, PART)),
                f"{measured.places / measured.took_s:.0f}",
                f"{100 * measured.processor:.0f} %",
                f"{100 * measured.stolen:.1f} %",
            ]
        )
        streams = load.streams + load.ending
        each_kib = (measured.open_mib - measured.idle_mib) / streams * 1024
        memory.append([f"{streams:,}", measured.idle_mib, measured.open_mib, f"{each_kib:.0f}"])
    head = (
        "streams",
        "reports a second",
        "told by themselves",
        "progress, ms: median",
        f"p{PART}",
        "picture and end, ms: median",
        f"p{PART}",
        "places told a second",
        "gateway, of a core",
        "taken by the host",
    )
    print(f"\n{markdown(head, rows)}")
    print(f"\n{markdown(('open streams', 'gateway without, MiB', 'with, MiB', 'KiB a stream'), memory)}")


def _measured(site: Site, client: redis.Redis, load: Load) -> Measured:
    port = int(site.gateway().rpartition(":")[2])
    gateway = psutil.Process(site.gateway_process.pid)
    players = [Player(client, number, load.running // WORKERS) for number in range(WORKERS)]
    for player in players:
        player.arrive()
    jobs = [new_job_id() for _ in range(load.streams + load.ending)]
    for job_id in jobs:
        run(client, submit(NewJob(job_id, LOCAL_TENANT, CARD.id, PARAMS, {}), TERMS))
    _warm_up(port, jobs[0])
    time.sleep(SETTLE_S)
    idle_mib = gateway.memory_info().rss / MIB
    notes = site.folder / "notes.jsonl"
    words = (sys.executable, "-m", "bench.stream_reader", str(port), str(notes))
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as readers:
        if readers.stdin is None or readers.stdout is None:
            raise RuntimeError("no pipes")
        readers.stdin.write(" ".join(jobs) + "\n")
        readers.stdin.flush()
        if readers.stdout.readline() != "open\n":
            raise RuntimeError("the streams could not be opened")
        time.sleep(SETTLE_S)
        open_mib = gateway.memory_info().rss / MIB
        before, stolen, begun = gateway.cpu_times(), Stolen.now(), time.monotonic()
        with ThreadPoolExecutor(WORKERS) as threads:  # each waits for Redis' disk by itself, as workers do
            list(threads.map(Player.play, players, [load.seconds] * len(players)))
        after, took_s = gateway.cpu_times(), time.monotonic() - begun
        taken = stolen.share_since()
        time.sleep(SETTLE_S)
        readers.stdin.close()
        readers.wait()
    parsed, places = dict[tuple[str, str, int], float](), 0
    for job, event, told, at_s in _notes(notes):
        parsed.setdefault((job, event, told), at_s)
        places += event == "queued" and begun <= at_s <= begun + took_s
    processor = (after.user + after.system - before.user - before.system) / took_s
    said = dict(ChainMap(*(player.said for player in players)))
    return Measured(said, parsed, places, took_s, idle_mib, open_mib, processor, taken)


def _warm_up(port: int, job_id: str) -> None:
    """Have the gateway import and make what its first answers need, before its memory is looked at."""
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/events"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            connection.recv(1)


def _notes(path: Path) -> Iterator[tuple[str, str, int, float]]:
    for line in path.read_text("utf-8").splitlines():
        job, event, told, at_s = json.loads(line)
        yield job, event, told, at_s


def _percentile(ordered: list[float], part: int) -> float:
    return statistics.quantiles(ordered, n=100, method="inclusive")[part - 1]
