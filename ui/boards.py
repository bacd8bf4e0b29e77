"""What operators see, as HTML: the fleet, the queue, what failed, how jobs ended. Knows no gateway and no Gradio.

Each board is the inside of a section; `ui/static/control_room.js` puts it there with as little change as will do. A
button says what it asks for by `data-order`, `data-resend`, `data-failed` or `data-minutes`. No prompt is ever shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final

from shared.contract import Memory, Speed
from shared.lanes import Lane
from shared.oversight import (
    FailedJob,
    HistoryBody,
    LaneBody,
    PoolBody,
    QueueBody,
    WorkerBody,
    WorkerList,
)
from ui.durations import seconds
from ui.plots import bars, lines
from ui.trends import SPANS, back, figures, throughput, waiting

SHELL: Final = (
    '<div id="control-room"><div id="board-notice" role="status"></div>'
    '<section id="board-fleet" class="board" aria-label="Workers"></section>'
    '<section id="board-queue" class="board" aria-label="Queue"></section>'
    '<section id="board-failed" class="board" aria-label="Failed jobs"></section>'
    '<section id="board-history" class="board" aria-label="Throughput and waiting"></section></div>'
)
"""Where the boards hang."""

_HEARD_LATELY_S: Final = 3
_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    cells: tuple[str, ...]
    """HTML; the first is the row's head."""


def fleet_board(found: WorkerList) -> str:
    """Show the workers, and the orders for all of them."""
    says = {
        "work": "",
        "paused": "All workers are paused: jobs are accepted, and wait.",
        "drained": "All workers are drained: jobs are accepted, and wait.",
    }[found.mode]
    note = f'<p class="mode"><strong>{says}</strong></p>' if says else ""
    orders = _order("pause", "Pause all") if found.mode == "work" else _order("resume", "Resume all")
    if found.mode != "drained":
        orders += _order("drain", "Drain all")
    head = _head("Workers", f'<div class="orders">{orders}</div>')
    if not found.data:
        return head + note + _nothing("No worker is there.", "Jobs wait until one starts: `python -m worker`.")
    rows = [_Row(f"worker-{worker.id}", _worker(worker, found.mode)) for worker in found.data]
    columns = ("Worker", "State", "Draws", "Model", "Device", "Memory", "Speed", "Heard", "Orders")
    return head + note + _table(f"{_count(len(found.data), 'worker')} alive", columns, rows)


def queue_board(found: QueueBody) -> str:
    """Show what waits: by model, lane and tenant."""
    results = found.results
    rate = "" if results.hit_rate is None else f"{results.hit_rate:.0%} of the pictures asked for were there already."
    head = _head("Queue", f'<p class="aside">{rate}</p>' if rate else "")
    pools = "".join(_pool(pool) for pool in found.models)
    return head + (pools or _nothing("No model is known yet.", "The first worker brings one."))


def failed_board(
    aside: Sequence[FailedJob], others: Sequence[FailedJob], now: datetime, *, more: int | None = None
) -> str:
    """Show the jobs that were set aside, and then the others that failed, with the reason.

    `more`: how many to ask for where there may be more than these.
    """
    head = _head("Failed jobs")
    if not aside and not others:
        return head + _nothing("Nothing has failed.", "Jobs that end without their pictures are listed here.")
    rows = [_Row(f"failed-{job.id}", _failed(job, now)) for job in (*aside, *others)]
    columns = ("Job", "Failed", "Tenant", "Asked for", "Why", "Again")
    caption = f"The latest {_count(len(others), 'failed job')}"
    if aside:
        caption = f"{_count(len(aside), 'job')} set aside, and {_count(len(others), 'other')} that failed, latest first"
    rest = f'<p class="orders"><button type="button" data-failed="{more}">Show more</button></p>' if more else ""
    return head + _table(caption, columns, rows) + rest


def history_board(found: HistoryBody) -> str:
    """Show how many pictures were drawn and how long jobs waited, as figures and over time."""
    spans = "".join(
        f'<button type="button" data-minutes="{minutes}"{_current(minutes == found.minutes)}>{name}</button>'
        for minutes, name in SPANS.items()
    )
    head = _head("Throughput and waiting", f'<div class="orders" role="group" aria-label="Look back">{spans}</div>')
    if not found.periods:
        nothing = f"No job has ended in the last {back(found)}."
        return head + _nothing(nothing, "Plots appear with the first one.")
    plots = bars(throughput(found)) + "".join(
        lines(waiting(found, lane)) for lane in Lane if lane in found.total and found.total[lane].waited
    )
    sums = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures(found).items())
    return f'{head}<dl class="sums">{sums}</dl><div class="plots">{plots}</div>'


def _worker(worker: WorkerBody, all_shall: str) -> tuple[str, ...]:
    kind, word = _state(worker)
    state = f'<span class="state {kind}"><i aria-hidden="true"></i>{word}</span>'
    draws = "<br>".join(
        f"{one.lane}, step {one.step} of {one.steps}, {seconds(one.elapsed_s)}" for one in worker.drawing
    )
    return (
        f"<code>{escape(worker.id)}</code>",
        state,
        draws or "nothing",
        escape(worker.model),
        _device(worker),
        _memory(worker.memory),
        _speed(worker.speeds),
        "just now" if worker.silent_s < _HEARD_LATELY_S else f"{seconds(worker.silent_s)} ago",
        _worker_orders(worker, all_shall),
    )


def _state(worker: WorkerBody) -> tuple[str, str]:
    if worker.state == "warming":
        return "loading", "Loading the model"
    if worker.state == "draining":
        return "stopping", "Stopping"
    if worker.mode != "work":
        word = "Paused" if worker.mode == "paused" else "Drained"
        return worker.mode, f"{word}, ends {_count(worker.jobs, 'job')}" if worker.jobs else word
    if worker.store_away:
        return "stuck", "The store is away"
    return ("busy", "Drawing") if worker.jobs else ("idle", "Idle")


def _worker_orders(worker: WorkerBody, all_shall: str) -> str:
    if worker.state == "draining":
        return "none: it stops"
    if all_shall != "work" and worker.mode == all_shall:
        return f"with all: {all_shall}"
    if worker.mode == "work":
        return _order("pause", "Pause", worker.id) + _order("drain", "Drain", worker.id)
    return _order("resume", "Resume", worker.id)


def _device(worker: WorkerBody) -> str:
    gpu = worker.gpu
    if gpu is None:
        return escape(worker.device)
    told = (
        None if gpu.utilization is None else f"{gpu.utilization:.0%} busy",
        None if gpu.power_w is None else f"{gpu.power_w:.0f} W",
        None if gpu.temperature_c is None else f"{gpu.temperature_c} \N{DEGREE SIGN}C",
    )
    return "<br>".join(filter(None, (escape(worker.device), ", ".join(filter(None, told)))))


def _memory(memory: Memory | None) -> str:
    if memory is None:
        return "not told"
    used, total = memory.used_bytes / _GIB, memory.total_bytes / _GIB
    part = memory.used_bytes / memory.total_bytes
    return (
        f'{used:.1f} of {total:.0f} GiB<meter min="0" max="1" value="{part:.3f}" aria-label="Memory in use">'
        f"{part:.0%}</meter>"
    )


def _speed(speeds: Sequence[Speed]) -> str:
    if not speeds:
        return "not measured yet"
    one = speeds[0]
    more = f" and {len(speeds) - 1} more" if len(speeds) > 1 else ""
    guided = ", guided" if one.guided else ""
    return f"{one.step_ms:.3g} ms a step ({one.width} \N{MULTIPLICATION SIGN} {one.height}{guided}){more}"


def _pool(pool: PoolBody) -> str:
    ready = ", ".join(f"{count} {state}" for state, count in pool.workers.items() if count) or "no worker"
    lanes = [f"{lane}: {_lane_sum(body)}" for lane, body in pool.waiting.items()]
    said = f"{_count(pool.running, 'job')} running, {ready}. Waiting: {'; '.join(lanes)}."
    title = f"<h3>{escape(pool.model)}</h3><p>{said}</p>"
    rows = [
        _Row(
            f"line-{pool.model}-{lane}-{line.tenant}",
            (
                f"<code>{escape(line.tenant)}</code>",
                lane.capitalize(),
                str(line.jobs),
                seconds(line.work_s),
                str(line.running),
                seconds(line.waited_s),
            ),
        )
        for lane, body in pool.waiting.items()
        for line in body.lines
    ]
    if not rows:
        return title + _nothing("Nobody waits.", "")
    columns = ("Tenant", "Lane", "Jobs waiting", "Work", "Running", "The next has waited")
    others = sum(max(0, body.tenants - len(body.lines)) for body in pool.waiting.values())
    rest = f'<p class="aside">And {_count(others, "other")} with less work waiting.</p>' if others else ""
    return title + _table(f"Who waits for {pool.model}, most work first", columns, rows) + rest


def _lane_sum(body: LaneBody) -> str:
    return f"{_count(body.jobs, 'job')} ({seconds(body.work_s)} of work)" if body.jobs else "none"


def _failed(job: FailedJob, now: datetime) -> tuple[str, ...]:
    failed_at = job.failed_at or job.created_at
    asked = (
        f"{_count(job.num_images, 'picture')}, {job.width} \N{MULTIPLICATION SIGN} {job.height}, "
        f"{job.num_inference_steps} steps, {job.lane}"
    )
    again = (
        f"sent again as <code>{escape(job.retried_as)}</code>"
        if job.retried_as
        else f'<button type="button" data-resend="{escape(job.id)}" aria-label="Send job {escape(job.id)} again">'
        "Send again</button>"
    )
    stamp = failed_at.isoformat(timespec="seconds")
    age = f"{seconds(max(0.0, round((now - failed_at).total_seconds())))} ago"
    return (
        f"<code>{escape(job.id)}</code>",
        f'<span title="{escape(stamp)}">{age}</span>',
        f"<code>{escape(job.tenant)}</code>",
        asked,
        _why(job),
        again,
    )


def _why(job: FailedJob) -> str:
    said = "no reason was told" if job.error is None else f"{escape(job.error.message)}"
    code = "" if job.error is None else f"<code>{escape(job.error.code)}</code> "
    aside = '<span class="state stuck"><i aria-hidden="true"></i>Set aside</span> ' if job.is_set_aside else ""
    lost = f" Lost with it: {escape(', '.join(job.lost_workers))}." if job.lost_workers else ""
    return f"{aside}{code}{said}{lost}"


def _table(caption: str, columns: Sequence[str], rows: Sequence[_Row]) -> str:
    """Make a table that a narrow screen shows as cards; the roles say that it is one all the same."""
    head = "".join(f'<th scope="col" role="columnheader">{column}</th>' for column in columns)
    body = "".join(
        f'<tr role="row" id="{escape(row.id)}">'
        + "".join(
            f'<th scope="row" role="rowheader" data-label="{column}">{cell}</th>'
            if at == 0
            else f'<td role="cell" data-label="{column}"><span>{cell}</span></td>'
            for at, (column, cell) in enumerate(zip(columns, row.cells, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<table role="table"><caption>{escape(caption)}</caption><thead role="rowgroup"><tr role="row">{head}</tr>'
        f'</thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def _head(title: str, beside: str = "") -> str:
    return f"<header><h2>{title}</h2>{beside}</header>"


def _nothing(headline: str, hint: str) -> str:
    return f'<p class="nothing"><strong>{escape(headline)}</strong> {escape(hint)}</p>'


def _order(order: str, name: str, worker: str = "") -> str:
    whose = f' data-worker="{escape(worker)}" aria-label="{name} worker {escape(worker)}"' if worker else ""
    return f'<button type="button" class="{order}" data-order="{order}"{whose}>{name}</button>'


def _current(is_current: bool) -> str:
    return ' aria-current="true"' if is_current else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
