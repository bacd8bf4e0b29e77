"""`darkroom workers`, `queue`, `pause`, `resume`, `drain`: for operators."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.table import Table

from shared.cli import words
from shared.cli.session import session_of
from shared.client import Order
from shared.lanes import Lane
from shared.oversight import QueueBody, WorkerBody, WorkerList

OPERATORS: Final = "For operators"
WORKER = Annotated[str | None, typer.Argument(help="A worker's id, from `darkroom workers`. Without: all of them.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (workers, queue, pause, resume, drain):
        app.command(rich_help_panel=OPERATORS)(command)


def workers(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """List the living workers: what each serves, holds and shall do."""
    session = session_of(context)
    found = session.client.workers()
    session.show(found, lambda: _workers(found), as_json=as_json)


def queue(context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Tell what waits and runs for each model, and who works on it."""
    session = session_of(context)
    found = session.client.queue()
    session.show(found, lambda: _queue(found), as_json=as_json)


def pause(context: typer.Context, worker: WORKER = None) -> None:
    """Let workers begin nothing more. Jobs are accepted meanwhile, and wait."""
    _direct(context, "pause", worker)


def resume(context: typer.Context, worker: WORKER = None) -> None:
    """Let workers work again. One that was paused by itself is resumed by itself."""
    _direct(context, "resume", worker)


def drain(context: typer.Context, worker: WORKER = None) -> None:
    """Let workers begin nothing more, and hand back what takes long: before an update, say."""
    _direct(context, "drain", worker)


def _direct(context: typer.Context, order: Order, worker: str | None) -> None:
    session = session_of(context)
    if worker is None:
        session.tell(f"all workers: {session.client.direct_all(order).mode}")
    else:
        body = session.client.direct_worker(order, worker)
        session.tell(f"{body.id}: {body.mode}")


def _workers(found: WorkerList) -> Table:
    table = Table(box=None, pad_edge=False, title=None if found.mode == "work" else f"all workers: {found.mode}")
    for name in ("WORKER", "STATE", "SHALL", "JOBS", "VERSION", "MODEL", "DEVICE"):
        gives_way = name in {"MODEL", "DEVICE"}
        table.add_column(name, justify="right" if name == "JOBS" else "left", overflow="fold", no_wrap=not gives_way)
    for worker in found.data:
        state = f"{worker.state}, store away" if worker.store_away else worker.state
        table.add_row(worker.id, state, worker.mode, str(worker.jobs), _version(worker), worker.model, _device(worker))
    return table


def _device(worker: WorkerBody) -> str:
    busy = None if worker.gpu is None else worker.gpu.utilization
    return worker.device if busy is None else f"{worker.device}, {busy:.0%} busy"


def _version(worker: WorkerBody) -> str:
    return f"{worker.software_version} ({worker.contract})"


def _queue(found: QueueBody) -> Table:
    table = Table(box=None, pad_edge=False, title=None if found.mode == "work" else f"all workers: {found.mode}")
    for name in ("MODEL", "INTERACTIVE", "BULK", "RUNNING", "WORKERS"):
        table.add_column(name, overflow="fold", no_wrap=name not in {"MODEL", "WORKERS"})
    for pool in found.models:
        lanes = [pool.waiting.get(lane) for lane in (Lane.INTERACTIVE, Lane.BULK)]
        waiting = [
            "0" if lane is None or not lane.jobs else f"{lane.jobs} ({words.duration(lane.work_s)})" for lane in lanes
        ]
        who = ", ".join(f"{number} {state}" for state, number in pool.workers.items() if number) or "none"
        table.add_row(pool.model, *waiting, str(pool.running), who)
    return table
