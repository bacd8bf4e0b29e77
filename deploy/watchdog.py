"""Ends what a dead parent left behind; knows nothing of what the processes do.

A parent that is killed with SIGKILL can't stop its children. So it starts one watchdog and tells it of
every process group on a pipe: `+PGID` when one starts, `-PGID` when it has ended. The pipe closes with the
parent, however that dies, and the watchdog then ends what is left, the last started first. A pipe rather
than Linux' PR_SET_PDEATHSIG: it works on macOS too, reaches grandchildren, and doesn't fire when the
*thread* that started a child ends.

    python -I -S deploy/watchdog.py   < pipe
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

GRACE_S: Final = 8.0
"""Between SIGTERM and SIGKILL, for each group."""
POLL_S: Final = 0.05


class Watchdog:
    """The parent's end of the pipe."""

    def __init__(self, holding: Iterable[int] = ()) -> None:
        self._process = subprocess.Popen(  # noqa: S603 our own file, by our own interpreter
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=tuple(holding),
        )

    def watch(self, group: int) -> None:
        """End this process group when we die."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended; its number may soon be another's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End what is still watched, now."""
        assert self._process.stdin is not None  # noqa: S101 it was asked for above
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 it was asked for above
        with contextlib.suppress(BrokenPipeError):  # killed by hand: we go on without it
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


_held: Final[list[int]] = []


def hold(descriptor: int) -> None:
    """Keep this file, and a lock on it, open until everything has ended; to be called before `watchdog`."""
    _held.append(descriptor)


@cache
def watchdog() -> Watchdog:
    """Give this process' one watchdog, started when first needed."""
    dog = Watchdog(_held)
    atexit.register(dog.close)
    return dog


def groups_left(lines: Iterable[str]) -> list[int]:
    """Read the pipe to its end: the groups that are still to be ended, oldest first."""
    groups: dict[int, None] = {}
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups[group] = None
        else:
            groups.pop(group, None)
    return list(groups)


def end_group(group: int, grace_s: float = GRACE_S) -> None:
    """SIGTERM, then SIGKILL to those that are still there after `grace_s`."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(group, signal.SIGTERM)
        until = time.monotonic() + grace_s
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(POLL_S)
        os.killpg(group, signal.SIGKILL)


def main() -> None:
    """Wait for the parent's end, then clear up."""
    for group in reversed(groups_left(sys.stdin)):
        end_group(group)


if __name__ == "__main__":
    main()
