"""What one Redis does: its processor's time, its log and its memory for a job, by kind of call, and where it is full.

    python -m bench redis

One Valkey as `make run` starts it (AOF, `appendfsync always`), a fleet of a thousand workers that hold a job each, a
thousand more jobs waiting, four gateways that listen. Each verb is asked by itself, first over one connection and then
over 32: what comes together is answered in one turn of the server's loop, with one fsync, which is most of the gain.
What is counted is processor time of the server's own thread (`bench.spent`), which does not wait. Then whole jobs
(`bench.whole_jobs`): as many as the server takes, and at rates below and above that, with the delay of a submit; again
on a server that never waits for its disk, so that its core can be seen full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bench.callers import listening
from bench.piped import Piped
from bench.price import FORGOTTEN_AT_ONCE, Mix, Verb
from bench.stand import PART, WHOLE, Rate, Stand, fsync_ms, standing
from bench.streams import CARD, JPEG
from bench.table import markdown
from bench.whole_jobs import LEASE_S, TERMS, new_job, picture_of, state_of, worker_id
from shared.call import Call
from shared.jobs import LeaseToken, drawn
from shared.keys import DEFAULT
from shared.meters import Increments
from shared.scripts import (
    Claimed,
    add_image,
    claim,
    discard,
    finish,
    fleet,
    glance,
    heartbeat,
    meter,
    outlook,
    preview,
    progress,
    read,
    read_each,
    reap,
    renew,
    retire,
    submit,
)

T = TypeVar("T")

MORE_GATEWAYS: Final = 16
GLANCED: Final = 20
READ_AT_ONCE: Final = 16
FIELDS: Final = 24
"""That a worker adds to the fleet's figures, each five seconds."""
MORE_LISTEN: Final = f"progress, {MORE_GATEWAYS} more gateways listen"
MIXES: Final[Mapping[str, Mix]] = {
    "25 steps in 3 s": WHOLE,
    "25 steps in 3 s, no previews": Mix(previews=0),
    "4 steps in 0.6 s": Mix(steps=4, previews=2, seconds=0.6),
    "50 steps in 6 s": Mix(steps=50, previews=18, seconds=6),
    "50 steps in 60 s": Mix(steps=50, previews=50, seconds=60),
}
OF_FULL: Final = (0.25, 0.5, 0.7, 0.85, 1.0, 1.15)
HEADROOM: Final = 0.7
"""Of a core: above it the delay grows, and nothing is left for a bad minute."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    jobs: int = 10_000
    workers: int = 1_000
    calls: int = 2_000
    seconds: float = 4.0
    """Of each rate."""
    full: int = 3_000
    """Jobs of which the full rate is taken."""
    processes: int = 2


def main(folder: Path, scale: Scale) -> None:
    """Measure, print the tables."""
    disk_ms = fsync_ms(folder)
    with standing(folder / "always", "always", scale.workers) as stand:
        memory = _measure_verbs(stand, scale)
        verbs = stand.verbs
        _print_verbs(verbs, memory)
        _print_jobs(verbs)
        synced = _measure_rates(stand, folder, scale, OF_FULL[1:2])
    with standing(folder / "no", "no", scale.workers) as stand:
        rates = _measure_rates(stand, folder, scale, OF_FULL)
    _print_rates(f"an fsync each turn, {disk_ms:.1f} ms here", synced)
    _print_rates("none", rates)
    full = rates[0]
    print(
        f"\nFull are {full.done:.0f} jobs a second here, with {full.cores:.2f} of a core: "
        f"{1000 / full.each_ms:.0f} for each second of the server's processor.\nThe calls' prices among many add up to "
        f"{WHOLE.price(verbs, 'busy_us') / 1000:.2f} ms a job; whole jobs took {synced[0].each_ms:.2f}, and "
        f"{full.each_ms:.2f} without fsync."
    )


def _measure_verbs(stand: Stand, scale: Scale) -> dict[str, float]:
    """Lead jobs through their lives, a verb at a time; bytes of memory that one takes, by where it stands."""
    memory: dict[str, float] = {}
    empty = stand.memory()
    made = stand.cost("submit", (_submit() for _ in range(scale.jobs)))
    jobs = [submitted.job for submitted in made]
    memory["a waiting job"] = (stand.memory() - empty) / scale.jobs
    stand.cost("read, waiting", (read(job.id, job.tenant) for job in _some(jobs, scale.calls)))
    tokens = [LeaseToken(drawn(32)) for _ in jobs]
    held = stand.cost("claim", map(_claim, range(scale.workers), tokens))
    before = stand.memory()
    _measure_running(stand, scale, held)
    memory["a running job's preview"] = (stand.memory() - before) / len(held)
    stand.cost("add_image", map(_add_image, held))
    stand.cost("finish", (finish(one.lease) for one in held))
    rest = stand.do(map(_claim, range(scale.workers, len(tokens)), tokens[scale.workers :]))
    stand.do(map(_add_image, rest))
    stand.do(finish(one.lease) for one in rest)
    for some in _parts(tokens, 1000):  # Redis drops them after a minute
        stand.client.delete(*(f"{DEFAULT.prefix}claim:{token}" for token in some))
    memory["an ended job"] = (stand.memory() - empty) / scale.jobs
    stand.cost("read, ended", (read(job.id, job.tenant) for job in _some(jobs, scale.calls)))
    stand.cost("claim in vain", (_claim(at, LeaseToken(drawn(32)), is_busy=True) for at in range(scale.calls)))
    stand.cost("retire", (retire(limit=FORGOTTEN_AT_ONCE) for _ in range(scale.jobs // FORGOTTEN_AT_ONCE)))
    objects = [picture_of(job.tenant, job.id).key for job in jobs]
    stand.cost("discard", map(discard, _parts(objects, FORGOTTEN_AT_ONCE)))
    return memory


def _measure_running(stand: Stand, scale: Scale, held: Sequence[Claimed]) -> None:
    """Measure what is asked while jobs run."""
    leases, jobs = [one.lease for one in held], [one.job for one in held]
    looks = max(10, scale.calls // 40)
    stand.cost("progress", (progress(lease, 1) for lease in _some(leases, scale.calls)))
    with listening(stand.url, DEFAULT.changes, MORE_GATEWAYS):
        stand.cost(MORE_LISTEN, (progress(lease, 2) for lease in _some(leases, scale.calls)))
    stand.cost("progress with a preview", (progress(lease, 3, jpeg=JPEG) for lease in _some(leases, scale.calls)))
    stand.cost("preview", (preview(job.id, job.tenant) for job in _some(jobs, scale.calls)))
    stand.cost("renew", (renew([lease], lease_s=LEASE_S) for lease in _some(leases, scale.calls)))
    stand.cost("heartbeat", (heartbeat(state_of(at % scale.workers), life_s=LEASE_S) for at in range(scale.calls)))
    stand.cost("reap", (reap(lease_s=LEASE_S, max_attempts=3) for _ in range(scale.calls)))
    counts = {f"bench:{at}": 1 for at in range(FIELDS)}
    stand.cost("meter", (meter(f"bench-{at}", Increments(1, counts)) for at in range(scale.calls)))
    stand.cost("read, running", (read(job.id, job.tenant) for job in _some(jobs, scale.calls)))
    asked = [(job.id, job.tenant) for job in jobs]
    stand.cost(
        f"read, {READ_AT_ONCE} at once", (read_each(_some(asked, READ_AT_ONCE)) for _ in range(scale.calls // 4))
    )
    stand.cost(
        f"glance, {GLANCED} at once", (glance(one.id for one in _some(jobs, GLANCED)) for _ in range(scale.calls // 4))
    )
    stand.cost(f"outlook, {len(jobs):,} running", (outlook(CARD.id) for _ in range(looks)))
    stand.cost(f"fleet, {scale.workers:,} workers", (fleet() for _ in range(looks)))


def _measure_rates(stand: Stand, folder: Path, scale: Scale, parts: Sequence[float]) -> list[Rate]:
    """Fill the queue again, find the full rate, then the delay at parts of it."""
    stand.do(_submit() for _ in range(2 * scale.workers))
    stand.do(_claim(at, LeaseToken(drawn(32))) for at in range(scale.workers))
    words = ("-m", "bench.whole_jobs", stand.url)
    with ExitStack() as stack:
        logs = [folder / f"presser-{at}.log" for at in range(scale.processes)]
        pressers = [stack.enter_context(Piped(words, {}, log)) for log in logs]
        stand.rate(pressers, scale.full // 10, None)  # which warms all of them
        full = stand.rate(pressers, scale.full, None)
        offers = [(max(100, round(part * full.done * scale.seconds)), part * full.done) for part in parts]
        return [full, *(stand.rate(pressers, jobs, per_second) for jobs, per_second in offers)]


def _submit() -> Call[Any]:
    return submit(new_job(), TERMS, result=drawn(32))


def _claim(worker: int, token: LeaseToken, *, is_busy: bool = False) -> Call[Claimed | None]:
    return claim(CARD.id, worker_id(worker), token, lease_s=LEASE_S, is_busy=is_busy)


def _add_image(one: Claimed) -> Call[None]:
    return add_image(one.lease, picture_of(one.job.tenant, one.job.id))


def _some(found: Sequence[T], count: int) -> list[T]:
    """So many of these, in turn."""
    return [found[at % len(found)] for at in range(count)]


def _parts(found: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (found[first : first + size] for first in range(0, len(found), size))


def _print_verbs(verbs: Mapping[str, Verb], memory: Mapping[str, float]) -> None:
    head = ("a call", "us of processor, alone", "among many", "of them in a turn", "bytes of log", "to it", "from it")
    print(f"\n{markdown(head, [[name, *_rounded(verb)] for name, verb in verbs.items()])}")
    print(f"\n{markdown(('memory of', 'bytes'), [[name, f'{size:,.0f}'] for name, size in memory.items()])}")


def _rounded(verb: Verb) -> list[object]:
    sizes = (verb.log_bytes, verb.in_bytes, verb.out_bytes)
    return [round(verb.alone_us), round(verb.busy_us), round(verb.together, 1), *(f"{size:,.0f}" for size in sizes)]


def _print_jobs(verbs: Mapping[str, Verb]) -> None:
    rows: list[list[object]] = []
    for name, mix in MIXES.items():
        alone, busy = mix.price(verbs, "alone_us"), mix.price(verbs, "busy_us")
        sizes = (mix.price(verbs, figure) / 1000 for figure in ("log_bytes", "in_bytes", "out_bytes"))
        rows.append(
            [name, round(sum(mix.calls.values())), alone / 1000, busy / 1000, *sizes, round(HEADROOM * 1e6 / busy)]
        )
    head = (
        "a job",
        "calls",
        "ms of processor, alone",
        "among many",
        "kB of log",
        "to it",
        "from it",
        f"jobs a second at {HEADROOM:g} of a core",
    )
    print(f"\n{markdown(head, rows)}")


def _print_rates(disk: str, rates: Sequence[Rate]) -> None:
    full = rates[0]
    rows: list[list[object]] = []
    for rate in rates:
        offered = "all at once" if rate.offered is None else f"{rate.offered / full.done:.2f}"
        late = (None, None) if rate.offered is None else (rate.median_ms, rate.p99_ms)
        spent = (rate.done / full.done, rate.cores, rate.each_ms, rate.together)
        rows.append([offered, *spent, *late, rate.clients, f"{100 * rate.stolen:.1f} %"])
    head = (
        f"whole jobs, of the full rate ({disk})",
        "done",
        "of a core",
        "ms of it a job",
        "calls in a turn",
        "a submit, ms: median",
        f"p{PART}",
        "cores of the askers",
        "taken by the host",
    )
    print(f"\n{markdown(head, rows)}")
