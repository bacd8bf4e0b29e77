"""Several hosts on one machine: network namespaces on a bridge, each with a cable that can be pulled. Linux, root.

with Switch() as switch, switch.host() as host:
    run((*host.inside, "ping", switch.address))
    host.cut_off()
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Generator
from types import TracebackType
from typing import Final, Self, final

MAC: Final = "02:00:00:00:00:01"
"""The switch's own; locally administered."""


def ip(*words: str) -> str:
    """Run iproute2's `ip`. Raises CalledProcessError, FileNotFoundError."""
    return subprocess.run(("ip", *words), check=True, capture_output=True, text=True).stdout


def why_no_hosts() -> str | None:
    """Say why this machine can't make hosts; None if it can. Tries it."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux'"
    try:
        with Switch() as switch, switch.host() as host:
            subprocess.run((*host.inside, "true"), check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return "iproute2's `ip` is not installed"
    except subprocess.CalledProcessError as error:
        return f"network namespaces can't be made here (it takes root): {error.stderr.strip()}"
    return None


@final
class Host:
    """A namespace and its cable to the switch."""

    def __init__(self, namespace: str, port: str) -> None:
        self._port = port
        self.inside = ("ip", "netns", "exec", namespace)
        """Put before a command it runs on this host, as the same process."""

    def cut_off(self) -> None:
        """Pull the cable: nothing passes, and nobody is told, so that connections hang."""
        ip("link", "set", self._port, "down")

    def bring_back(self) -> None:
        """Plug it in again."""
        ip("link", "set", self._port, "up")


@final
class Switch:
    """A bridge with an address, where the servers listen."""

    _count: Final = itertools.count()

    def __init__(self) -> None:
        self._name = f"dk{os.getpid()}-{next(self._count)}"
        # RFC 2544's networks for tests, which no router knows.
        self._network = f"198.{18 + os.getpid() // 256 % 2}.{os.getpid() % 256}"
        self._hosts = itertools.count(2)
        self.address = f"{self._network}.1"

    def __enter__(self) -> Self:
        ip("link", "add", self._name, "address", MAC, "type", "bridge")
        try:
            ip("address", "add", f"{self.address}/24", "dev", self._name)
            ip("link", "set", self._name, "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._remove()

    @contextlib.contextmanager
    def host(self) -> Generator[Host]:
        """Add a host; it is removed at the block's end, and its processes must have ended by then."""
        number = next(self._hosts)
        port, namespace = f"{self._name}-{number}", f"darkroom-{self._name}-{number}"
        ip("netns", "add", namespace)
        try:
            ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            ip("link", "set", port, "master", self._name, "up")
            there = ("-n", namespace)
            ip(*there, "address", "add", f"{self._network}.{number}/24", "dev", "eth0")
            ip(*there, "link", "set", "lo", "up")
            ip(*there, "link", "set", "eth0", "up")
            # As behind a router: without this a pulled cable soon fails with "no route to host" instead of silence.
            ip(*there, "neighbour", "add", self.address, "lladdr", MAC, "dev", "eth0", "nud", "permanent")
            yield Host(namespace, port)
        finally:
            ip("netns", "delete", namespace)  # and with it the cable

    def _remove(self) -> None:
        ip("link", "delete", self._name)
