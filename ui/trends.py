"""How jobs ended, over time: a history as figures and as plots. Knows no gateway and no HTML."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from shared.history import Outcome
from shared.lanes import Lane
from shared.oversight import EndedBody, HistoryBody, TimesBody
from ui.durations import seconds
from ui.plots import Plot, Series, round_up, round_up_s

SPANS: Final = {60: "1 h", 360: "6 h", 1440: "24 h"}
"""Minutes that can be looked back, and how that is said."""

_OUTCOMES: Final = {
    Outcome.SUCCEEDED: "Drawn",
    Outcome.REUSED: "Found, not drawn",
    Outcome.FAILED: "Failed",
    Outcome.CANCELED: "Canceled",
    Outcome.EXPIRED: "Expired",
}
_WENT_WELL: Final = (Outcome.SUCCEEDED, Outcome.REUSED)
_FEW: Final = 10
"""Below it a figure has a second digit."""
_MANY: Final = 1000
_LEAST_PART: Final = 0.5
"""Of a period that goes on, before its rate is taken for one."""


def back(found: HistoryBody) -> str:
    """Say how far it looks back."""
    return SPANS.get(found.minutes, f"{found.minutes} min")


def figures(found: HistoryBody) -> dict[str, str]:
    """Say a history in figures, by name."""
    drawn = _pictures(found, Outcome.SUCCEEDED)
    said = {"Pictures drawn": f"{drawn} ({_plain(drawn / found.minutes)} a minute)"}
    for outcome in (Outcome.REUSED, Outcome.FAILED, Outcome.CANCELED, Outcome.EXPIRED):
        jobs = sum(ended.outcomes[outcome].jobs for ended in found.total.values() if outcome in ended.outcomes)
        if jobs or outcome is Outcome.FAILED:
            said[f"Jobs {_OUTCOMES[outcome].lower()}"] = str(jobs)
    for lane, ended in found.total.items():
        if ended.waited:
            said[f"Waited, {lane}"] = _times(ended.waited)
        if ended.drew:
            said[f"Drew, {lane}"] = _times(ended.drew)
    return said


def throughput(found: HistoryBody) -> Plot:
    """Make the plot of pictures a minute by outcome."""
    counts = {outcome: _rates(found, outcome) for outcome in _OUTCOMES}
    present = [outcome for outcome, values in counts.items() if any(values) or outcome is Outcome.SUCCEEDED]
    said = ", ".join(f"{_pictures(found, outcome)} {_OUTCOMES[outcome].lower()}" for outcome in present)
    return Plot(
        name="throughput",
        title="Pictures a minute",
        summary=f"In the last {back(found)}: {said}.",
        series=tuple(
            Series(_OUTCOMES[outcome], outcome.value, counts[outcome], is_below=outcome not in _WENT_WELL)
            for outcome in present
        ),
        ages=_ages(found),
        marks=_marks(found),
        say=_plain,
        end=round_up,
    )


def waiting(found: HistoryBody, lane: Lane) -> Plot:
    """Make the plot of how long a lane's jobs waited for their first step."""
    times = [None if ended is None else ended.waited for ended in _by_period(found, lane)]
    return Plot(
        name=f"waiting-{lane}",
        title=f"Time waited, {lane}",
        summary=f"{_times(found.total[lane].waited)} over all of it.",
        series=(
            Series("Median", "median", [one and one.median_s for one in times]),
            Series("Nine of ten within", "p90", [one and one.p90_s for one in times]),
        ),
        ages=_ages(found),
        marks=_marks(found),
        say=seconds,
        end=round_up_s,
    )


def _times(times: TimesBody | None) -> str:
    return (
        "nothing" if times is None else f"median {seconds(times.median_s)}, nine of ten within {seconds(times.p90_s)}"
    )


def _pictures(found: HistoryBody, outcome: Outcome) -> int:
    return sum(ended.outcomes[outcome].pictures for ended in found.total.values() if outcome in ended.outcomes)


def _by_period(found: HistoryBody, lane: Lane) -> list[EndedBody | None]:
    """What ended in each period, the oldest first; None where nothing did."""
    periods: list[EndedBody | None] = [None] * _periods(found)
    for one in found.periods:
        age = _number(found, found.until) - _number(found, one.at)
        if 0 <= age < len(periods):
            periods[-1 - age] = one.lanes.get(lane)
    return periods


def _rates(found: HistoryBody, outcome: Outcome) -> list[float]:
    minutes = found.period_s / 60
    counts = [0.0] * _periods(found)
    for lane in Lane:
        for at, ended in enumerate(_by_period(found, lane)):
            if ended is not None and outcome in ended.outcomes:
                counts[at] += ended.outcomes[outcome].pictures
    part = found.until.timestamp() % found.period_s / found.period_s
    return [*(count / minutes for count in counts[:-1]), counts[-1] / minutes / max(part, _LEAST_PART)]


def _periods(found: HistoryBody) -> int:
    return -(-found.minutes * 60 // found.period_s)


def _number(found: HistoryBody, at: datetime) -> int:
    return int(at.timestamp() // found.period_s)


def _ages(found: HistoryBody) -> tuple[str, ...]:
    count = _periods(found)
    return tuple("now" if age == 0 else f"{seconds(age * found.period_s)} ago" for age in reversed(range(count)))


def _marks(found: HistoryBody) -> tuple[str, ...]:
    return (f"{back(found)} ago", f"{seconds(found.minutes * 30)} ago", "now")


def _plain(value: float) -> str:
    return f"{value:.2g}" if value < _FEW else f"{value:.3g}" if value < _MANY else f"{value:.0f}"
