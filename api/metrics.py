"""What `GET /metrics` tells: all meters of the fleet, in Prometheus' words. The only place that knows its library.

Counters and histograms are the fleet's own, from Redis; gauges are asked for now. So every gateway tells the same, but
for the few that say in their help that they are of the gateway that tells them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, product
from typing import Final, final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.storage import Storage
from api.together import Together
from shared import meters as of
from shared.connection import run_async
from shared.errors import DarkroomError, ModelError, OutOfMemory, QueueUnavailable, WorkerLost, leaf_of
from shared.lanes import Lane
from shared.meters import METERS, Counter, Gauge, Histogram, Labels, Meter, Meters, Sizes, Totals
from shared.scripts import Fleet, Gauges, Mode, fleet, gauges, meter
from shared.version import VERSION

PREFIX: Final = "darkroom_"
FRESH_S: Final = 1.0
"""For how long what was found is told again: whoever asks more often learns no more."""

_ENDS: Final = (
    ("succeeded", ""),
    ("reused", ""),
    *(("failed", error.code) for error in (ModelError, OutOfMemory, WorkerLost)),
)
_OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0"

Values = Mapping[Labels, float]


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to tell."""

    values: Mapping[str, Values]
    """Of gauges, by meter's name."""
    totals: Totals


@final
class Metrics:
    """Tells the meters, for one event loop."""

    def __init__(self, redis: Redis, together: Together, storage: Storage) -> None:
        self._redis = redis
        self._together = together
        self._storage = storage
        self._asking = asyncio.Lock()
        self._found = Found({}, Totals())
        self._asked_at = float("-inf")

    async def told(self, accept: str) -> tuple[bytes, str]:
        """Tell all, in the form that this `Accept` header wants; and which media type that is. Without Redis, that."""
        async with self._asking:
            if time.monotonic() - self._asked_at > FRESH_S:
                self._found = await self._ask()
                self._asked_at = time.monotonic()
            found = self._found
        encode, media_type = choose_encoder(_OPEN_METRICS if _names_open_metrics(accept) else "")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(found))
        # Thousands of lines: polls are answered meanwhile.
        return await asyncio.to_thread(encode, registry), media_type

    async def _ask(self) -> Found:
        values: dict[str, Values] = {
            of.BUILD.name: {(VERSION,): 1},
            of.STORE_UP.name: {(): self._storage.is_up},
            of.REDIS_UP.name: {(): False},
        }
        try:
            queue, known, health = await asyncio.gather(
                self._together.run(gauges()), self._together.run(fleet()), self._health()
            )
        except QueueUnavailable:
            return Found(values, Totals())
        values |= {of.REDIS_UP.name: {(): True}, **_of_queue(queue), **_of_fleet(known), **health}
        return Found(values, _from_zero(Totals.of(queue.counted), _pools(known)))

    async def _health(self) -> dict[str, Values]:
        """How Redis is, as far as it tells: a managed one may not."""
        try:
            said = await self._redis.info("memory", "persistence")  # pyright: ignore[reportUnknownMemberType]: **kwargs
        except RedisError:
            return {}
        kinds = {"used": "used_memory", "limit": "maxmemory"}
        values: dict[str, Values] = {
            of.REDIS_MEMORY.name: {(kind,): said[name] for kind, name in kinds.items() if said.get(name)}
        }
        if said.get("aof_enabled"):
            values[of.REDIS_WRITES.name] = {(): said.get("aof_last_write_status") == "ok"}
        return values


async def push(redis: Redis, meters: Meters) -> None:
    """Add what this process has counted to the fleet's. Raises QueueUnavailable; then it is sent again next time."""
    if (untold := meters.untold()) is not None:
        await run_async(redis, meter(meters.source, untold))
        meters.told()


def _names_open_metrics(accept: str) -> bool:
    """True if it is accepted in whichever version: the library raises for one that is no number."""
    kinds = (one.partition(";")[0].strip().lower() for one in accept.split(","))
    return _OPEN_METRICS.partition(";")[0] in kinds


class _Collector:
    """What Prometheus' library asks for families."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        return (self._family(meter) for meter in METERS)

    def _family(self, meter: Meter) -> Metric:
        name, totals = PREFIX + meter.name, self._found.totals
        match meter:
            case Counter():
                family = CounterMetricFamily(name, meter.help, labels=meter.labels)
                for labels, count in _known(meter, totals.counters.get(meter.name, {})).items():
                    family.add_metric(labels, count)
            case Histogram():
                family = HistogramMetricFamily(name, meter.help, labels=meter.labels)
                for labels, sizes in totals.histograms.get(meter.name, {}).items():
                    family.add_metric(labels, _buckets(meter, sizes), sizes.total)
            case _:
                family = GaugeMetricFamily(name, meter.help, labels=meter.labels)
                for labels, value in self._found.values.get(meter.name, {}).items():
                    family.add_metric(labels, value)
        return family


def _buckets(meter: Histogram, sizes: Sizes) -> list[tuple[str, float]]:
    bounds = (*map(str, meter.bounds), "+Inf")
    return list(zip(bounds, accumulate(sizes.counts), strict=True))


def _from_zero(totals: Totals, pools: set[str]) -> Totals:
    """Say 0 of what is asked for and has not happened yet: `increase()` takes no new series for a change."""
    lanes = tuple(lane.value for lane in Lane)
    of_pools = [(pool,) for pool in pools]
    nothing: dict[Counter, list[Labels]] = {
        of.JOBS_ENDED: [(lane, *end, pool) for lane, end, pool in product(lanes, _ENDS, pools)],
        of.PICTURES: list(product(lanes, ("succeeded", "reused"), pools)),
        of.LEASES_EXPIRED: of_pools,
        of.JOBS_RELEASED: of_pools,
        of.JOBS_REROUTED: of_pools,
        of.REDIS_ERRORS: [("gateway",), ("worker",)],
        of.STORE_ERRORS: [*(("gateway", what) for what in ("look", "open", "delete")), ("worker", "put")],
    }
    begun = {
        one.name: {**dict.fromkeys(labels, 0.0), **totals.counters.get(one.name, {})} for one, labels in nothing.items()
    }
    return replace(totals, counters={**totals.counters, **begun})


def _known(meter: Counter, counts: Values) -> Values:
    """Take codes of errors that are none of ours for what they were to whoever asked: what nobody foresaw."""
    if meter is not of.JOBS_ENDED:
        return counts
    at, told = meter.labels.index("code"), dict[Labels, float]()
    for labels, count in counts.items():
        code = labels[at] if not labels[at] or leaf_of(labels[at]) else DarkroomError.code
        known = (*labels[:at], code, *labels[at + 1 :])
        told[known] = told.get(known, 0) + count
    return told


def _of_queue(queue: Gauges) -> dict[str, Values]:
    orders = {(one.lane.value, one.model): one for one in queue.waiting}
    figures: dict[str, Values] = {
        one.name: {(): queue.figures[one.name]}
        for one in METERS
        if isinstance(one, Gauge) and one.name in queue.figures
    }
    return {
        **figures,
        of.JOBS_WAITING.name: {labels: one.jobs for labels, one in orders.items()},
        of.WORK_WAITING.name: {labels: one.work_ms / 1000 for labels, one in orders.items()},
        of.OLDEST_WAITING.name: {labels: one.oldest_ms / 1000 for labels, one in orders.items()},
        of.JOBS_RUNNING.name: {(lane.value, model): jobs for (model, lane), jobs in queue.running.items()},
    }


def _of_gpus(known: Fleet) -> dict[str, Values]:
    """Tell each GPU once; there is no figure of what no driver tells."""
    each = {(worker.pool, gpu.uuid): gpu for worker in known.workers if (gpu := worker.gpu) is not None}
    figures: list[tuple[Gauge, Labels, float | None]] = []
    for (pool, _), gpu in each.items():
        used, total = (None, None) if gpu.memory is None else (gpu.memory.used_bytes, gpu.memory.total_bytes)
        figures += [
            (of.GPUS, (pool,), None if gpu.utilization is None else 1),
            (of.GPU_UTILIZATION, (pool,), gpu.utilization),
            (of.GPU_MEMORY, ("used", pool), used),
            (of.GPU_MEMORY, ("total", pool), total),
            (of.GPU_POWER, (pool,), gpu.power_w),
            (of.GPU_TEMPERATURE, (pool,), gpu.temperature_c),
        ]
    values: dict[str, dict[Labels, float]] = {}
    for gauge, labels, figure in figures:
        if figure is not None:
            by_labels = values.setdefault(gauge.name, {})
            others = by_labels.get(labels, 0)
            by_labels[labels] = max(others, figure) if gauge is of.GPU_TEMPERATURE else others + figure
    return dict(values)


def _pools(known: Fleet) -> set[str]:
    return {card.id for card in known.cards} | {worker.pool for worker in known.workers}


def _of_fleet(known: Fleet) -> dict[str, Values]:
    pools = _pools(known)
    states = {(state, pool): 0 for state in ("warming", "ready", "draining") for pool in pools}
    stopped, storeless, used, total, fullest = (dict.fromkeys(pools, 0.0) for _ in range(5))
    for worker in known.workers:
        pool = worker.pool
        states[worker.state, pool] += 1
        stopped[pool] += known.mode_of(worker.id) is not Mode.WORK
        storeless[pool] += worker.store_away
        if worker.memory is not None:
            used[pool] += worker.memory.used_bytes
            total[pool] += worker.memory.total_bytes
            fullest[pool] = max(fullest[pool], worker.memory.used_bytes / worker.memory.total_bytes)
    by_pool = {
        of.WORKERS_STOPPED: stopped,
        of.WORKERS_WITHOUT_STORE: storeless,
        of.WORKERS_LOST: {pool: known.lost.get(pool, 0) for pool in pools | set(known.lost)},
        of.WORKER_MEMORY_FULLEST: {pool: ratio for pool, ratio in fullest.items() if total[pool]},
    }
    memory = {(kind, pool): figure[pool] for kind, figure in (("used", used), ("total", total)) for pool in pools}
    return {
        **_of_gpus(known),
        of.WORKERS.name: states,
        of.WORKER_MEMORY.name: {labels: figure for labels, figure in memory.items() if total[labels[1]]},
        **{one.name: {(pool,): figure for pool, figure in figures.items()} for one, figures in by_pool.items()},
    }
