"""A picture of a worker's time: how steps, decoding, encoding and upload of a few jobs overlap.

    python -m bench.timeline [--jobs 6] [--users 3] [--model demo] [--out bench/timeline.svg]

Draws jobs by several users through one `bench.traced_worker` and writes an SVG: a row for each thread and kind of work,
a colour for each job, time from left to right. Spans that belong to more than one job are striped in all their colours.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from bench.ending import end_cleanly
from bench.orders import mixed
from bench.site import Site
from bench.spans import Span, Traced
from bench.subject import Subject
from bench.ways import Darkroom

SHOWN: Final = ("claim", "step", "decode", "preview", "encode", "upload", "record")
COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#eeca3b")
NOBODYS: Final = "#999999"
WIDTH: Final = 1200
LEFT: Final = 190
LANE: Final = 24
BAR: Final = 16
MARKS: Final = 10


def owned(spans: Sequence[Span]) -> list[Span]:
    """Give spans that don't tell whose they are the owner of the one around them, else of the next in their thread."""
    found: list[Span] = []
    for at, span in enumerate(spans):
        others = [other for other in spans if other.thread == span.thread and other.jobs]
        around = [other for other in others if other.begun_s <= span.begun_s and span.ended_s <= other.ended_s]
        after = [other for other in spans[at:] if other in others]
        jobs = span.jobs or next((other.jobs for other in (*around, *after)), ())
        found.append(replace(span, jobs=jobs))
    return found


def draw(spans: Sequence[Span], title: str) -> str:
    """Write the SVG. Needs at least one span."""
    spans = owned(sorted(spans, key=lambda span: span.begun_s))
    begun_s, ended_s = spans[0].begun_s, max(span.ended_s for span in spans)
    scale = (WIDTH - LEFT - 20) / max(ended_s - begun_s, 1e-9)
    jobs = list(dict.fromkeys(job for span in spans for job in span.jobs))
    colours = {job: COLOURS[at % len(COLOURS)] for at, job in enumerate(jobs)}
    lanes = list(dict.fromkeys(sorted(((span.name, span.thread) for span in spans), key=_lane_order)))
    bottom = 40 + LANE * len(lanes)

    def x(at_s: float) -> float:
        return LEFT + (at_s - begun_s) * scale

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}">',
        '<g font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{bottom + 40}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="13">{escape(title)}</text>',
    ]
    for mark in range(MARKS + 1):
        at_s = begun_s + (ended_s - begun_s) * mark / MARKS
        parts.append(f'<path d="M{x(at_s):.1f} 30V{bottom}" stroke="#ddd"/>')
        label = f"{1000 * (at_s - begun_s):.0f} ms"
        parts.append(f'<text x="{x(at_s):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#666">{label}</text>')
    for number, (name, thread) in enumerate(lanes):
        parts.append(f'<text x="4" y="{40 + LANE * number + 12}">{escape(f"{name} · {thread}"[:30])}</text>')
    for span in spans:
        top = 40 + LANE * lanes.index((span.name, span.thread))
        owners = [colours[job] for job in span.jobs] or [NOBODYS]
        width = max(0.4, (span.ended_s - span.begun_s) * scale)
        height = BAR / len(owners)
        for at, colour in enumerate(owners):
            parts.append(
                f'<rect x="{x(span.begun_s):.2f}" y="{top + at * height:.2f}" width="{width:.2f}" '
                f'height="{height:.2f}" fill="{colour}" stroke="white" stroke-width="0.2"/>'
            )
    return "\n".join([*parts, "</g></svg>\n"])


def _lane_order(lane: tuple[str, str]) -> tuple[int, str]:
    return SHOWN.index(lane[0]), lane[1]


def main() -> None:
    """Draw jobs, then the picture of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("timeline.svg"))
    asked = parser.parse_args()
    end_cleanly()
    subject = Subject.of(asked.model)
    with tempfile.TemporaryDirectory(prefix="bench-timeline-") as temporary:
        folder = Path(temporary)
        trace = folder / "trace.jsonl"
        told = {"BENCH_TRACE": str(trace)}
        with (
            Site(folder, model=asked.model) as site,
            Darkroom(site, worker="bench.traced_worker", environment=told) as way,
        ):
            way.alone = False
            way.draw(mixed(subject, asked.users, seed=1), asked.users)
            drawn = way.draw(mixed(subject, asked.jobs, seed=2), asked.users).drawn
        traced = Traced.read(trace)
    begun_s, ended_s = min(one.asked_s for one in drawn), max(one.there_s for one in drawn)
    spans = [span for span in traced.between(begun_s, ended_s) if span.name in SHOWN]
    title = f"{asked.jobs} jobs of {asked.users} users on one worker: {subject.card.title}, {subject.size}"
    asked.out.write_text(draw(spans, title), "utf-8")
    missing = f" Not traced: {', '.join(sorted(traced.missing))}." if traced.missing else ""
    print(f"{len(spans)} spans in {ended_s - begun_s:.2f} s: {asked.out}.{missing}")


if __name__ == "__main__":
    main()
