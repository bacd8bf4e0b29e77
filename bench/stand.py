"""The Redis that is measured, with its fleet and those who listen; and what is measured of it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final, Literal

import redis
from pydantic import SecretStr

from bench.callers import Callers, listening
from bench.host import Stolen
from bench.piped import Piped
from bench.price import Mix, Verb
from bench.spent import Spent
from bench.streams import CARD
from bench.whole_jobs import LEASE_S, Ran, Run, state_of
from deploy.embedded import Valkey
from shared.call import Call
from shared.connection import connect, run
from shared.keys import DEFAULT
from shared.scripts import announce, heartbeat
from shared.settings import Settings

CONNECTIONS: Final = 32
PRESSED_BY: Final = 128
"""Connections of each process that has whole jobs done: enough to keep the server busy while its disk is waited for."""
GATEWAYS: Final = 4
SHARE_ALONE: Final = 0.2
WHOLE: Final = Mix()
PART: Final = 99
"""The percentile beside the median."""
FSYNCS: Final = 50


@dataclass(frozen=True, slots=True)
class Rate:
    """What came of whole jobs at a rate."""

    offered: float | None
    done: float
    cores: float
    each_ms: float
    """Processor time of the server, a job."""
    together: float
    median_ms: float
    p99_ms: float
    clients: float
    """Processors that those who asked kept busy."""
    stolen: float


class Stand:
    """The server, who listens, and what was measured of it."""

    def __init__(self, url: str, client: redis.Redis, workers: int) -> None:
        self.url = url
        self.client = client
        self.verbs: dict[str, Verb] = {}
        self._workers = workers

    def cost(self, name: str, calls: Iterable[Call[Any]]) -> list[Any]:
        """Measure a verb by these calls; what they come to."""
        calls = list(calls)
        few = max(1, round(SHARE_ALONE * len(calls)))
        with Callers(self.url, 1) as one, Callers(self.url, CONNECTIONS) as many:
            before = Spent.now(self.client)
            answers = one.ask_all(calls[:few])
            alone = Spent.now(self.client)
            answers += many.ask_all(calls[few:])
            busy = Spent.now(self.client).since(alone)
        alone = alone.since(before)
        rest = len(calls) - few
        self.verbs[name] = Verb(
            alone_us=alone.cpu_s / few * 1e6,
            busy_us=busy.cpu_s / rest * 1e6,
            together=rest / busy.turns,
            log_bytes=busy.log_bytes / rest,
            in_bytes=busy.in_bytes / rest,
            out_bytes=busy.out_bytes / rest,
        )
        return answers

    def do(self, calls: Iterable[Call[Any]]) -> list[Any]:
        """Ask without measuring."""
        with Callers(self.url, CONNECTIONS) as callers:
            return callers.ask_all(calls)

    def memory(self) -> int:
        """What the server's data take."""
        return Spent.now(self.client).memory_bytes

    def rate(self, pressers: Sequence[Piped], jobs: int, per_second: float | None) -> Rate:
        """Have whole jobs done, by all pressers at once."""
        share = per_second / len(pressers) if per_second else None
        order = Run(jobs // len(pressers), share, PRESSED_BY, self._workers, WHOLE)
        stolen, begun, before = Stolen.now(), monotonic(), Spent.now(self.client)
        for presser in pressers:
            presser.say(dumps(asdict(order)))
        came = [Ran(**loads(presser.hear())) for presser in pressers]
        took_s, spent = monotonic() - begun, Spent.now(self.client).since(before)
        done = order.jobs * len(pressers)
        late = sorted(late for one in came for late in one.late_s)
        busy_s = max(one.took_s for one in came)
        return Rate(
            offered=per_second,
            done=done / busy_s,
            cores=spent.cpu_s / took_s,
            each_ms=spent.cpu_s / done * 1e3,
            together=done * sum(WHOLE.calls.values()) / spent.turns,
            median_ms=statistics.median(late) * 1e3,
            p99_ms=statistics.quantiles(late, n=100, method="inclusive")[PART - 1] * 1e3,
            clients=sum(one.cpu_s for one in came) / took_s,
            stolen=stolen.share_since(),
        )


@contextmanager
def standing(folder: Path, fsync: Literal["always", "no"], workers: int) -> Generator[Stand]:
    """Start a server whose fleet lives, and to which gateways listen."""
    # Its log is not rewritten meanwhile, so that its growth is what was written.
    options = {"auto-aof-rewrite-percentage": "0", "appendfsync": fsync}
    with (
        Valkey(folder, options=options) as valkey,
        connect(Settings(redis_url=SecretStr(valkey.url))) as client,
        listening(valkey.url, DEFAULT.changes, GATEWAYS),
    ):
        stand = Stand(valkey.url, client, workers)
        run(client, announce(CARD))
        stand.do(heartbeat(state_of(number), life_s=LEASE_S) for number in range(workers))
        yield stand


def fsync_ms(folder: Path) -> float:
    """How long the folder's disk takes to have a few bytes for good, the median."""
    took: list[float] = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 4096)
            begun = perf_counter()
            os.fsync(file.fileno())
            took.append(perf_counter() - begun)
    return statistics.median(took) * 1e3
