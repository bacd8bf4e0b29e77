"""One child process: its log goes to a file, it has a group of its own, and it never outlives us.

Knows nothing of what runs in it but how to ask whether it is ready.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.watchdog import watchdog

POLL_S: Final = 0.02
LOG_ROTATE_BYTES: Final = 8 * 1024 * 1024


class StackError(Exception):
    """The local stack can't go on; the message is a sentence for whoever typed the command.

    Not in `shared.errors`' tree: it never reaches a job or an HTTP answer.
    """


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to tell that it is ready."""

    name: str
    command: tuple[str, ...]
    log: Path
    ready: Callable[[int], bool]
    """Given the process' id, asked again and again; answers at once and doesn't raise."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Added to ours: it may hold keys, which a command line would show to everyone."""
    cwd: Path | None = None


class Process:
    """A program's current run."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._log_read = 0

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The process' id; None unless it runs."""
        return self._child.pid if self._child is not None and self.exit_code() is None else None

    def start(self) -> None:
        """Start it; it is not ready yet.

        Raises:
            StackError: the program is not there or can't be run.
        """
        log = self.program.log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_ROTATE_BYTES:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab") as output:
            self._log_start = self._log_read = output.tell()
            try:
                self._child = subprocess.Popen(  # noqa: S603 commands come from deploy/, not from users
                    self.program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.program.cwd,
                    # Settings are read in shared/settings.py only; this hands our environment on.
                    env={**os.environ, **self.program.environment},
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{self.program.name} did not start: {error}") from error
        watchdog().watch(self._child.pid)

    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs or before its first start."""
        if self._child is None:
            return None
        running = self._child.returncode is None
        code = self._child.poll()
        if running and code is not None:
            self._sweep()
        return code

    def is_ready(self) -> bool:
        """Whether it runs and says that it is ready."""
        pid = self.pid
        return pid is not None and self.program.ready(pid)

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it is ready.

        Raises:
            StackError: it ended, or took longer than `timeout_s`; the message has its last lines.
        """
        until = time.monotonic() + timeout_s
        while not self.is_ready():
            if self.pid is None:
                raise StackError(f"{self.program.name} ended at its start:\n{self.last_lines()}")
            if time.monotonic() > until:
                raise StackError(f"{self.program.name} was not ready after {timeout_s:g} s:\n{self.last_lines()}")
            time.sleep(POLL_S)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, if it still runs."""
        if self.pid is not None and self._child is not None:
            self._child.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end; returns at once."""
        self.send(signal.SIGTERM)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`; returns when it has ended, and its children with it."""
        self.terminate()
        until = time.monotonic() + grace_s
        while self.pid is not None and time.monotonic() < until:
            time.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to it and its children; returns when it has ended."""
        if self.pid is not None and self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
            while self.exit_code() is None:
                time.sleep(POLL_S)

    def last_lines(self, count: int = 12) -> str:
        """Its log's last lines, of this run only."""
        with self.program.log.open("rb") as log:
            log.seek(self._log_start)
            return b"\n".join(log.read().splitlines()[-count:]).decode(errors="replace")

    def new_lines(self) -> list[str]:
        """Whole lines that its log has gained since the last call, or since its start."""
        if self._child is None:
            return []
        with self.program.log.open("rb") as log:
            log.seek(self._log_read)
            text = log.read()
        end = text.rfind(b"\n") + 1
        self._log_read += end
        return text[:end].decode(errors="replace").splitlines()

    def _sweep(self) -> None:
        """End children that outlived it, and let the watchdog forget the group."""
        assert self._child is not None  # noqa: S101 only called after a start
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        watchdog().forget(self._child.pid)
