"""What came of it, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from shared.jobs import JobStatus
from tests.chaos.audit import Pictures
from tests.chaos.ledger import Ledger, Promise
from tests.chaos.recovery import Recovery

BAR_OVER_LEASE_S: Final = 2.0
"""A killed worker's job runs again within its lease and so much, if nothing else goes wrong meanwhile."""


@dataclass(frozen=True)
class Outcome:
    """A run's end."""

    seed: int
    lease_s: float
    took_s: float
    ledger: Ledger
    faults: Counter[str]
    recoveries: Sequence[Recovery]
    pictures: Pictures
    ended_by_two: Sequence[str]
    """Jobs with two ends in the workers' logs."""
    fenced: int
    """How often a worker found its job another's, or canceled, and dropped it."""
    looks: int
    troubles: Sequence[str]
    """Faults that could not be mended."""
    alarms: Sequence[str]

    @property
    def accepted(self) -> list[Promise]:
        return list(self.ledger.accepted())

    @property
    def ended_twice(self) -> set[str]:
        """Jobs with more than one end, by what was read of them or by the workers' logs."""
        return {one.last.job_id for one in self.ledger.promises() if one.ended_twice} | set(self.ended_by_two)

    @property
    def lost(self) -> list[Promise]:
        return [one for one in self.accepted if one.is_lost]

    @property
    def breaches(self) -> list[str]:
        """Every promise that was not kept, a line each; empty if all was well."""
        return [
            *(f"ended twice: {job_id}" for job_id in sorted(self.ended_twice)),
            *(f"lost: {one.last}" for one in self.lost),
            *(f"did not end: {one.last}" for one in self.ledger.open()),
            *(f"{trouble}: {one.last}" for one in self.ledger.promises() for trouble in sorted(one.troubles)),
            *(f"picture missing: {key}" for key in self.pictures.missing),
            *(f"picture is not what its job says: {key}" for key in self.pictures.different),
            *(f"could not be mended: {trouble}" for trouble in self.troubles),
        ]

    @property
    def late(self) -> list[str]:
        """Every kill -9 with nothing else wrong after which the job waited again too late, a line each.

        A matter of time, so nothing for a test on a machine that may be busy.
        """
        bar_s = self.lease_s + BAR_OVER_LEASE_S
        return [
            f"waited again {one.requeued_s:.1f} s after the kill: {one.job_id}"
            for one in self.recoveries
            if not one.beside and one.requeued_s > bar_s
        ]


def table(outcome: Outcome) -> str:
    """Say it in markdown."""
    rows = [f"| {what} | {count} |" for what, count in _rows(outcome)]
    head = f"| seed {outcome.seed}, lease {outcome.lease_s:g} s, {outcome.took_s:.0f} s in all | |"
    return "\n".join([head, "|---|---|", *rows])


def _rows(outcome: Outcome) -> Iterator[tuple[str, object]]:
    accepted = outcome.accepted
    tenants = Counter(one.last.tenant for one in accepted)
    yield "accepted", f"{len(accepted)} ({_list(tenants)})"
    yield "refused, or no answer", _list(outcome.ledger.refusals()) or 0
    ends = Counter(one.last.status for one in accepted)
    yield "succeeded", ends[JobStatus.SUCCEEDED]
    failures = Counter(one.last.error or "?" for one in accepted if one.last.status is JobStatus.FAILED)
    yield "failed", _list(failures) or 0
    yield "canceled", ends[JobStatus.CANCELED]
    yield "not ended", len(outcome.ledger.open())
    yield "ended twice", len(outcome.ended_twice)
    yield "lost", len(outcome.lost)
    yield "moves that can't be", sum(bool(one.troubles) for one in outcome.ledger.promises())
    pictures = outcome.pictures
    yield (
        "pictures missing, or not what their job says",
        (f"{len(pictures.missing)}, {len(pictures.different)} (of {pictures.checked})"),
    )
    unheard = Counter(
        f"{one.last.status} though {one.last.tenant} was told {told}" for one, told in outcome.ledger.unheard()
    )
    yield "jobs that nobody was promised", _list(unheard) or 0
    yield "claimed more than once", sum(one.last.claims > 1 for one in accepted)
    yield "dropped by a worker whose lease was lost", outcome.fenced
    yield "faults", _list(outcome.faults)
    yield from _recovery_rows(outcome)
    yield "looks at jobs", outcome.looks
    yield "alarms in logs", len(outcome.alarms)


def _recovery_rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    bar_s = outcome.lease_s + BAR_OVER_LEASE_S
    for what, some in (
        ("nothing else wrong", [one for one in outcome.recoveries if not one.beside]),
        ("beside another fault", [one for one in outcome.recoveries if one.beside]),
    ):
        if not some:
            yield f"kill -9, {what}", "0 jobs"
            continue
        requeued, running = ([getattr(one, name) for one in some] for name in ("requeued_s", "running_s"))
        yield f"kill -9, {what}: waits again", f"{_spread(requeued)} of {len(some)}"
        within = sum(seconds <= bar_s for seconds in running)
        yield f"kill -9, {what}: runs again", f"{_spread(running)}; {within} of {len(some)} within {bar_s:g} s"


def _spread(seconds: Sequence[float]) -> str:
    return f"median {median(seconds):.1f} s, worst {max(seconds):.1f} s"


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())
