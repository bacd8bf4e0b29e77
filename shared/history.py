"""How jobs ended lately, and how long they waited and were drawn: counts of periods. Knows nothing of Redis.

Times are kept as counts by class, four classes to a doubling, so a quantile is right to a tenth or so of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.lanes import Lane
from shared.words import Word

CLASSES_PER_OCTAVE: Final = 4
"""As `class_of` in shared/lua/record.lua has it."""
MINUTE_S: Final = 60
TEN_MINUTES_S: Final = 600
BY_MINUTE: Final = 120
"""Up to so many minutes are told one by one, more in periods of ten."""
MOST_MINUTES: Final = 48 * 60


class Outcome(Word):
    """How a job ended, as operators count it."""

    SUCCEEDED = "succeeded"
    """Its pictures were drawn for it."""
    REUSED = "reused"
    """It succeeded with pictures that another job drew."""
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Ends:
    """How many jobs ended in one way, and how many pictures they were for."""

    jobs: int = 0
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, by class: the times from `2 ** (class / 4)` ms to the next class."""

    classes: Mapping[int, int] = field(default_factory=dict[int, int])

    @property
    def jobs(self) -> int:
        """How many were timed."""
        return sum(self.classes.values())

    def quantile(self, part: float) -> float | None:
        """Tell within how many ms that part of them was done; None if there are none."""
        rank, before = part * self.jobs, 0
        for number, count in sorted(self.classes.items()):
            if before + count >= rank:
                return 2.0 ** ((number + (rank - before) / count) / CLASSES_PER_OCTAVE)
            before += count
        return None


@dataclass(frozen=True, slots=True)
class Ended:
    """What ended in a lane."""

    outcomes: Mapping[Outcome, Ends] = field(default_factory=dict[Outcome, Ends])
    waited: Times = field(default_factory=Times)
    """From the submit to the first attempt, of the jobs that began."""
    drew: Times = field(default_factory=Times)
    """From there to the end, of those that succeeded."""


@dataclass(frozen=True, slots=True)
class Period:
    """What ended in a stretch of time."""

    at_ms: int
    """When it began."""
    lanes: Mapping[Lane, Ended]


@dataclass(frozen=True, slots=True)
class History:
    """The latest periods, the oldest first; those in which nothing ended are left out."""

    now_ms: int
    """By Redis' clock; the last period goes on."""
    period_s: int
    periods: tuple[Period, ...]

    def total(self) -> dict[Lane, Ended]:
        """Sum the periods up."""
        return {lane: summed(period.lanes[lane] for period in self.periods if lane in period.lanes) for lane in Lane}


def period_of(minutes: int) -> int:
    """Tell in periods of how many seconds so many minutes are told."""
    return MINUTE_S if minutes <= BY_MINUTE else TEN_MINUTES_S


def summed(several: Iterable[Ended]) -> Ended:
    """Add up what ended in several stretches."""
    jobs, pictures = Counter[Outcome](), Counter[Outcome]()
    waited, drew = Counter[int](), Counter[int]()
    for one in several:
        for outcome, ends in one.outcomes.items():
            jobs[outcome] += ends.jobs
            pictures[outcome] += ends.pictures
        waited.update(one.waited.classes)
        drew.update(one.drew.classes)
    return Ended({outcome: Ends(jobs[outcome], pictures[outcome]) for outcome in jobs}, Times(waited), Times(drew))


def ended_of(counts: Mapping[str, int]) -> dict[Lane, Ended]:
    """Read a period's counts: `<lane>:<outcome>:jobs|pictures`, `<lane>:waited|drew:<class>`."""
    ends: dict[Lane, dict[Outcome, dict[str, int]]] = {}
    times: dict[Lane, dict[str, dict[int, int]]] = {}
    for name, count in counts.items():
        lane_name, what, which = name.split(":")
        lane = Lane(lane_name)
        if what in {"waited", "drew"}:
            times.setdefault(lane, {}).setdefault(what, {})[int(which)] = count
        else:
            ends.setdefault(lane, {}).setdefault(Outcome(what), {})[which] = count
    return {
        lane: Ended(
            {outcome: Ends(**counted) for outcome, counted in ends.get(lane, {}).items()},
            Times(times.get(lane, {}).get("waited", {})),
            Times(times.get(lane, {}).get("drew", {})),
        )
        for lane in Lane
        if lane in ends or lane in times
    }
