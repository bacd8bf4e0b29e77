"""How many answers are held, without HTTP and Redis: who has no key is not looked at."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from api.access import Access, Principal
from api.stays import Stays
from api.together import Together
from shared.errors import KeyRefused, RateLimited
from shared.jobs import Tenant
from shared.settings import Settings

NOBODY = Principal(Tenant("local"), frozenset())


def stays_of(**limits: int) -> Stays:
    settings = Settings.model_validate(limits)
    return Stays(settings, Access(settings, Together(Redis())))


async def held(stays: Stays, most: int) -> int:
    """How many of so many are held before one is refused; all are let go again."""
    async with AsyncExitStack() as open_stays:
        for _ in range(most):
            try:
                await open_stays.enter_async_context(stays.begin(NOBODY))
            except RateLimited:
                break
        return len(stays)


def test_a_quarter_of_the_open_files_is_left_for_all_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forty(_what: int) -> tuple[int, int]:
        return 40, 40

    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("api.stays.resource.getrlimit", forty)

    assert asyncio.run(held(stays_of(max_held=1000), 50)) == 30
    assert "of 40 open files only 30 can be held answers" in caplog.messages[0]
    assert "30 answers are held open" in caplog.messages[1]
    assert asyncio.run(held(stays_of(max_held=20), 50)) == 20


def test_who_leaves_makes_room_however_they_leave() -> None:
    async def leave() -> None:
        stays = stays_of(max_tenant_held=2)
        for error in (ValueError(), asyncio.CancelledError(), KeyRefused()):
            with pytest.raises(type(error)):
                async with stays.begin(NOBODY):
                    raise error
        assert len(stays) == 0
        assert await held(stays, 3) == 2
        assert len(stays) == 0

    asyncio.run(leave())
