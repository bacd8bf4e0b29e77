"""Who asks: from a request's key to a principal. What Redis says of keys and limits is remembered for a few seconds.

When a key is revoked or limits are changed, at whichever gateway, word comes (`api.changes`), and it is forgotten at
once. Word can get lost with a connection, so nothing is remembered for longer than `FRESH_S`.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from api.changes import Word
from api.together import Together
from shared.access import (
    OPERATOR,
    PAGE,
    WATCH,
    AccessKey,
    KeyId,
    Limits,
    Scope,
    digest_of,
    host_of,
    is_key_id,
    read_key,
    visitor_of,
)
from shared.errors import KeyRefused, KeyRequired, ScopeMissing
from shared.jobs import LOCAL_TENANT, Tenant
from shared.network import LOOPBACK
from shared.scripts import admit, limits_of
from shared.settings import Settings

FRESH_S: Final = 5.0
"""How long an answer of Redis is taken for true, unless word comes before."""
MOST_REMEMBERED: Final = 4096
"""Keys, and tenants; an older one is asked for again."""

_VISITORS: Final = frozenset({Scope.SUBMIT, Scope.READ})
"""What may be done for a visitor, at most."""
_NOBODYS: Final = digest_of("")

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what that opens."""

    tenant: Tenant
    scopes: frozenset[Scope]
    key: str | None = None
    """The key's id; `operator`, `page` or `watch` for those of the settings; None for none."""
    is_limited: bool = True
    """False for whom requests are not counted, unless a limit was set for it by name: the operator's own."""

    def require(self, scope: Scope) -> Tenant:
        """Give the tenant if the scope is there. Raises KeyRequired, ScopeMissing."""
        if scope in self.scopes:
            return self.tenant
        if self.key is None:
            raise KeyRequired
        raise ScopeMissing(scope)


class Access:
    """The door of one gateway."""

    def __init__(self, settings: Settings, together: Together) -> None:
        async def ask_for_key(key_id: KeyId) -> AccessKey | None:
            return await together.run(admit(key_id))

        async def ask_for_limits(tenant: Tenant) -> Limits:
            return await together.run(limits_of(tenant))

        self._needs_keys = settings.needs_keys
        self._nobody = _without_key(settings)
        self._settings_keys = _settings_keys(settings)
        self._keys = Remembered(ask_for_key)
        self._limits = Remembered(ask_for_limits)

    async def principal(self, key: str | None, visitor: str | None, *, must_know: bool = False) -> Principal:
        """Tell who sent this key, and for whom. With `must_know` nobody passes for having none, or some service's.

        Raises KeyRequired, KeyRefused, ScopeMissing for a visitor without the scope, QueueUnavailable.
        """
        found = await self._known(key, is_needed=must_know or self._needs_keys)
        if visitor is None:
            return found
        found.require(Scope.VISIT)
        # Counted even if its host is not: it is the visitors that a page must be safe from.
        is_limited = found.key is not None
        return Principal(visitor_of(found.tenant, visitor), found.scopes & _VISITORS, found.key, is_limited)

    async def limits(self, tenant: Tenant) -> Limits:
        """Tell what an operator set for a tenant, or for the host of a visitor. Raises QueueUnavailable."""
        return await self._limits.of(host_of(tenant))

    async def opens(self, key: str | None) -> bool:
        """True if this key, by its id, has been neither revoked nor expired; so for none. Raises QueueUnavailable."""
        return key is None or not is_key_id(key) or await self._keys.of(KeyId(key)) is not None

    def hear(self, word: Word | None) -> None:
        """Forget what a word says is so no longer; all, if words may have been missed."""
        match word:
            case Word(kind="revoked", about=key):
                self._keys.forget(KeyId(key))
            case Word(kind="limits", tenant=tenant):
                self._limits.forget(tenant)
            case _:
                self._keys.forget_all()
                self._limits.forget_all()

    async def _known(self, key: str | None, *, is_needed: bool) -> Principal:
        if key is None:
            if is_needed:
                raise KeyRequired
            return self._nobody
        digest = digest_of(key)
        for own in self._settings_keys:
            if hmac.compare_digest(digest, own.digest):
                return own.principal
        parts = read_key(key)
        if parts is None and not is_needed:
            # Clients of other services can't do without some key; one of ours that is wrong is still refused.
            return self._nobody
        key_id, secret = parts or (None, "")
        record = None if key_id is None else await self._keys.of(key_id)
        is_right = hmac.compare_digest(digest_of(secret), record.digest if record else _NOBODYS)
        if record is None or not is_right:
            raise KeyRefused
        return Principal(record.tenant, record.scopes, record.id)


@dataclass(frozen=True, slots=True)
class _SettingsKey:
    digest: str = field(repr=False)
    principal: Principal


def _settings_keys(settings: Settings) -> tuple[_SettingsKey, ...]:
    said = (
        (settings.operator_key, OPERATOR, frozenset(Scope)),
        (settings.page_key, PAGE, frozenset({Scope.SUBMIT, Scope.READ, Scope.VISIT})),
        (settings.watch_key, WATCH, frozenset({Scope.WATCH})),
    )
    return tuple(
        _SettingsKey(digest_of(key.get_secret_value()), Principal(tenant, scopes, tenant, is_limited=False))
        for key, tenant, scopes in said
        if key and key.get_secret_value()  # an empty one is none: it would open the door to everybody
    )


def _without_key(settings: Settings) -> Principal:
    """Who has no key, where none is needed: an operator too if it is on this machine, and there is no key for that."""
    scopes = frozenset({Scope.SUBMIT, Scope.READ, Scope.VISIT})
    has_key = settings.operator_key is not None and settings.operator_key.get_secret_value() != ""
    if settings.api_host in LOOPBACK and not has_key:
        scopes |= {Scope.ADMIN, Scope.WATCH}
    return Principal(LOCAL_TENANT, scopes, is_limited=False)


class Remembered(Generic[K, V]):
    """Answers to a question, each for `FRESH_S` from when it was asked; the `MOST_REMEMBERED` latest."""

    def __init__(self, ask: Callable[[K], Awaitable[V]]) -> None:
        self._ask = ask
        self._answers: dict[K, tuple[float, V]] = {}
        self._times_forgot = 0

    async def of(self, what: K) -> V:
        """Give the answer. Raises what the question does."""
        asked_at, times_forgot = time.monotonic(), self._times_forgot
        kept = self._answers.get(what)
        if kept is not None and asked_at < kept[0]:
            return kept[1]
        answer = await self._ask(what)
        if self._times_forgot != times_forgot:  # it may be the very answer that was to be forgotten
            return answer
        self._answers.pop(what, None)  # so that it is among the latest again
        self._answers[what] = (asked_at + FRESH_S, answer)
        if len(self._answers) > MOST_REMEMBERED:
            del self._answers[next(iter(self._answers))]
        return answer

    def forget(self, what: K) -> None:
        """Ask anew for this from now on; what was asked before and is not answered yet is not remembered either."""
        self._answers.pop(what, None)
        self._times_forgot += 1

    def forget_all(self) -> None:
        """The same for everything."""
        self._answers.clear()
        self._times_forgot += 1
