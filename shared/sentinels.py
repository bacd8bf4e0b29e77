"""Connections to the master that sentinels name: asked as each connects, so a failover needs nobody's word.

Once a connection has reached the master, those that follow it in a burst don't ask: the answer is good for a moment,
and only while all is well. Any connection that is lost, or does not come about, ends that: a failover is never waited
for.

redis-py's own pools for sentinels neither wait for a free connection nor tell that the master has become a replica
before a write fails on each of them; one of its clients, shared by threads, forgets sentinels. A connection that asks
goes into any pool.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast, final

import redis
import redis.asyncio
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from shared.redis_address import RedisAddress, Sentinel

ASK_TIMEOUT_S: Final = 0.5
"""Of one sentinel, to be reached and to answer: then the next is asked."""

REMEMBER_S: Final = 0.5
"""How long an answer is good for other connections, counted from the question: less than it takes sentinels to give a
master up."""

_Found: TypeAlias = "list[bytes] | None"
_Role: TypeAlias = "list[bytes | str | int]"
_QUESTION: Final = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME")


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the master is, as a sentinel said."""

    host: str
    port: int
    asked_at: float
    """By the monotonic clock."""


class UnknownMaster(RedisConnectionError):
    """No sentinel that answers knows a master of that name."""


@final
class Sentinels:
    """Those who know the master; for any thread and any event loop."""

    def __init__(self, address: RedisAddress, tls: Mapping[str, Any]) -> None:
        self._asked = address.sentinels
        self._master = address.master
        self._first = 0
        """Who answered last: one that is away is not waited for each time."""
        self._reached: Answer | None = None
        """By which the master was reached lately."""
        self._options: dict[str, Any] = {
            **address.sentinel_login,
            **(dict(tls, ssl=True) if address.is_tls else {}),
            "socket_timeout": ASK_TIMEOUT_S,
            "socket_connect_timeout": ASK_TIMEOUT_S,
        }

    def remembered(self) -> Answer | None:
        """Tell where the master was found a moment ago; None if there is need to ask."""
        known = self._reached
        return known if known is not None and time.monotonic() - known.asked_at < REMEMBER_S else None

    def reached(self, by: Answer) -> None:
        """Note that the master was where this says."""
        self._reached = by

    def forget(self) -> None:
        """Let the next connection ask."""
        self._reached = None

    def master(self) -> Answer:
        """Ask where the master is. Raises redis-py's ConnectionError."""
        asked_at = time.monotonic()
        last: RedisError | None = None
        for number, one in self._in_order():
            try:
                with redis.Redis(one.host, one.port, retry=Retry(NoBackoff(), 0), **self._options) as client:
                    found = cast("_Found", client.execute_command(*_QUESTION, self._master))  # pyright: ignore[reportUnknownMemberType]: **options
            except RedisError as error:
                last = error
                continue
            if found:
                return self._heard(number, found, asked_at)
        raise self._nobody(last) from last

    async def master_in_loop(self) -> Answer:
        """Ask where the master is. Raises redis-py's ConnectionError."""
        asked_at = time.monotonic()
        last: RedisError | None = None
        for number, one in self._in_order():
            try:
                retry = AsyncRetry(NoBackoff(), 0)
                async with redis.asyncio.Redis(host=one.host, port=one.port, retry=retry, **self._options) as client:
                    found = cast("_Found", await client.execute_command(*_QUESTION, self._master))  # pyright: ignore[reportUnknownMemberType]: **options
            except RedisError as error:
                last = error
                continue
            if found:
                return self._heard(number, found, asked_at)
        raise self._nobody(last) from last

    def _in_order(self) -> Iterator[tuple[int, Sentinel]]:
        first = self._first
        for ahead in range(len(self._asked)):
            number = (first + ahead) % len(self._asked)
            yield number, self._asked[number]

    def _heard(self, number: int, found: list[bytes], asked_at: float) -> Answer:
        self._first = number
        host, port = found
        return Answer(host.decode(), int(port), asked_at)

    def _nobody(self, last: RedisError | None) -> RedisConnectionError:
        if last is None:
            return UnknownMaster(f"The sentinels know no master {self._master!r}.")
        return RedisConnectionError("No sentinel says where the master is.")


class AsksSentinels(Connection):
    """Connects to whoever is the master by then; for pools of threads."""

    sentinels: Sentinels
    _by: Answer

    def _connect(self) -> socket.socket:
        try:
            self._by = self.sentinels.remembered() or self.sentinels.master()
            self.host, self.port = self._by.host, self._by.port
            return super()._connect()
        except BaseException:
            self.sentinels.forget()
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and make sure of whom one has reached."""
        super().on_connect_check_health(check_health)
        self.send_command("ROLE", check_health=False)  # pyright: ignore[reportUnknownMemberType]: **kwargs
        _require_master(cast("_Role", self.read_response()))  # pyright: ignore[reportUnknownMemberType]: **kwargs
        self.sentinels.reached(self._by)

    def mark_for_reconnect(self) -> None:
        """Be given up, by the next one too."""
        self.sentinels.forget()
        super().mark_for_reconnect()

    def disconnect(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (redis-py's own)
        """End, for whatever reason."""
        self.sentinels.forget()
        super().disconnect(*args, **kwargs)  # pyright: ignore[reportUnknownMemberType]: **kwargs


class AsksSentinelsInLoop(AsyncConnection):
    """Connects to whoever is the master by then; for pools of an event loop."""

    sentinels: Sentinels
    _by: Answer

    async def _connect(self) -> None:
        try:
            self._by = self.sentinels.remembered() or await self.sentinels.master_in_loop()
            self.host, self.port = self._by.host, self._by.port
            await super()._connect()
        except BaseException:
            self.sentinels.forget()
            raise

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Log in, and make sure of whom one has reached."""
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE", check_health=False)
        _require_master(cast("_Role", await self.read_response()))
        self.sentinels.reached(self._by)

    def mark_for_reconnect(self) -> None:
        """Be given up, by the next one too."""
        self.sentinels.forget()
        super().mark_for_reconnect()

    async def disconnect(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (redis-py's own)
        """End, for whatever reason."""
        self.sentinels.forget()
        await super().disconnect(*args, **kwargs)


def _require_master(role: _Role) -> None:
    """Raise redis-py's ConnectionError unless a server says of itself that it is the master: sentinels may be late."""
    if role[0] not in {b"master", "master"}:
        raise RedisConnectionError("Whom the sentinels name is no master (yet).")
