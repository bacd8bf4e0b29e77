"""A run from start to end: start the service, let customers order through the storm, wait, look, count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.client import Client
from shared.object_store import ObjectStore
from tests.chaos.audit import alarms, check_pictures, ended_by_two, look_for_lost
from tests.chaos.customers import Customer, Demand, Watcher
from tests.chaos.doors import Door, GatewayDoor, QueueDoor
from tests.chaos.faults import Scene
from tests.chaos.ledger import Ledger
from tests.chaos.recovery import Recoveries
from tests.chaos.report import Outcome
from tests.chaos.stack import Stack
from tests.chaos.storm import Storm
from tests.chaos.timeline import Timeline

SHARES: Final = {"local": 0.6, "ann": 0.2, "bob": 0.2}
"""Of the orders. `local` comes over HTTP, the others by the queue's scripts."""
ORDERED_WITHIN: Final = 0.6
"""Of the storm's time: faster than the workers draw, so that jobs wait."""
ORDERS_A_TENANT: Final = 1_000_000
"""Numbers, not jobs: the refused ones count."""
MAX_WAITING: Final = 80
"""So few that some orders meet a full queue."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, how long."""

    jobs: int
    storm_s: float
    seed: int
    workers: int = 3
    gateways: int = 2
    lease_s: float = 5.0
    end_limit_s: float = 300.0
    """For what is still open when the storm is over."""


def run_chaos(plan: Plan, folder: Path, checkpoint: Path, say: Callable[[str], None]) -> Outcome:
    """Run it; every process has ended when this returns or raises. `say` is told how it goes."""
    settings = {"DARKROOM_LEASE_S": str(plan.lease_s), "DARKROOM_MAX_WAITING": str(MAX_WAITING)}
    begun = time.monotonic()
    with Stack(folder, checkpoint, workers=plan.workers, gateways=plan.gateways, settings=settings) as stack:
        say(f"seed {plan.seed}: {plan.workers} workers and {plan.gateways} gateways are ready")
        doors = _doors(stack)
        try:
            return _weather(plan, stack, doors, begun, say)
        finally:
            for door in doors.values():
                door.close()


def _weather(plan: Plan, stack: Stack, doors: dict[str, Door], begun: float, say: Callable[[str], None]) -> Outcome:
    ledger, timeline = Ledger(), Timeline()
    recoveries = Recoveries(doors, timeline)
    scene = Scene(stack, doors, timeline, recoveries, plan.lease_s)
    storm = Storm(scene, f"{plan.seed} storm")
    watcher = Watcher(tuple(doors.values()), ledger)
    customers = [
        Customer(
            door,
            ledger,
            Demand(round(plan.jobs * SHARES[tenant]), plan.storm_s * ORDERED_WITHIN, f"{plan.seed} {tenant}"),
            range(at * ORDERS_A_TENANT, (at + 1) * ORDERS_A_TENANT),
        )
        for at, (tenant, door) in enumerate(doors.items())
    ]
    for thread in (watcher, *customers):
        thread.start()
    try:
        storm.rage(plan.storm_s)
        say(f"the storm is over; {len(ledger.open())} of {len(ledger.promises())} jobs are open")
        _await_ends(plan, ledger, customers)
        time.sleep(plan.lease_s + 1)  # a late worker would speak up within a lease; the watcher sees it
    finally:
        for thread in (*customers, watcher):
            thread.close()
    look_for_lost(ledger, doors)
    lines = list(stack.worker_lines())
    logged = [*lines, *(line for gateway in stack.gateways for line in gateway.log.read_text().splitlines())]
    store = ObjectStore.from_settings(stack.settings)
    pictures = check_pictures(ledger.promises(), store)
    store.close()
    return Outcome(
        seed=plan.seed,
        lease_s=plan.lease_s,
        took_s=time.monotonic() - begun,
        ledger=ledger,
        faults=timeline.counts(),
        recoveries=recoveries.all(),
        pictures=pictures,
        ended_by_two=ended_by_two(lines),
        fenced=sum("or another's by now job=" in line for line in lines),
        looks=watcher.looks,
        troubles=storm.troubles,
        alarms=alarms(logged),
    )


def _await_ends(plan: Plan, ledger: Ledger, customers: list[Customer]) -> None:
    """Wait until all is ordered and has ended, up to the limit."""
    deadline = time.monotonic() + plan.end_limit_s
    for customer in customers:
        customer.wait(max(0.0, deadline - time.monotonic()))
    while ledger.open() and time.monotonic() < deadline:
        time.sleep(0.1)


def _doors(stack: Stack) -> dict[str, Door]:
    urls = [gateway.url for gateway in stack.gateways]
    with Client(urls[0]) as client:
        card = client.models()[0]
    settings = stack.settings.model_copy(update={"max_waiting": MAX_WAITING})
    doors: list[Door] = [GatewayDoor(urls), QueueDoor(settings, "ann", card), QueueDoor(settings, "bob", card)]
    return {door.tenant: door for door in doors}
