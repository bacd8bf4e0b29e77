"""The queue's verbs with a thousand jobs waiting and with a million.

    python -m bench.queue [--jobs 1000000] [--tenants 1000] [--rounds 3000]

One Redis-compatible server as `make run` starts it holds two queues under two prefixes, and each verb is run on the
small and on the large one in turn, each time by a claim, a submit and so on, so that both stay as long as they are.
Prints the median of each verb, as a client sees it, and the large queue's ratio to the small one's, pair by pair.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import redis
from pydantic import SecretStr

from deploy.embedded import Valkey
from shared.call import PARTS, Call
from shared.connection import connect, run
from shared.generation import GenerationParams, Scheduler
from shared.jobs import JobError, LeaseToken, NewJob, Submitted, Tenant, Terms, WorkerId, new_job_id
from shared.keys import Keys
from shared.lanes import Lane
from shared.scripts import cancel, claim, fail, read, submit
from shared.settings import Settings

MODEL: Final = "bench/model"
TERMS: Final = Terms(keep_s=3600, max_waiting=100_000_000, max_tenant_waiting=100_000_000)
FILL_AT_ONCE: Final = 1000
FILL: Final = """
for at = 4, #ARGV do
  local cost, sequence = ARGV[at], redis.call('INCR', key.sequence)
  local id, tenant = string.format('%026d', sequence), 't' .. (sequence * 7919 % ARGV[2])
  redis.call('HSET', key.job(id),
    'tenant', tenant, 'model', ARGV[1], 'lane', LANES[1 + sequence % 2], 'params', ARGV[3], 'metadata', '{}',
    'num_images', 1, 'steps', 25, 'width', cost * 32, 'work_ms', math.ceil(cost / 20),
    'pictures', 'images/' .. tenant .. '/' .. id .. '/{}.png', 'keep_s', 3600, 'max_running', 0,
    'sequence', sequence, 'created_at_ms', now_ms(), 'attempt', 0, 'step', 0)
  redis.call('ZADD', key.jobs(tenant), sequence, id)
  redis.call('HSET', key.lanes(ARGV[1]), 'bulk_percent', 20)
  move(id, 'queued')
  enqueue(id)
end
"""
BULK_PART: Final = 0.5


class Queue:
    """One queue of that server, kept at its length."""

    def __init__(self, client: redis.Redis, name: str, tenants: int) -> None:
        self._client = client
        self._keys = Keys(f"{{{name}}}:")
        self._draw = random.Random(7)
        self._tenants = tenants

    def fill(self, jobs: int) -> None:
        """Have so many jobs wait: the server makes them, by the same functions that a submit calls."""
        parts = (resources.files("shared").joinpath("lua", f"{name}.lua").read_text() for name in PARTS)
        fill = cast("Any", self._client).register_script("\n".join([*parts, FILL]))
        for begun in range(0, jobs, FILL_AT_ONCE):
            count = min(FILL_AT_ONCE, jobs - begun)
            costs = [self._params().cost for _ in range(count)]
            example = self._params().model_dump_json()
            fill(keys=[self._keys.prefix], args=[MODEL, self._tenants, example, *costs])

    def _params(self) -> GenerationParams:
        draw = self._draw
        return GenerationParams(
            prompt="a lighthouse in a storm, oil painting",
            width=512,
            height=512,
            num_inference_steps=draw.choice((4, 8, 25, 50)),
            guidance_scale=7.5,
            seed=draw.randrange(2**32),
            num_images=draw.choice((1, 1, 2, 4)),
            scheduler=Scheduler.EULER,
        )

    def _submit(self) -> Call[Submitted]:
        draw, params = self._draw, self._params()
        lane = Lane.BULK if draw.random() < BULK_PART else Lane.INTERACTIVE
        new = NewJob(
            new_job_id(),
            Tenant(f"t{draw.randrange(self._tenants)}"),
            MODEL,
            params,
            {},
            lane,
            work_ms=params.cost // 20,
        )
        return submit(new, TERMS, keys=self._keys)

    def round(self) -> Iterator[tuple[str, float]]:
        """Run each verb once; name and seconds of each. As many jobs wait afterwards as before."""
        submitted, took = self._timed(self._submit())
        yield "submit", took
        claimed, took = self._timed(
            claim(MODEL, WorkerId("w"), LeaseToken(new_job_id()), lease_s=3600, keys=self._keys)
        )
        yield "claim", took
        _, took = self._timed(fail(claimed.lease, JobError(code="bench", message="."), keys=self._keys))
        yield "end", took
        job = submitted.job
        yield "read, with its place", self._timed(read(job.id, job.tenant, keys=self._keys))[1]
        submitted, _ = self._timed(self._submit())
        job = submitted.job
        yield "cancel", self._timed(cancel(job.id, job.tenant, keys=self._keys))[1]

    def _timed(self, call: Call[Any]) -> tuple[Any, float]:
        begun = time.perf_counter()
        answer = run(self._client, call)
        return answer, time.perf_counter() - begun


@contextmanager
def server() -> Generator[redis.Redis]:
    """A server of the bench's own, and a connection to it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Valkey(Path(folder) / "valkey") as valkey,
        connect(Settings(redis_url=SecretStr(valkey.url))) as client,
    ):
        yield client


def main(jobs: int = 1_000_000, tenants: int = 1_000, rounds: int = 3_000, few: int = 1_000) -> None:
    """Fill, measure, print."""
    with server() as client:
        small, large = Queue(client, "small", tenants), Queue(client, "large", tenants)
        small.fill(few)
        begun = time.monotonic()
        large.fill(jobs)
        print(f"{jobs:,} jobs of {tenants:,} tenants submitted in {time.monotonic() - begun:.0f} s")
        used = cast("Any", client).info("memory")["used_memory"]
        print(f"memory: {used / 2**30:.2f} GiB, {used / jobs:.0f} bytes a job")
        measured: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for (verb, first), (_, second) in zip(small.round(), large.round(), strict=True):
                measured.setdefault(verb, []).append((first, second))
    print(f"\n| verb, median of {rounds:,} | {few:,} waiting | {jobs:,} waiting | ratio |\n|---|---|---|---|")
    for verb, pairs in measured.items():
        first, second = (statistics.median(times) * 1e6 for times in zip(*pairs, strict=True))
        print(f"| {verb} | {first:.0f} us | {second:.0f} us | {second / first:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3_000)
    arguments = parser.parse_args()
    main(arguments.jobs, arguments.tenants, arguments.rounds)
