"""Connections to Redis that fail fast, and the one place where a call is sent and errors are translated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection as ThreadConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import (
    AuthenticationError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from shared.call import Call, Reply, library
from shared.errors import QueueUnavailable
from shared.sentinels import AsksSentinels, AsksSentinelsInLoop, Sentinels, UnknownMaster
from shared.settings import Settings
from shared.trust import causes, tls_trouble

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 2.0
LOOP_CONNECTIONS: Final = 50
"""Of one event loop. Redis answers one call at a time anyway; redis-py's own pool refuses the call beyond its limit."""
RETRIES: Final = 1
"""One, at once, and for lost connections alone: after a restart of Redis every pooled connection is
dead. What timed out is not sent again: a frozen Redis would hold the caller for a second term."""

_UNWELL: Final = ("MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNBLOCKED", "UNKILLABLE", "BUSY")
"""Error replies that tell of the server's state, not of a wrong call."""

_BARRED: Final = "ACL failure in script"
"""How such a reply begins where a verb was refused a command or a key of its own; any other is a NoPermissionError."""

_REPLICAS: Final = "NOREPLICAS"
"""A master that has lost its replicas may be no master any more, for everybody but itself."""


class _PacksInC(AbstractConnection):
    """Packs commands by hiredis, as redis-py's blocking connections do; its asyncio ones pack in Python.

    That took two fifths of what sending submits takes.
    """

    _packer = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:  # noqa: ANN401 (redis-py's own)
        return cast("Any", self._packer).pack(*args)


class _TellsOfItsLoss(AbstractConnection):
    """Fails as redis-py knows it to once it is lost, whatever the event loop: so it is made anew.

    redis-py expects an OSError of a transport that is closed. uvloop raises RuntimeError, which would pass all who
    translate and try again.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(str(error)) from error


class _LeavesReplica(ThreadConnection):
    """Is given up once its server says that it isn't the master: the next one asks anew who is, or the name's address.

    After the replies that are still to come have been read, when it goes back to its pool.
    """

    def read_response(self, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 (redis-py's own)
        try:
            return cast("object", super().read_response(*args, **kwargs))  # pyright: ignore[reportUnknownMemberType]
        except ResponseError as error:
            if _is_no_master(error):
                self.mark_for_reconnect()
            raise


class _LeavesReplicaInLoop(AbstractConnection):
    """The same, for an event loop."""

    async def read_response(self, *args: Any, **kwargs: Any) -> object:  # noqa: ANN401 (redis-py's own)
        try:
            return cast("object", await super().read_response(*args, **kwargs))
        except ResponseError as error:
            if _is_no_master(error):
                self.mark_for_reconnect()
            raise


def connect(settings: Settings) -> redis.Redis:
    """Make a client with a pool of its own, for threads. Connects when first used."""
    address = settings.redis_address
    retry = Retry(NoBackoff(), RETRIES, supported_errors=(RedisConnectionError,))
    client = redis.Redis.from_url(address.url, retry=retry, **_options(settings))  # pyright: ignore[reportUnknownMemberType]: **kwargs
    pool = client.connection_pool
    asks = (AsksSentinels,) if address.sentinels else ()
    pool.connection_class = type(
        "Connection", (_LeavesReplica, *asks, pool.connection_class), connection_attributes(settings)
    )
    return client


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """Make a client for one event loop. Connects when first used; a burst of calls waits for a free connection."""
    address = settings.redis_address
    retry = AsyncRetry(NoBackoff(), RETRIES, supported_errors=(RedisConnectionError,))
    pool = redis.asyncio.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
        address.url,
        max_connections=LOOP_CONNECTIONS,
        timeout=ANSWER_TIMEOUT_S,
        retry=retry,
        **_options(settings),
    )
    asks = (AsksSentinelsInLoop,) if address.sentinels else ()
    bases = (_TellsOfItsLoss, _PacksInC, _LeavesReplicaInLoop, *asks, pool.connection_class)
    pool.connection_class = type("Connection", bases, connection_attributes(settings))
    return redis.asyncio.Redis.from_pool(pool)


def refusal(settings: Settings) -> str | None:
    """Connect once, and say why a program must not start: what only its operators can mend. None if it may.

    That Redis is away is no reason: it comes back. Takes a few seconds then.
    """
    try:
        with connect(settings) as client:
            client.ping()  # pyright: ignore[reportUnknownMemberType]: **kwargs
    except RedisError as error:
        if trouble := tls_trouble(error):
            return f"DARKROOM_REDIS_URL: {trouble}"
    return None


def run(client: redis.Redis, call: Call[T]) -> T:
    """Send a call and read its reply. Raises QueueUnavailable, and what `call.parse` raises."""
    ask = cast("Callable[..., Reply]", client.execute_command)  # pyright: ignore[reportUnknownMemberType]: **options
    try:
        try:
            reply = ask(*call.words)
        except ResponseError as error:
            if not is_unknown(error):
                raise
            try:
                client.function_load(library().source, replace=True)
                reply = ask(*call.words)
            except (OutOfMemoryError, NoPermissionError):  # for a library there is no exception; not all may load it
                reply = ask(*call.words_of_script)
    except RedisError as error:
        raise translated(error) from error
    return call.parse(reply)


async def run_async(client: redis.asyncio.Redis, call: Call[T]) -> T:
    """Send a call and read its reply. Raises QueueUnavailable, and what `call.parse` raises."""
    ask = cast("Callable[..., Awaitable[Reply]]", client.execute_command)  # pyright: ignore[reportUnknownMemberType]
    try:
        try:
            reply = await ask(*call.words)
        except ResponseError as error:
            if not is_unknown(error):
                raise
            try:
                await client.function_load(library().source, replace=True)
                reply = await ask(*call.words)
            except (OutOfMemoryError, NoPermissionError):  # for a library there is no exception; not all may load it
                reply = await ask(*call.words_of_script)
    except RedisError as error:
        raise translated(error) from error
    return call.parse(reply)


def is_unknown(error: Exception) -> bool:
    """True if Redis has not loaded our library, as after a loss of its data."""
    return isinstance(error, ResponseError) and str(error) == "Function not found"


def is_barred(error: BaseException) -> bool:
    """True if Redis does not let its user do that."""
    return isinstance(error, NoPermissionError) or (isinstance(error, ResponseError) and str(error).startswith(_BARRED))


def tls_options(settings: Settings) -> dict[str, Any]:
    """Say how TLS is spoken to Redis, in redis-py's words and kombu's; empty without TLS."""
    address = settings.redis_address
    if not address.is_tls:
        return {}
    own = {"ssl_ca_certs": str(settings.ca_file)} if settings.ca_file else {}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **own, **address.files}


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        **tls_options(settings),
    }


def connection_attributes(settings: Settings) -> dict[str, object]:
    """Make what a class of connections has to know to ask sentinels; nothing where there are none."""
    address = settings.redis_address
    return {"sentinels": Sentinels(address, tls_options(settings))} if address.sentinels else {}


def _is_no_master(error: ResponseError) -> bool:
    return isinstance(error, ReadOnlyError | MasterDownError) or str(error).startswith(_REPLICAS)


def translated(error: RedisError) -> Exception:
    """Say that the queue is away, unless the error is ours: a wrong call stays what it is."""
    away = isinstance(
        error, RedisConnectionError | RedisTimeoutError | OutOfMemoryError | ReadOnlyError | MasterDownError
    )
    unwell = isinstance(error, ResponseError) and str(error).startswith(_UNWELL)
    return QueueUnavailable(_outage(error)) if away or unwell or is_barred(error) else error


def _outage(error: RedisError) -> str:
    """Say it to who asks, with what its operator can do about it."""
    kinds = tuple(map(type, causes(error)))
    if is_barred(error):
        said = (
            "Redis does not let the user in DARKROOM_REDIS_URL do what this part must. Whoever runs it: after an "
            "update `make redis-users`, then start Redis anew."
        )
    elif isinstance(error, OutOfMemoryError):
        said = (
            "The queue is full: Redis has used up its memory. Nothing was accepted; what was accepted before goes on, "
            "and makes room as it is forgotten. Whoever runs it can raise its maxmemory."
        )
    elif trouble := tls_trouble(error):
        said = f"The queue can't be reached safely. {trouble}"
    elif AuthenticationError in kinds:
        said = "The queue, or a sentinel, does not take the password, or the user, in DARKROOM_REDIS_URL."
    elif UnknownMaster in kinds:
        said = "The sentinels do not know the master that DARKROOM_REDIS_URL names."
    else:
        said = "The queue does not answer. Try again shortly."
    return said
