"""Answers that are held: how many there may be, and that each ends with the key by which it was asked for.

A stream of events, a read that waits for its job, a call in a dialect: each is a connection, and an open file, for as
long as it lasts. Who asks for one more than there may be is refused.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, final

from api.access import FRESH_S, Access, Principal
from api.changes import set_within
from api.context import exchange
from shared.errors import KeyRefused, QueueUnavailable, RateLimited
from shared.jobs import Tenant
from shared.settings import Settings

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 5
"""Nobody knows when somebody leaves."""


@final
class Stay:
    """One held answer, for as long as its request is served."""

    def __init__(self) -> None:
        self.is_over = False
        """True once its key opens nothing any more: tell nothing more."""
        self._told: list[Callable[[], object]] = []

    def when_over(self, tell: Callable[[], object]) -> None:
        """Have `tell` called when it is over, or now."""
        if self.is_over:
            tell()
        self._told.append(tell)

    def end(self) -> None:
        """End it."""
        self.is_over = True
        for tell in self._told:
            tell()

    def require(self) -> None:
        """Raise KeyRefused if it is over."""
        if self.is_over:
            raise KeyRefused("The key was revoked, or has expired, while its answer was held.")


@final
class Stays:
    """All held answers of one gateway."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._access = access
        self._most = _most(settings.max_held)
        self._most_of_tenant = settings.max_tenant_held
        self._held = 0
        self._of_tenants = Counter[Tenant]()
        self._of_keys: dict[str, set[Stay]] = {}
        self._is_doubted = asyncio.Event()

    def __len__(self) -> int:
        return self._held

    @asynccontextmanager
    async def begin(self, principal: Principal) -> AsyncGenerator[Stay]:
        """Hold an answer. Raises RateLimited if too many are held, KeyRefused, QueueUnavailable."""
        self._require_room(principal.tenant)
        exchange().is_held = True
        stay = Stay()
        with self._counted(principal.tenant), self._listed(principal.key, stay):
            # Its key may have been revoked since it was looked at, and then no more word of it comes.
            if not await self._access.opens(principal.key):
                stay.end()
            stay.require()
            yield stay

    def look(self) -> None:
        """Look soon whether the keys still open: one may have been revoked."""
        self._is_doubted.set()

    async def run(self) -> None:
        """End what is held for keys that were revoked or have expired, until canceled.

        Word of a revoked key can get lost, and of one that expires none comes: so all are looked at every `FRESH_S`.
        """
        while True:
            await set_within(self._is_doubted, FRESH_S)
            self._is_doubted.clear()
            try:
                await self._end_all_that_must()
            except QueueUnavailable:  # next time; meanwhile there is nothing to tell them either
                continue
            except Exception:
                log.exception("a look at the keys of held answers failed; it goes on")

    async def _end_all_that_must(self) -> None:
        for key in tuple(self._of_keys):
            if await self._access.opens(key):
                continue
            ended = tuple(self._of_keys.get(key, ()))
            for stay in ended:
                stay.end()
            log.info("ended %d held answers of key=%s, which opens nothing any more", len(ended), key)

    @contextmanager
    def _counted(self, tenant: Tenant) -> Generator[None]:
        self._held += 1
        self._of_tenants[tenant] += 1
        if self._held == self._most:
            log.warning("%d answers are held open: no more may be", self._held)
        try:
            yield
        finally:
            self._held -= 1
            self._of_tenants[tenant] -= 1
            if not self._of_tenants[tenant]:
                del self._of_tenants[tenant]

    @contextmanager
    def _listed(self, key: str | None, stay: Stay) -> Generator[None]:
        if key is None:
            yield
            return
        stays = self._of_keys.setdefault(key, set())
        stays.add(stay)
        try:
            yield
        finally:
            stays.discard(stay)
            if not stays:
                del self._of_keys[key]

    def _require_room(self, tenant: Tenant) -> None:
        if self._of_tenants[tenant] >= self._most_of_tenant:
            said = f"{self._most_of_tenant} answers are held open for you here already, streams and waits: close some."
            raise RateLimited.by_held(said, RETRY_AFTER_S)
        if self._held >= self._most:
            said = f"This gateway holds {self._most} answers open, as many as it may."
            raise RateLimited.by_held(said, RETRY_AFTER_S)


def _most(wanted: int) -> int:
    """How many answers may be held: as many as are wanted, and leave a quarter of the open files for all else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or wanted <= files * 3 // 4:
        return wanted
    most = files * 3 // 4
    log.warning("DARKROOM_MAX_HELD=%d, but of %d open files only %d can be held answers", wanted, files, most)
    return most
