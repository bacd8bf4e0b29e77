"""What jobs were told of their time and place, and what came true: the tables of `bench.estimate`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, median, quantiles

from shared.contract import JobBody, TimeLeft
from shared.lanes import Lane


@dataclass(frozen=True, slots=True)
class Told:
    """What a job was told of itself, and when, in Unix seconds."""

    at_s: float
    when: str
    position: int | None
    left: TimeLeft | None


@dataclass(slots=True)
class Followed:
    """A job from its submit to its end."""

    body: JobBody
    told: list[Told] = field(default_factory=list["Told"])

    @property
    def submitted_s(self) -> float:
        """When it was accepted."""
        return self.body.created_at.timestamp()

    @property
    def began_s(self) -> float:
        """When it was claimed first."""
        return self.body.started_at.timestamp() if self.body.started_at else float("inf")

    @property
    def ended_s(self) -> float:
        """When its pictures were there."""
        return self.body.completed_at.timestamp() if self.body.completed_at else float("inf")

    def hear(self, body: JobBody, when: str) -> None:
        """Note what was told just now."""
        self.body = body
        if not body.status.is_terminal:
            self.told.append(Told(time.time(), when, body.position, body.time_left))


def ahead_then(job: Followed, told: Told, jobs: Sequence[Followed]) -> int:
    """How many of those that waited when a place was told began before that job, as far as it counts them."""
    return sum(
        other.submitted_s < told.at_s < other.began_s < job.began_s
        and (job.body.lane is Lane.BULK or other.body.lane is job.body.lane)
        and other is not job
        and bool(other.told)
        for other in jobs
    )


def came_between(job: Followed, told: Told, jobs: Sequence[Followed]) -> int:
    """How many that came later began before that job."""
    return sum(
        told.at_s <= other.submitted_s
        and other.began_s < job.began_s
        and (job.body.lane is Lane.BULK or other.body.lane is job.body.lane)
        for other in jobs
    )


def report(jobs: Sequence[Followed]) -> None:
    """Print the tables."""
    ended = [job for job in jobs if job.body.status == "succeeded"]
    longest_s = max(job.began_s - job.submitted_s for job in ended)
    print(f"{len(ended)} of {len(jobs)} succeeded; the longest wait for a worker was {longest_s:.1f} s")
    print("\n| asked | times | median error | p90 | told / true, median | p10 | p90 | in the band | not told |")
    print("|---|---|---|---|---|---|---|---|---|")
    for when in ("at submit", "while waiting", "while running"):
        heard = [(job, told) for job in ended for told in job.told if told.when == when]
        _times(when, heard)
        for lane in Lane:
            _times(f"{when}, {lane}", [(job, told) for job, told in heard if job.body.lane is lane])
    waiting = [(job, told) for job in ended for told in job.told if told.when != "while running"]
    _times("nobody came between", [(job, told) for job, told in waiting if not came_between(job, told, jobs)])
    print("\n| place told | times | exact | off by, mean | later arrivals that went before, mean |")
    print("|---|---|---|---|---|")
    for name, least, most in (("0", 0, 0), ("1 to 3", 1, 3), ("4 to 15", 4, 15), ("16 and more", 16, 10**9)):
        placed = [(job, told) for job, told in waiting if told.position is not None and least <= told.position <= most]
        off = [abs(ahead_then(job, told, jobs) - (told.position or 0)) for job, told in placed]
        if off:
            between = mean(came_between(job, told, jobs) for job, told in placed)
            print(f"| {name} | {len(off)} | {off.count(0) / len(off):.0%} | {mean(off):.2f} | {between:.2f} |")


def _times(name: str, asked: Sequence[tuple[Followed, Told]]) -> None:
    heard = [(told.left, job.ended_s - told.at_s) for job, told in asked if told.left and job.ended_s > told.at_s]
    if len(heard) < 2:  # noqa: PLR2004 (quantiles needs two)
        return
    errors = [abs(left.seconds - true) / true for left, true in heard]
    ratios = quantiles([left.seconds / true for left, true in heard], n=10)
    inside = sum(left.low <= true <= left.high for left, true in heard) / len(heard)
    print(
        f"| {name} | {len(heard)} | {median(errors):.1%} | {quantiles(errors, n=10)[-1]:.1%} | {ratios[4]:.2f} "
        f"| {ratios[0]:.2f} | {ratios[-1]:.2f} | {inside:.0%} | {len(asked) - len(heard)} |"
    )
