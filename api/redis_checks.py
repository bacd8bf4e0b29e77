"""What can be wrong with Redis though it answers: what it forgets, evicts, or is too old or too full for.

Asks in Redis' own words, and judges. A managed Redis may bar some of them: what it does not tell can't be told, and is
not wrong for that.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.call import library
from shared.checks import Finding, ok, unknown, warning, wrong
from shared.connection import is_barred, translated
from shared.errors import QueueUnavailable

T = TypeVar("T")

SKEW_S: Final = 5.0
"""Leases and deadlines are times of Redis', and what people are told is counted from them."""
FULL: Final = 0.7
"""Of its memory: from here on somebody should do something. The alert RedisFilling has the same."""
HALF: Final = 0.5
"""Of the machine's, where Redis has no limit: rewriting its log may take as much again."""
TESTED: Final = {"valkey": 9, "redis": 8}
"""Since which version; older ones that know functions may do."""
FUNCTIONS_SINCE: Final = 7

_BARRED: Final = "Redis does not let this gateway ask; a managed one may not."


@dataclass(frozen=True, slots=True)
class Said:
    """What Redis told of itself; None is what it did not."""

    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Empty if it is barred."""
    fsync: str | None = None
    """`appendfsync`."""
    has_library: bool | None = None
    ahead_s: float | None = None
    """Its clock, compared with this machine's."""


async def ask(redis: Redis) -> Said:
    """Ask all that is judged. Raises QueueUnavailable."""
    client = cast("Any", redis)  # redis-py types these loosely
    info = await _unless_barred(client.info)  # of all sections: Redis 6, which is to be told of, takes no list of them
    config = await _unless_barred(lambda: client.config_get("appendfsync"))
    functions = await _unless_barred(lambda: client.function_list(library().name))
    before = time.time()
    told = await _unless_barred(client.time)
    after = time.time()
    return Said(
        info=info or {},
        fsync=_words(config).get("appendfsync"),
        has_library=None if functions is None else bool(functions),
        ahead_s=None if told is None else told[0] + told[1] / 1e6 - (before + after) / 2,
    )


def judge(said: Said, *, replicas: int, asks_sentinels: bool) -> Iterator[Finding]:
    """Tell what is to be said of Redis, if `replicas` of it must have what a gateway writes."""
    yield _version(said)
    yield _functions(said)
    yield from _log(said)
    yield _eviction(said)
    yield _memory(said)
    yield _replicas(said, replicas, asks_sentinels=asks_sentinels)
    yield _clock(said)


def _version(said: Said) -> Finding:
    what = "redis version"
    if not said.info:
        return unknown(what, _BARRED, "By its service's pages: Redis 8 or Valkey 9, or newer, and no cluster.")
    name = str(said.info.get("server_name", "redis"))
    version = str(said.info.get("valkey_version") or said.info.get("redis_version", "0"))
    told, major = f"It is {name.capitalize()} {version}", int(version.partition(".")[0])
    if said.info.get("redis_mode") == "cluster":
        return wrong(what, f"{told}, a cluster: Celery's keys lie in several slots.", "Take one that is no cluster.")
    if major < FUNCTIONS_SINCE:
        return wrong(what, f"{told}, which knows no functions.", "Take Redis 8 or Valkey 9, or newer.")
    if major < TESTED.get(name, major):
        return warning(
            what, f"{told}: older than what Darkroom is tested with.", "Update it to Redis 8 or Valkey 9, or newer."
        )
    return ok(what, f"{told}.")


def _functions(said: Said) -> Finding:
    what = "redis functions"
    if said.has_library is None:
        return unknown(what, "Redis does not list its functions for this gateway.", "See that it may use FUNCTION.")
    if not said.has_library:
        return warning(
            what,
            "It has not loaded the queue's functions: each call is sent as a script instead, which is slower.",
            "Is Redis full, or may its user not load them (FUNCTION LOAD)?",
        )
    return ok(what, "It has the queue's functions.")


def _log(said: Said) -> Iterator[Finding]:
    what = "redis log"
    if not said.info:
        yield unknown(what, _BARRED, "See that it keeps a durable log of writes (appendonly yes, or its service's).")
        return
    if not said.info.get("aof_enabled"):
        yield wrong(
            what,
            "It keeps no append-only file: jobs that were accepted since its last snapshot are lost when it ends.",
            "appendonly yes and appendfsync always in its configuration; of a managed one, its durable kind.",
        )
    elif said.info.get("aof_last_write_status") != "ok":
        yield wrong(
            what,
            "Its last write to the append-only file failed: it takes no more writes.",
            "Is its disk full? docs/operations/backup.md#a-disk-is-full tells what to do.",
        )
    elif said.info.get("aof_last_bgrewrite_status") != "ok":
        yield warning(
            what,
            "Its append-only file was not rewritten when it was tried last: it grows, and a start takes ever longer.",
            "Has its disk room for a second one, and the machine memory for a fork? Redis' log says why.",
        )
    else:
        yield _fsync(what, said.fsync)
    if said.info.get("rdb_last_bgsave_status") == "err":
        yield warning(
            "redis snapshot", "Its last snapshot failed.", "Has its disk room? Redis may refuse writes: its log says."
        )


def _fsync(what: str, fsync: str | None) -> Finding:
    match fsync:
        case None:
            return unknown(
                what,
                "It keeps an append-only file, and does not tell when that reaches the disk (CONFIG is barred).",
                "See that appendfsync is always: else what was acknowledged may be lost with the machine's power.",
            )
        case "always":
            return ok(what, "What it acknowledges is in its append-only file, on the disk.")
        case _:
            return warning(
                what,
                f"appendfsync is {fsync}: a machine that loses power forgets what was acknowledged last.",
                "appendfsync always",
            )


def _eviction(said: Said) -> Finding:
    what, policy = "redis eviction", said.info.get("maxmemory_policy")
    if policy is None:
        return unknown(what, _BARRED, "See that maxmemory-policy is noeviction: else jobs are thrown away.")
    if policy != "noeviction":
        return wrong(
            what, f"maxmemory-policy is {policy}: when memory is short, jobs vanish.", "maxmemory-policy noeviction"
        )
    return ok(what, "Nothing is evicted.")


def _memory(said: Said) -> Finding:
    what, used = "redis memory", said.info.get("used_memory")
    limit = said.info.get("maxmemory")
    room = limit or said.info.get("total_system_memory")
    if used is None or not room:
        return unknown(what, "Redis does not tell how much memory it has left.")
    share = used / room
    told = f"It uses {_mib(used)} of {_mib(room)}"
    if limit:
        remedy = "Raise maxmemory, or keep ended jobs for less long (DARKROOM_KEEP_FINISHED_S)."
        if share >= 1:
            return wrong(what, f"{told}: it is full, and new jobs are refused.", remedy)
        return (
            warning(what, f"{told}, and refuses jobs when it is full.", remedy)
            if share > FULL
            else ok(what, told + ".")
        )
    told += ", the machine's, and has no limit"
    if share > HALF:
        remedy = "Set maxmemory below what the machine can spare: then it refuses jobs, instead of being killed."
        return warning(what, f"{told}.", remedy)
    return ok(what, f"{told}.")


def _replicas(said: Said, wanted: int, *, asks_sentinels: bool) -> Finding:
    what = "redis replicas"
    if "role" not in said.info:
        return unknown(what, _BARRED)
    if said.info["role"] != "master":
        return wrong(
            what, "This is a replica: it takes no writes.", "Give DARKROOM_REDIS_URL the master, or sentinels."
        )
    # One whose address Redis can't tell is counted, and has no line.
    known = (said.info.get(f"slave{at}", {}) for at in range(said.info["connected_slaves"]))
    there = sum(replica.get("state") == "online" for replica in known)
    told = f"It has {there} that {'are' if there != 1 else 'is'} up to date"
    if there < wanted:
        return wrong(
            what,
            f"{told}, and DARKROOM_REDIS_REPLICAS asks for {wanted}: what is asked of gateways is refused.",
            "Start the replicas that are away, or ask for fewer.",
        )
    if asks_sentinels and "min_slaves_good_slaves" not in said.info:
        return warning(
            what,
            f"{told}. Sentinels may choose another master, and this one would go on taking jobs if it were cut off.",
            "min-replicas-to-write 1 and min-replicas-max-lag 10 on each server: docs/operations/machines.md#sentinels",
        )
    if asks_sentinels and not wanted:
        return ok(what, f"{told}; a failover may lose what was acknowledged last (DARKROOM_REDIS_REPLICAS is 0).")
    return ok(what, f"{told}; {wanted or 'none'} {'must' if wanted else 'need'} have what is acknowledged.")


def _clock(said: Said) -> Finding:
    what, ahead_s = "redis clock", said.ahead_s
    if ahead_s is None:
        return unknown(what, _BARRED)
    if abs(ahead_s) > SKEW_S:
        return warning(
            what,
            f"It is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this gateway's.",
            "Let NTP set both: times that people are told are Redis', and signed addresses are timed by the gateway.",
        )
    return ok(what, "It agrees with this gateway's.")


async def _unless_barred(ask: Callable[[], Awaitable[T]]) -> T | None:
    """Ask, unless Redis bars it. Raises QueueUnavailable if it is away."""
    try:
        return await ask()
    except RedisError as error:
        if not is_barred(error) and isinstance(away := translated(error), QueueUnavailable):
            raise away from error
        return None


def _words(config: Mapping[Any, Any] | None) -> dict[str, str]:
    """A reply in text, whether the client has decoded it or not."""
    return {_text(name): _text(said) for name, said in (config or {}).items()}


def _text(word: str | bytes) -> str:
    return word.decode() if isinstance(word, bytes) else word


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"
