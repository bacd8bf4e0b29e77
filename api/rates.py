"""How often a tenant may ask: counted in Redis, by `limits`; who can't be counted because Redis is away is let in.

The window slides: the last minute's requests count, those of the minute before it by how much of it is still within
sixty seconds. Two counters a tenant, by Redis' clock, whatever the number of gateways. To be counted is a write, which
Redis brings to its disk, so each gateway counts a sixtieth of the limit at once, ahead; by that much each may let a
tenant exceed it. Limits below 120 are counted one by one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.jobs import Tenant
from shared.keys import DEFAULT, Keys

log = logging.getLogger(__name__)

WINDOW_S: Final = 60.0
PARTS: Final = 60
"""So many times a minute a gateway asks Redis for a tenant that uses up its limit."""
MOST_ACCOUNTS: Final = 4096
"""Tenants whose counts a gateway remembers; for an older one it asks again."""
PATIENCE_S: Final = 0.25
"""How long a request is held up for being counted."""
PAUSE_S: Final = 1.0
"""How long nobody is counted after that took too long."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How a tenant stands with its limit, this request counted."""

    per_minute: int
    remaining: int
    reset_s: int
    """Until there is room for one more, 1 at least."""
    is_over: bool
    """True if this request is one too many."""

    @property
    def headers(self) -> dict[str, str]:
        """Say it as draft-ietf-httpapi-ratelimit-headers-06 does."""
        return {
            "RateLimit-Limit": str(self.per_minute),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
            "RateLimit-Policy": f"{self.per_minute};w=60",
        }


@dataclass(slots=True)
class _Account:
    """What this gateway has counted ahead for a tenant, and how Redis said that it stands."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ahead: int = 0
    is_over: bool = False
    remaining: int = 0
    """Beyond what was counted ahead."""
    reset_at: float = 0.0
    good_until: float = 0.0
    """Both monotonic."""


class Rates:
    """Counts requests."""

    def __init__(self, redis: Redis, *, keys: Keys = DEFAULT) -> None:
        storage = RedisStorage(
            "redis://",
            implementation="redispy",
            key_prefix=f"{keys.prefix}rate",
            connection_pool=redis.connection_pool,  # pyright: ignore[reportArgumentType]: documented, not annotated
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._accounts: dict[tuple[Tenant, int], _Account] = {}
        self._pause_until = 0.0

    async def count(self, tenant: Tenant, per_minute: int) -> Rate | None:
        """Count a request of a tenant's; None if it can't be counted now."""
        account = self._account(tenant, per_minute)
        async with account.lock:
            is_known = time.monotonic() < account.good_until and (account.ahead > 0 or account.is_over)
            if not is_known and not await self._ask(account, tenant, per_minute):
                return None
            if not account.is_over:
                account.ahead -= 1
            reset_s = max(1, math.ceil(account.reset_at - time.monotonic()))
            return Rate(per_minute, account.remaining + account.ahead, reset_s, account.is_over)

    async def _ask(self, account: _Account, tenant: Tenant, per_minute: int) -> bool:
        """Count some requests ahead, or one if there is no room for more; False if Redis does not answer."""
        if time.monotonic() < self._pause_until:
            return False
        limit, ahead = RateLimitItemPerMinute(per_minute), max(1, per_minute // PARTS)
        try:
            async with asyncio.timeout(PATIENCE_S):
                is_within = await self._limiter.hit(limit, tenant, cost=ahead)
                if not is_within and ahead > 1:
                    ahead = 1
                    is_within = await self._limiter.hit(limit, tenant)
                reset_at, account.remaining = await self._limiter.get_window_stats(limit, tenant)
        except (RedisError, TimeoutError) as error:
            self._pause_until = time.monotonic() + PAUSE_S
            log.warning("requests are not counted for now: %s", str(error) or "Redis takes too long")
            return False
        now = time.monotonic()
        account.is_over = not is_within
        account.ahead = ahead if is_within else 0
        account.reset_at = now + max(0.0, reset_at - time.time())
        # Until then there is no room; what was counted ahead is in the window no longer.
        account.good_until = account.reset_at if account.is_over else now + WINDOW_S
        return True

    def _account(self, tenant: Tenant, per_minute: int) -> _Account:
        account = self._accounts.setdefault((tenant, per_minute), _Account())
        if len(self._accounts) > MOST_ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]
        return account
