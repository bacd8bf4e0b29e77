"""Users of Redis, one a part, each with what it calls and no more; as an `aclfile` of Valkey's or Redis'.

Needs nothing but Python:

    python -m deploy.redis_users     # passwords into .env, unless they are there; redis-users.acl beside it

Its file holds digests of random passwords alone. Written anew after an update: a new version may call more. What each
user may do to which keys is what its part was seen to need; docs/operations/keys.md tells what that keeps from whom.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.keys import ENV_FILE, env_values, new_key, read_env, write_private
from shared.keys import DEFAULT

ACL_FILE: Final = ENV_FILE.with_name("redis-users.acl")
OVERRIDE: Final = "docker-compose.users.yml"
ADMIN_PASSWORD: Final = "DARKROOM_REDIS_PASSWORD"  # noqa: S105 - a variable's name

DATA: Final = (
    "del",
    "exists",
    "expire",
    "get",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hincrby",
    "hmget",
    "hrandfield",
    "hset",
    "hsetnx",
    "incr",
    "llen",
    "lrange",
    "persist",
    "publish",
    "rpop",
    "rpush",
    "sadd",
    "scard",
    "set",
    "sismember",
    "smembers",
    "srem",
    "time",
    "unlink",
    "zadd",
    "zcard",
    "zcount",
    "zrange",
    "zrank",
    "zrem",
    "zremrangebyrank",
    "zremrangebyscore",
    "zscore",
)
"""What the queue's verbs use: Redis asks it of whoever calls them."""
CONNECTION: Final = (
    "ping",
    "hello",
    "select",
    "client|setinfo",
    "client|setname",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
)
CALLS: Final = ("fcall", "eval", "evalsha", "script|load", "script|exists")
"""`eval` where the functions are not loaded: what it runs may do no more than its caller."""
PRODUCER: Final = ("lpush",)
"""Of Celery's messages."""
CONSUMER: Final = (
    "lpush",
    "brpop",
    "zrangebyscore",
    "zrevrangebyscore",
    "subscribe",
    "psubscribe",
    "unsubscribe",
    "punsubscribe",
)
GATEWAY: Final = (
    "function|load",
    "function|list",
    "function|delete",
    "incrby",
    "pexpire",
    "pttl",
    "rename",
    "info",
    "wait",
    "subscribe",
    "unsubscribe",
    "pubsub|numsub",
)
"""It alone loads functions: one that others loaded would run with the gateway's rights."""

SECRET: Final = frozenset({"access", "access_keys", "tenants", "limits", "rate"})
"""Keys that only gateways touch: who may ask them for what."""
OF_COURIER: Final = frozenset(
    ["webhook", "delivery", "deliveries", "pending", "outbox", "couriers", "meters", "metered", "parts", "libraries"]
)
READ_BY_COURIER: Final = frozenset(
    (
        *("job", "batch", "order", "heads", "line", "lanes", "work", "holders", "followers", "running", "parked"),
        *("lines", "line_jobs", "unended", "erasing", "feeding", "beyond", "beyond_line", "request", "result"),
        *("graced", "leases"),
    )
)
"""What it tells receivers of: how a job or a batch stands."""
MARKED: Final = frozenset(
    # Those of `shared/lua/keys.lua` whose names go on after a colon; the others are a key each.
    [
        "access",
        "batch",
        "batches",
        "beyond",
        "beyond_line",
        "card",
        "changed",
        "claim",
        "deliveries",
        "delivery",
        "followers",
        "heads",
        "history",
        "holders",
        "idle",
        "job",
        "jobs",
        "lanes",
        "limits",
        "line",
        "line_jobs",
        "lines",
        "metered",
        "order",
        "parked",
        "pending",
        "preview",
        "rate",
        "request",
        "result",
        "running",
        "scaled",
        "speeds",
        "unended",
        "used",
        "vocabulary",
        "webhook",
        "webhooks",
        "work",
        "worker",
    ]
)
ALONE: Final = frozenset(
    [
        "access_keys",
        "born",
        "cards",
        "change",
        "changes",
        "couriers",
        "deadlines",
        "erasing",
        "expiry",
        "failed",
        "feeding",
        "graced",
        "leases",
        "libraries",
        "meters",
        "models",
        "modes",
        "outbox",
        "parts",
        "sequence",
        "set_aside",
        "stale",
        "swept",
        "tallies",
        "tenants",
        "trash",
        "workers",
    ]
)
LAYOUTS: Final = "{darkroom}:layouts"
CELERYS: Final = ("_kombu.*", "unacked*", "*.celery.pidbox*")
CONTROL: Final = "/0.celery.pidbox"
"""A channel of Celery's in the database 0: a pattern that is subscribed to must stand here as it is."""
POOLS: Final = "gpu.*"
COURIERS: Final = "webhooks*"


@dataclass(frozen=True, slots=True)
class User:
    """What a part may do."""

    name: str
    commands: tuple[str, ...]
    writes: tuple[str, ...]
    """Patterns of keys that it reads and writes."""
    reads: tuple[str, ...] = ()
    channels: tuple[str, ...] = (f"{DEFAULT.prefix}*",)

    @property
    def variable(self) -> str:
        """In `.env`: where its password stands; no setting of ours."""
        return f"REDIS_{self.name.upper()}_PASSWORD"

    def line(self, password: str) -> str:
        """Write it as an aclfile does."""
        rules = (
            "resetchannels",
            *(f"&{channel}" for channel in self.channels),
            *(f"~{pattern}" for pattern in self.writes),
            *(f"%R~{pattern}" for pattern in self.reads),
            "-@all",
            *(f"+{command}" for command in sorted(set(self.commands))),
        )
        return f"user {self.name} on #{_digest(password)} {' '.join(rules)}"


def _patterns(families: Iterable[str]) -> tuple[str, ...]:
    """Name the keys of families; of all, the bare prefix, which every call names."""
    return tuple(f"{DEFAULT.prefix}{name}{':*' if name in MARKED else ''}" for name in sorted(families))


USERS: Final = (
    User(
        "gateway",
        (*CONNECTION, *DATA, *CALLS, *PRODUCER, *GATEWAY),
        (f"{DEFAULT.prefix}*", LAYOUTS, "_kombu.*", POOLS, COURIERS),
        channels=("{darkroom}:*",),
    ),
    User(
        "worker",
        (*CONNECTION, *DATA, *CALLS, *CONSUMER),
        (DEFAULT.prefix, *_patterns((MARKED | ALONE) - SECRET), LAYOUTS, *CELERYS, POOLS),
        channels=(f"{DEFAULT.prefix}*", CONTROL),
    ),
    User(
        "courier",
        (*CONNECTION, *DATA, *CALLS, *CONSUMER),
        (DEFAULT.prefix, *_patterns(OF_COURIER), LAYOUTS, *CELERYS, COURIERS),
        _patterns(READ_BY_COURIER),
        channels=(f"{DEFAULT.prefix}*", CONTROL),
    ),
)


def acl_text(admin: str, passwords: Mapping[str, str]) -> str:
    """Write the file: the default user, who may do anything, and one a part, with these passwords by user's name."""
    default = f"user default on #{_digest(admin)} ~* &* +@all"
    return "\n".join((default, *(user.line(passwords[user.name]) for user in USERS))) + "\n"


def with_passwords(env: str) -> str:
    """Add to an `.env` what it lacks of the users' passwords."""
    there = env_values(env)
    missing = [user.variable for user in USERS if not there.get(user.variable)]
    if not missing:
        return env
    head = "" if any(name in there for name in missing) else "\n# Redis' users, one a part (make redis-users).\n"
    kept = "".join(f"{line}\n" for line in env.splitlines() if line.partition("=")[0] not in missing)
    return kept + head + "".join(f"{name}={new_key()}\n" for name in missing)


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def write(env_file: Path, acl_file: Path) -> str | None:
    """Write both files; say what is missing instead, if something is."""
    env = env_file.read_text() if env_file.exists() else ""
    admin = env_values(env).get(ADMIN_PASSWORD)
    if not admin:
        return f"{env_file.name} has no {ADMIN_PASSWORD}: `make secrets` makes one."
    env = with_passwords(env)
    write_private(env_file, env)
    values = env_values(env)
    # In place: a container that has this one file mounted would go on seeing the file of before.
    acl_file.write_text(acl_text(admin, {user.name: values[user.variable] for user in USERS}))
    acl_file.chmod(0o644)  # Valkey reads it as another user; there are digests of random passwords in it
    return None


def next_steps(env: Mapping[str, str]) -> str:
    """Say what comes next, by what .env says."""
    files = env.get("COMPOSE_FILE") or "docker-compose.yml"
    lines = [
        f"Wrote {ACL_FILE.name}. Redis takes it by",
        "  docker compose exec valkey valkey-cli ACL LOAD"
        if OVERRIDE in files
        else f"  COMPOSE_FILE={files}:{OVERRIDE} in .env, and docker compose up -d",
    ]
    if env.get("FLEET_ADDRESS"):
        lines.append("Workers on other machines: `make fleet-secrets` writes their join.env anew.")
    return "\n".join((*lines, "docs/operations/keys.md tells more.\n"))


def main() -> int:
    """Write the files, and say what comes next; the exit code."""
    trouble = write(ENV_FILE, ACL_FILE)
    if trouble:
        sys.stderr.write(f"{trouble}\n")
        return 1
    sys.stdout.write(next_steps(read_env(ENV_FILE)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
