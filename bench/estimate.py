"""How good `time_left` and `position` are: a mixed load on real servers, asked again and again, against what came true.

    python -m bench.estimate [--workers 2] [--seconds 120] [--load 0.9] [--seed 1] [--model demo]

Starts Valkey, an S3 server, a gateway and workers as processes of its own. Without `--model` the workers serve a tiny
model at the pace of `bench.paced_worker`, so that the estimate is measured and not the machine. Four tenants send jobs
of all the model's sizes, of unlike steps and numbers of pictures, in both lanes: one comes in bursts, the others all
the time. Each job is asked for its outlook when it is submitted and every `--every` seconds: the tenant `local` through
the gateway, the others as the gateway would. Prints |told - true| / true, how many ends fell into the band, and how
many jobs that waited when a place was told really began before that job.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Final

import httpx2
from redis.asyncio import Redis

from api.estimate import expected_ms
from api.outlook import Outlooks
from bench.foretold import Followed, report
from bench.site import READY_S, Site
from shared.broker import WakeUps
from shared.connection import connect_async, run_async
from shared.contract import JobBody, JobRequest
from shared.generation import ModelCard
from shared.jobs import LOCAL_TENANT, JobId, NewJob, Tenant, Terms, new_job_id
from shared.lanes import Lane
from shared.scripts import Fleet, fleet, read, submit
from shared.settings import Settings
from tests.tiny_checkpoint import make_tiny_checkpoint

TERMS: Final = Terms(keep_s=3600)
BURSTS: Final = 2
STEPS: Final = (5, 10, 20, 40)
NUM_IMAGES: Final = (1, 1, 1, 2, 4)


@dataclass(frozen=True, slots=True)
class Order:
    """A job to come."""

    at_s: float
    tenant: Tenant
    request: JobRequest


def plan(card: ModelCard, found: Fleet, *, seconds: float, load: float, seed: int) -> list[Order]:
    """Draw orders until their expected work would keep the workers busy for `load` of the time."""
    dice = random.Random(seed)
    ready = [worker for worker in found.workers if worker.state == "ready"]
    budget_ms = seconds * 1000 * load * len(ready) / mean(worker.pace for worker in ready)
    orders: list[Order] = []
    while budget_ms > 0:
        tenant = Tenant(dice.choice((LOCAL_TENANT, "ann", "bob", "bursts")))
        size = dice.choice(card.aspect_ratios).size
        request = JobRequest(
            prompt="a red circle on a blue background",
            width=size.width,
            height=size.height,
            num_inference_steps=dice.choice(STEPS),
            guidance_scale=dice.choice((card.defaults.guidance_scale, 1.0)),
            seed=len(orders),
            num_images=dice.choice(NUM_IMAGES),
            lane=Lane.BULK if tenant == "bursts" or dice.random() < 0.2 else Lane.INTERACTIVE,  # noqa: PLR2004
        )
        at_s = dice.randrange(BURSTS) * seconds / BURSTS if tenant == "bursts" else dice.uniform(0, seconds)
        orders.append(Order(at_s, tenant, request))
        budget_ms -= expected_ms(request.resolve(card, drawn_seed=0), ready)
    return sorted(orders, key=lambda order: order.at_s)


@dataclass(frozen=True, slots=True)
class Desk:
    """Where jobs are handed in and asked for: `local` at the gateway, others at the queue itself."""

    redis: Redis
    http: httpx2.AsyncClient
    outlooks: Outlooks
    wake: Callable[[str], Awaitable[None]]
    card: ModelCard

    async def submit(self, order: Order) -> JobBody:
        """Hand a job in, and hear what it is told."""
        if order.tenant == LOCAL_TENANT:
            answer = await self.http.post("/v1/jobs", json=order.request.model_dump(mode="json", exclude_none=True))
            answer.raise_for_status()
            return JobBody.model_validate_json(answer.content)
        params = order.request.resolve(self.card, drawn_seed=0)
        work_ms = expected_ms(params, (await self.outlooks.fleet()).workers)
        new = NewJob(new_job_id(), order.tenant, self.card.id, params, {}, order.request.lane, work_ms)
        job = (await run_async(self.redis, submit(new, TERMS))).job
        await self.wake(self.card.id)
        return await self.outlooks.body(job)

    async def read(self, job: JobId, tenant: Tenant) -> JobBody:
        """Ask for a job."""
        if tenant != LOCAL_TENANT:
            return await self.outlooks.body(await run_async(self.redis, read(job, tenant)))
        answer = await self.http.get(f"/v1/jobs/{job}")
        answer.raise_for_status()
        return JobBody.model_validate_json(answer.content)


async def follow(desk: Desk, order: Order, begun: float, every_s: float) -> Followed:
    """Submit a job at its time and ask for it until it has ended."""
    await asyncio.sleep(max(0.0, begun + order.at_s - time.monotonic()))
    followed = Followed(await desk.submit(order))
    followed.hear(followed.body, "at submit")
    while not followed.body.status.is_terminal:
        await asyncio.sleep(every_s)
        body = await desk.read(followed.body.id, order.tenant)
        followed.hear(body, "while running" if body.started_at else "while waiting")
    return followed


async def warm_up(desk: Desk) -> None:
    """Have each kind of picture drawn by some worker, so that all are measured."""
    kinds = [(size.size, guidance) for size in desk.card.aspect_ratios for guidance in (1.0, 2.0)]
    orders = [
        Order(0, Tenant("warm"), JobRequest(prompt="x", width=size.width, height=size.height, guidance_scale=guidance))
        for size, guidance in kinds * 2
    ]
    await asyncio.gather(*(follow(desk, order, time.monotonic(), 0.2) for order in orders))
    await asyncio.sleep(2)  # the workers tell their speeds with the next heartbeats


@asynccontextmanager
async def desk_at(settings: Settings, url: str, workers: int) -> AsyncGenerator[Desk]:
    """Wait until gateway and workers are ready, and go there."""
    redis, wake_ups = connect_async(settings), WakeUps(settings)

    async def wake(model: str) -> None:
        await asyncio.to_thread(wake_ups.send, model)

    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        give_up_at = time.monotonic() + READY_S
        while True:
            found = await run_async(redis, fleet())
            if sum(worker.state == "ready" for worker in found.workers) == workers:
                break
            if time.monotonic() > give_up_at:
                sys.exit(f"Not all workers are ready after {READY_S:g} s.")
            await asyncio.sleep(0.2)
        yield Desk(redis, http, Outlooks(redis), wake, found.cards[0])
    wake_ups.close()
    await redis.aclose()


async def replay(settings: Settings, url: str, asked: argparse.Namespace) -> list[Followed]:
    """Run the load; every job with what it was told."""
    async with desk_at(settings, url, asked.workers) as desk:
        await warm_up(desk)
        found = await run_async(desk.redis, fleet())
        orders = plan(desk.card, found, seconds=asked.seconds, load=asked.load, seed=asked.seed)
        print(
            f"{len(orders)} jobs in {asked.seconds:g} s, {asked.workers} workers of {desk.card.id}, seed {asked.seed}"
        )
        begun = time.monotonic()
        jobs = await asyncio.gather(*(follow(desk, order, begun, asked.every) for order in orders))
        served = (await run_async(desk.redis, fleet())).workers
        print("pace:", ", ".join(f"{worker.pace:.2f}" for worker in served))
        return list(jobs)


def main(words: Sequence[str] | None = None) -> None:
    """Set the stage, replay, report; `words` instead of those of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--load", type=float, default=0.9, help="part of the time that the workers would be busy")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two questions to a job")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", help="such as demo; default: a tiny one whose steps take a steady time")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="bench-estimate-") as temporary:
        folder = Path(temporary)
        model = asked.model or str(make_tiny_checkpoint(folder / "tiny"))
        with Site(folder, model=model, threads=max(1, (os.cpu_count() or 1) // asked.workers)) as site:
            url = site.gateway()
            for _ in range(asked.workers):
                site.worker("worker" if asked.model else "bench.paced_worker", wait=False)
            report(asyncio.run(replay(site.settings, url, asked)))


if __name__ == "__main__":
    main()
