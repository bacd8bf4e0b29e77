"""What a job costs a Redis: the price of each call times the calls that a job makes. Arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Figure = Literal["alone_us", "busy_us", "log_bytes", "in_bytes", "out_bytes"]

FORGOTTEN_AT_ONCE: Final = 100
"""Jobs that a gateway's upkeep forgets in a call."""
BEATS: Final = ("renew", "heartbeat", "reap")
"""Of each worker, each second."""


@dataclass(frozen=True, slots=True)
class Verb:
    """What one call of a kind costs the server."""

    alone_us: float
    """Of its processor, if nothing else is asked meanwhile."""
    busy_us: float
    """Of its processor, among many others."""
    together: float
    """Calls in a turn of the server's loop, of the busy ones."""
    log_bytes: float
    in_bytes: float
    out_bytes: float


@dataclass(frozen=True, slots=True)
class Mix:
    """What a job asks of Redis."""

    steps: int = 25
    previews: int = 9
    """The first step has one, then one each 300 ms."""
    seconds: float = 3.0
    """That a worker is held by it: so many heartbeats, renewals and sweeps."""
    polls: int = 2
    """A held answer reads the job as it is asked, and at the end."""

    @property
    def calls(self) -> dict[str, float]:
        """How often a job makes each call."""
        return {
            "submit": 1,
            "claim": 1,
            "progress": 1 + self.steps - self.previews,  # one as it begins
            "progress with a preview": self.previews,
            "read, running": self.polls,
            "add_image": 1,
            "finish": 1,
            "retire": 1 / FORGOTTEN_AT_ONCE,
            "discard": 1 / FORGOTTEN_AT_ONCE,
            **dict.fromkeys(BEATS, self.seconds),
        }

    def price(self, verbs: Mapping[str, Verb], figure: Figure) -> float:
        """Add up what a job costs."""
        return sum(getattr(verbs[name], figure) * count for name, count in self.calls.items())
