"""How long who follows a job or a batch bears an outage."""

from __future__ import annotations

import time
from typing import Final

from shared.errors import GatewayUnavailable, RateLimited, Unavailable

OUTAGE_S: Final = 30.0
"""How long `wait`, `follow` and `generate` bear a gateway, queue or store that is away: a restart takes less."""


class Patience:
    """With a gateway that is away while a job or a batch is followed."""

    def __init__(self, what: str) -> None:
        self._what = what
        """Such as `Job 5r0z9k2m4c7q8x1t6w3v0h2j9n`."""
        self._away_since: float | None = None

    def renew(self) -> None:
        """Note an answer."""
        self._away_since = None

    def bear(self, error: GatewayUnavailable | Unavailable | RateLimited, pause_s: float) -> float:
        """Tell when to ask again, in seconds: after `pause_s`, or when the gateway says.

        Raises the error of an outage that is no longer short, with the id, so that nothing is drawn twice.
        """
        if isinstance(error, RateLimited):
            self.renew()
            return max(pause_s, error.retry_after_s)
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > OUTAGE_S:
            raise type(error).quoted(f"{error} {self._what} was accepted: wait for it by its id.") from error
        return pause_s
