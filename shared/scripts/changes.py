"""How those who follow jobs keep up: which of a tenant's have changed, and how many stand at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from shared.call import Call, Reply, call_of, items, number, text
from shared.jobs import Hold, Job, JobId, Tenant
from shared.keys import DEFAULT, Keys
from shared.record import job_of, position_of

MOST_CHANGED: Final = 100
"""Of one answer: Redis serves nobody else meanwhile."""


@dataclass(frozen=True, slots=True)
class Change:
    """A job as it stands now, and the number of its last change."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True)
class Changed:
    """Some of a tenant's jobs that have changed, in the order of their last changes."""

    number: int
    """Of the last change that this tells of: ask for what came since."""
    changes: tuple[Change, ...]

    @property
    def is_all(self) -> bool:
        """False if there may be more."""
        return len(self.changes) < MOST_CHANGED


@dataclass(frozen=True, slots=True)
class Stand:
    """What changes of a job most often."""

    version: int
    step: int
    position: int | None
    ahead_jobs: int
    ahead_ms: int
    hold: Hold | None

    def of(self, job: Job) -> Job:
        """The job as it stands now; this must be its version."""
        return replace(
            job,
            step=self.step,
            position=self.position,
            ahead_jobs=self.ahead_jobs,
            ahead_ms=self.ahead_ms,
            hold=self.hold,
        )


def changed(tenant: Tenant, *, since: int | None, keys: Keys = DEFAULT) -> Call[Changed]:
    """Tell which of a tenant's jobs have changed since a change, each once, at most `MOST_CHANGED`.

    None: none of them, only the number of the last change. A number from before Redis lost its data tells of all.
    """

    def parse(_code: str, rest: list[Reply]) -> Changed:
        last, found = rest
        words = items(found)
        pairs = zip(words[::2], words[1::2], strict=True)
        return Changed(int(text(last)), tuple(Change(int(text(change)), job_of(job)) for change, job in pairs))

    return call_of("changed", keys, (tenant, "" if since is None else since, MOST_CHANGED), parse)


def glance(job_ids: Iterable[JobId], *, keys: Keys = DEFAULT) -> Call[tuple[Stand | None, ...]]:
    """Tell how jobs stand, in their order; None for one that is gone. Asks not whose they are."""

    def parse(_code: str, rest: list[Reply]) -> tuple[Stand | None, ...]:
        return tuple(_stand_of(items(stand)) for stand in items(rest[0]))

    return call_of("glance", keys, tuple(job_ids), parse)


def _stand_of(words: list[Reply]) -> Stand | None:
    if not words:
        return None
    version, step, position, ahead_jobs, ahead_ms, hold = words
    return Stand(
        version=number(version),
        step=number(step),
        position=position_of(position),
        ahead_jobs=number(ahead_jobs),
        ahead_ms=number(ahead_ms),
        hold=Hold(text(hold)) if text(hold) else None,
    )
