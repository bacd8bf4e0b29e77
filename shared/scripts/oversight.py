"""What operators ask besides who works: whose jobs wait, which failed, how jobs ended, what is measured of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.call import Call, Reply, call_of, items, number, text
from shared.history import History, Period, ended_of, period_of
from shared.jobs import Job, JobId, Tenant
from shared.keys import DEFAULT, Keys
from shared.lanes import Lane
from shared.meters import Increments
from shared.parts import COURIER_LIFE_S
from shared.record import job_of

MOST_TENANTS: Final = 20


@dataclass(frozen=True, slots=True)
class Line:
    """A tenant's waiting jobs in a lane."""

    tenant: Tenant
    jobs: int
    work_ms: int
    """Expected; a guess for a long line."""
    running: int
    """Jobs of the tenant, of all lanes and models."""
    waited_ms: int
    """Since the submit of the one that goes next."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits in a lane."""

    tenants: int
    """How many do; of thousands not all are counted."""
    lines: tuple[Line, ...]
    """Of those with most work waiting, that first."""


@dataclass(frozen=True, slots=True)
class Order:
    """What waits for a model in a lane."""

    model: str
    lane: Lane
    jobs: int
    work_ms: int
    oldest_ms: int
    """Since the submit of the oldest that may begin."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """How the queue stands, and what was counted."""

    waiting: tuple[Order, ...]
    running: Mapping[tuple[str, Lane], int]
    """Jobs, by model and lane."""
    figures: Mapping[str, int]
    """By the name of their meter."""
    counted: Mapping[str, int]
    """By field: `shared.meters.Totals` reads it."""


def waiting(model: str, *, most: int = MOST_TENANTS, keys: Keys = DEFAULT) -> Call[Mapping[Lane, Waiting]]:
    """Tell whose jobs wait for a model: `most` tenants of each lane."""

    def parse(_code: str, rest: list[Reply]) -> dict[Lane, Waiting]:
        told: dict[Lane, Waiting] = {}
        for entry in items(rest[0]):
            lane, tenants, *lines = items(entry)
            told[Lane(text(lane))] = Waiting(number(tenants), tuple(_line(items(line)) for line in lines))
        return told

    return call_of("waiting", keys, (model, most), parse)


def failures(*, limit: int, keys: Keys = DEFAULT) -> Call[tuple[Job, ...]]:
    """List failed jobs of all tenants, latest first; the latest thousand are remembered."""
    return call_of("failures", keys, (limit, ""), lambda _code, rest: tuple(job_of(job) for job in items(rest[0])))


def failure(job_id: JobId, *, keys: Keys = DEFAULT) -> Call[Job | None]:
    """Find a failed job, whoever's it is; None if there is none of this id among those that `failures` lists."""

    def parse(_code: str, rest: list[Reply]) -> Job | None:
        return next((job_of(job) for job in items(rest[0])), None)

    return call_of("failures", keys, (1, job_id), parse)


def history(minutes: int, *, keys: Keys = DEFAULT) -> Call[History]:
    """Tell how jobs ended within so many minutes: one by one, or in tens if there are many."""
    period_s = period_of(minutes)

    def parse(_code: str, rest: list[Reply]) -> History:
        now_ms, periods = rest
        return History(number(now_ms), period_s, tuple(_period(items(one), period_s) for one in items(periods)))

    return call_of("history", keys, (period_s, -(-minutes * 60 // period_s)), parse)


def gauges(*, keys: Keys = DEFAULT) -> Call[Gauges]:
    """Tell how much waits and runs of all models, what is still to be done, and all that was counted."""

    def parse(_code: str, rest: list[Reply]) -> Gauges:
        waits, runs, figures, counted = map(items, rest)
        running = {(text(model), Lane(text(lane))): number(jobs) for model, lane, jobs in map(items, runs)}
        named = {text(name): number(count) for name, count in zip(figures[::2], figures[1::2], strict=True)}
        fields = {text(name): int(text(count)) for name, count in zip(counted[::2], counted[1::2], strict=True)}
        return Gauges(tuple(_order(items(one)) for one in waits), running, named, fields)

    return call_of("gauges", keys, (round(COURIER_LIFE_S * 1000),), parse)


def meter(source: str, increments: Increments, *, keys: Keys = DEFAULT) -> Call[None]:
    """Add what a process has counted, once for each number of a source."""
    words = tuple(word for pair in increments.counts.items() for word in pair)
    return call_of("meter", keys, (source, increments.number, *words), lambda _code, _rest: None)


def _order(entry: list[Reply]) -> Order:
    model, lane, *figures = entry
    return Order(text(model), Lane(text(lane)), *map(number, figures))


def _line(entry: list[Reply]) -> Line:
    tenant, *figures = entry
    jobs, work_ms, running, waited_ms = map(number, figures)
    return Line(Tenant(text(tenant)), jobs, work_ms, running, waited_ms)


def _period(entry: list[Reply], period_s: int) -> Period:
    at, counts = entry
    words = [text(word) for word in items(counts)]
    fields = {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)}
    return Period(number(at) * period_s * 1000, ended_of(fields))
