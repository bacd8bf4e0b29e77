"""What is measured of the fleet: every metric once, and what a process has counted and not told yet.

A counter or a histogram is kept in one hash of Redis for the whole fleet (`meters`), so that any gateway can tell it
and it outlives the process that counted. A field is `<name>|<label>|<label>...`, of a histogram
`<name>|<which bound>|...` and `<name>|sum|...`; labels stand in the meter's order, and only the last, the pool, may
hold a `|`. What Lua counts where it happens (shared/lua/meters.lua) and what processes send (`Meters`) is written
alike. A gauge is kept nowhere: whoever tells it looks. Knows nothing of Redis and HTTP.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_left
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Self, TypeAlias, final

_SUM: Final = "sum"
_PARTED_BY: Final = "|"

Labels: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meter:
    """Something that is measured."""

    name: str
    """As Prometheus shows it, without `darkroom_` and a counter's `_total`."""
    help: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Gauge(Meter):
    """How much there is just now."""


@dataclass(frozen=True, slots=True)
class Counter(Meter):
    """How often something has happened, or how much of it."""

    scale: int = 1
    """It is kept as a whole number of such parts: microseconds of seconds."""


@dataclass(frozen=True, slots=True)
class Histogram(Meter):
    """How often something was how large."""

    bounds: tuple[float, ...] = ()
    """Each contains itself; what is larger than the last is counted beyond it."""
    scale: int = 1_000_000
    """The sum is kept as a whole number of such parts: microseconds of seconds."""


def _doublings(first: float, count: int) -> tuple[float, ...]:
    return tuple(first * 2**n for n in range(count))


JOB_SECONDS: Final = _doublings(0.016, 19)
"""Up to 70 minutes: what shared/lua/meters.lua counts by."""
_ANSWER_SECONDS: Final = _doublings(0.0005, 16)
_CALL_SECONDS: Final = _doublings(0.00025, 14)
_STAGE_SECONDS: Final = _doublings(0.001, 18)
_STEP_SECONDS: Final = tuple(n * part / 1000 for n in _doublings(1, 15) for part in (1, 1.5))
"""Finer, for steps of one size hardly differ."""

JOBS_WAITING: Final = Gauge(
    "queue_jobs", "Jobs that wait for a worker, without those that wait for another job's pictures.", ("lane", "pool")
)
WORK_WAITING: Final = Gauge(
    "queue_work_seconds", "How long one worker would take for the jobs that wait.", ("lane", "pool")
)
OLDEST_WAITING: Final = Gauge(
    "queue_oldest_seconds",
    "How long the oldest job has waited of those that may begin: not for lack of its tenant's share of running jobs.",
    ("lane", "pool"),
)
JOBS_RUNNING: Final = Gauge("jobs_running", "Jobs that workers hold.", ("lane", "pool"))
JOBS_SUBMITTED: Final = Counter(
    "jobs_submitted",
    "Jobs accepted: `new` to be drawn, `joined` to wait for another's pictures, `reused` whose pictures were there.",
    ("lane", "how", "pool"),
)
JOBS_ENDED: Final = Counter(
    "jobs_ended", "Jobs that ended, how, and with which error if with one.", ("lane", "outcome", "code", "pool")
)
PICTURES: Final = Counter("pictures", "Pictures that the ended jobs were for.", ("lane", "outcome", "pool"))
JOB_WAITED: Final = Histogram(
    "job_waited_seconds",
    "From the submit to the first attempt, of jobs that have ended and had begun.",
    ("lane", "pool"),
    JOB_SECONDS,
)
JOB_DREW: Final = Histogram(
    "job_drew_seconds", "From there to the end, of jobs that succeeded.", ("lane", "pool"), JOB_SECONDS
)
LEASES_EXPIRED: Final = Counter(
    "leases_expired", "Jobs that were taken from a worker that fell silent: lost workers, times their jobs.", ("pool",)
)
JOBS_RELEASED: Final = Counter(
    "jobs_released", "Jobs that a worker handed back: it was told to stop, or the store was away.", ("pool",)
)
JOBS_SET_ASIDE: Final = Gauge("jobs_set_aside", "Jobs given up because every worker that took them died.")
BATCHES_FEEDING: Final = Gauge("batches_feeding", "Batches of which more lines are to become jobs.")
JOBS_TO_FORGET: Final = Gauge(
    "jobs_to_forget", "Ended jobs whose time is over, and which no gateway has forgotten yet."
)
OBJECTS_TO_DELETE: Final = Gauge("objects_to_delete", "Pictures to be deleted from the object store, and not yet gone.")

WORKERS: Final = Gauge("workers", "Living workers by state: warming, ready, draining.", ("state", "pool"))
WORKERS_STOPPED: Final = Gauge("workers_stopped", "Living workers that operators have paused or drained.", ("pool",))
WORKERS_LOST: Final = Gauge("workers_lost", "Workers that came within ten minutes and died or failed since.", ("pool",))
WORKERS_WITHOUT_STORE: Final = Gauge(
    "workers_without_store", "Workers that take no job because the object store takes no picture.", ("pool",)
)
WORKER_MEMORY: Final = Gauge(
    "worker_memory_bytes",
    "Memory of the workers' devices, summed: used and total. Two workers on one device count it twice.",
    ("kind", "pool"),
)
WORKER_MEMORY_FULLEST: Final = Gauge(
    "worker_memory_ratio", "Used part of the memory of the worker whose device is fullest.", ("pool",)
)
GPUS: Final = Gauge(
    "gpus", "GPUs of which the driver tells how busy they are, each once however many workers share it.", ("pool",)
)
GPU_UTILIZATION: Final = Gauge(
    "gpu_utilization", "How busy those GPUs are, 0 to 1 each, summed: divide by `darkroom_gpus`.", ("pool",)
)
GPU_MEMORY: Final = Gauge(
    "gpu_memory_bytes", "Memory of GPUs as drivers tell it, summed: used, total.", ("kind", "pool")
)
GPU_POWER: Final = Gauge("gpu_power_watts", "What GPUs draw, summed.", ("pool",))
GPU_TEMPERATURE: Final = Gauge("gpu_temperature_celsius", "Of the hottest GPU.", ("pool",))
STEP_SECONDS: Final = Histogram(
    "step_seconds", "What a denoising step took, of all rows that stepped together.", ("pool",), _STEP_SECONDS
)
STEP_ROWS: Final = Histogram(
    "step_rows", "Rows that took a denoising step together.", ("pool",), tuple(map(float, range(1, 9))), scale=1
)
PROMPT_CACHE: Final = Counter(
    "prompt_cache",
    "Texts that were to be read for a picture, and whether the worker remembered them.",
    ("found", "pool"),
)
ENGINE_SECONDS: Final = Counter(
    "engine_seconds",
    "What the workers' time went to: `start` until the model is warm; `prompts`; `steps`; `decode`, `delivery`: "
    "waiting for these with no step to take; `between`: claims, previews, bookkeeping; `idle`. All of them make up "
    "the time.",
    ("doing", "pool"),
    scale=1_000_000,
)
STAGE_SECONDS: Final = Histogram(
    "stage_seconds",
    "What a picture took: `prompt` read, `denoise` from the begin of its first step to the end of its last, `decode` "
    "by the VAE, `encode` into a file, `upload`, `record` in the queue. What lies between them is waiting.",
    ("stage", "pool"),
    _STAGE_SECONDS,
)

WEBHOOK_ATTEMPTS: Final = Counter(
    "webhook_attempts",
    "Deliveries tried: `delivered`, to be tried `again`, `failed` for good, `dropped` as there is nothing to tell.",
    ("outcome",),
)
WEBHOOK_SECONDS: Final = Histogram("webhook_seconds", "How long receivers took to answer.", (), JOB_SECONDS)
WEBHOOKS_DUE: Final = Gauge("webhooks_due", "Webhooks that have something to be sent now.")
COURIERS: Final = Gauge("couriers", "Couriers that take calls.")

REDIS_CALL_SECONDS: Final = Histogram(
    "redis_call_seconds",
    "What a trip to Redis took: a gateway's with up to sixteen calls, a worker's heartbeat.",
    ("part",),
    _CALL_SECONDS,
)
REDIS_ERRORS: Final = Counter("redis_errors", "Trips that Redis did not answer.", ("part",))
STORE_CALL_SECONDS: Final = Histogram(
    "store_call_seconds",
    "What the object store took: a gateway's `look`, `open` up to the first bytes and `delete`, a worker's `put`.",
    ("part", "operation"),
    _STAGE_SECONDS,
)
STORE_ERRORS: Final = Counter(
    "store_errors", "Calls that the object store did not answer as asked.", ("part", "operation")
)

REDIS_MEMORY: Final = Gauge(
    "redis_memory_bytes",
    "Memory that Redis uses, and its limit if it has one: beyond it nothing is accepted.",
    ("kind",),
)
REDIS_WRITES: Final = Gauge(
    "redis_writes_ok", "1 if Redis could write its append-only file the last time; absent if it keeps none."
)

HTTP_REQUESTS: Final = Counter(
    "http_requests",
    "Requests that gateways answered, by the address as the document has it, and the error's code if it was one.",
    ("method", "route", "status", "code"),
)
HTTP_SECONDS: Final = Histogram(
    "http_request_seconds",
    "From a request to the beginning of its answer, without those answers that were held.",
    ("method", "route"),
    _ANSWER_SECONDS,
)

REDIS_UP: Final = Gauge(
    "redis_up", "1 if Redis answers the gateway that tells this; with 0 only such as it knows itself."
)
STORE_UP: Final = Gauge("store_up", "1 if the object store answers that gateway.")
BUILD: Final = Gauge("build_info", "1, with the version of that gateway.", ("version",))

METERS: Final[tuple[Meter, ...]] = tuple(value for value in tuple(globals().values()) if isinstance(value, Meter))
"""All of them, in the order of this file."""
_KEPT: Final[Mapping[str, Meter]] = {one.name: one for one in METERS if isinstance(one, Counter | Histogram)}


@dataclass(frozen=True, slots=True)
class Increments:
    """What was counted and is to be added once, however often it is sent."""

    number: int
    counts: Mapping[str, int]
    """By field."""


@final
class Meters:
    """What a process has counted and not told yet; for any thread."""

    def __init__(self, source: str | None = None) -> None:
        self.source: Final = source or secrets.token_hex(8)
        """By which its increments are told from others'."""
        self._lock = Lock()
        self._counts: dict[tuple[str, Labels], int] = {}
        self._sizes: dict[tuple[str, Labels], list[int]] = {}
        self._number = 0
        self._untold: Increments | None = None

    def count(self, meter: Counter, *labels: str) -> None:
        """Count one."""
        self.add(meter, 1, *labels)

    def add(self, meter: Counter, amount: float, *labels: str) -> None:
        """Count so many, or so much."""
        key, parts = (meter.name, labels), round(amount * meter.scale)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + parts

    def note(self, meter: Histogram, value: float, *labels: str) -> None:
        """Count one that was so large."""
        key = (meter.name, labels)
        with self._lock:
            sizes = self._sizes.get(key)
            if sizes is None:
                sizes = self._sizes[key] = [0] * (len(meter.bounds) + 2)
            sizes[bisect_left(meter.bounds, value)] += 1
            sizes[-1] += int(value * meter.scale)

    @contextmanager
    def timed(self, meter: Histogram, *labels: str) -> Generator[None]:
        """Count what is done in here by its seconds, unless it fails."""
        begun = time.perf_counter()
        yield
        self.note(meter, time.perf_counter() - begun, *labels)

    def untold(self) -> Increments | None:
        """Take what was counted, None if nothing was; the same again until it is `told`."""
        with self._lock:
            if self._untold is None and (self._counts or self._sizes):
                self._number += 1
                self._untold = Increments(self._number, _fields(self._counts, self._sizes))
                self._counts, self._sizes = {}, {}
            return self._untold

    def told(self) -> None:
        """Note that what `untold` gave has arrived."""
        with self._lock:
            self._untold = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How often something was how large."""

    counts: tuple[int, ...]
    """Up to each bound, without those up to the one before; the last beyond all."""
    total: float
    """Of all together."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the fleet has counted, by meter's name and labels."""

    counters: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict[str, dict[Labels, float]])
    histograms: Mapping[str, Mapping[Labels, Sizes]] = field(default_factory=dict[str, dict[Labels, Sizes]])

    @classmethod
    def of(cls, fields: Mapping[str, int]) -> Self:
        """Read the hash; what another version counts is left out."""
        counters: dict[str, dict[Labels, float]] = {}
        sizes: dict[str, dict[Labels, list[int]]] = {}
        for said, number in fields.items():
            name, _, rest = said.partition(_PARTED_BY)
            match _KEPT.get(name):
                case Counter() as meter:
                    if (labels := _labels(rest, meter)) is not None:
                        counters.setdefault(name, {})[labels] = number / meter.scale
                case Histogram() as meter:
                    which, _, rest = rest.partition(_PARTED_BY)
                    last = len(meter.bounds) + 1  # where the sum stands, behind what is beyond all bounds
                    at = last if which == _SUM else int(which) if which.isdecimal() else last + 1
                    if (labels := _labels(rest, meter)) is not None and at <= last:
                        sizes.setdefault(name, {}).setdefault(labels, [0] * (last + 1))[at] = number
                case _:
                    pass
        read = {
            name: {labels: _sizes(found, _KEPT[name]) for labels, found in by_labels.items()}
            for name, by_labels in sizes.items()
        }
        return cls(counters, read)


def _fields(counts: Mapping[tuple[str, Labels], int], sizes: Mapping[tuple[str, Labels], list[int]]) -> dict[str, int]:
    fields = {_PARTED_BY.join((name, *labels)): number for (name, labels), number in counts.items()}
    for (name, labels), found in sizes.items():
        *by_bound, total = found
        for which, number in (*enumerate(by_bound), (_SUM, total)):
            if number:
                fields[_PARTED_BY.join((name, str(which), *labels))] = number
    return fields


def _labels(said: str, meter: Meter) -> Labels | None:
    """Take a field's labels apart; None if they are not as many as the meter has."""
    labels = tuple(said.split(_PARTED_BY, len(meter.labels) - 1)) if meter.labels else ()
    return labels if len(labels) == len(meter.labels) and bool(said) == bool(meter.labels) else None


def _sizes(found: list[int], meter: Meter) -> Sizes:
    *counts, total = found
    return Sizes(tuple(counts), total / meter.scale if isinstance(meter, Histogram) else 0.0)
