"""Where a job's time goes beside the engine: what its user saw, what the queue noted, what the worker traced.

For jobs that were alone on their worker, so that all spans in a job's time are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench.spans import ENGINE, Span, Traced, covered_s
from bench.table import Bar, markdown
from bench.ways import Seen

OVERHEAD_BAR: Final = Bar(25, at_least=False, unit=" ms")


def parts_of(seen: Seen, spans: Sequence[Span]) -> dict[str, float]:
    """Split one job's time, in ms. The parts follow one another, but for the last two, which sum up."""
    engine = [span for span in spans if span.name in ENGINE]
    if not engine or seen.job.started_at is None or seen.job.completed_at is None:
        return {}
    begun_s, ended_s = engine[0].begun_s, max(span.ended_s for span in engine)
    engine_s = covered_s(engine)
    created_s, started_s, completed_s = (
        at.timestamp() for at in (seen.job.created_at, seen.job.started_at, seen.job.completed_at)
    )
    after = [span for span in spans if span.begun_s >= ended_s]

    def took_s(name: str) -> float:
        return covered_s(span for span in after if span.name == name)

    seconds = {
        "asked to accepted": created_s - seen.asked_s,
        "accepted to claimed": started_s - created_s,
        "claimed to the first step": begun_s - started_s,
        "engine: steps and decoding": engine_s,
        "between steps": ended_s - begun_s - engine_s,
        "encoding": took_s("encode"),
        "upload": took_s("upload"),
        "recorded and finished": completed_s - ended_s - took_s("encode") - took_s("upload"),
        "done to seen by the user": seen.seen_s - completed_s,
        "fetched": seen.fetched_s - seen.seen_s,
        "asked to seen, without the engine": seen.seen_s - seen.asked_s - engine_s,
        "**accepted to done, without the engine**": completed_s - created_s - engine_s,
    }
    return {name: 1000 * took for name, took in seconds.items()}


def report(jobs: Iterable[Seen], trace: Path) -> None:
    """Print the medians."""
    traced = Traced.read(trace)
    split = [parts_of(seen, traced.between(seen.asked_s, seen.seen_s)) for seen in jobs]
    split = [parts for parts in split if parts]
    if not split:
        print("\nThe trace shows no job's engine time: see `POINTS` in bench/traced_worker.py.")
        return
    rows: list[list[object]] = []
    for name in split[0]:
        times = sorted(parts[name] for parts in split)
        bar = OVERHEAD_BAR.judge(median(times)) if name.startswith("**") else None
        rows.append([name, round(median(times), 1), round(times[0], 1), round(times[-1], 1), bar])
    print(f"\n{markdown(('row 4: one user, ms', 'median', 'least', 'most', 'bar'), rows)}")
    if traced.missing:
        print(f"\nNot traced, the worker has no such function: {', '.join(sorted(traced.missing))}.")
