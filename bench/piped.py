"""A process that is told what to do line by line, and answers each line with one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self, cast

from bench.site import ROOT, STOP_S
from deploy.watchdog import watchdog

LAST_WORDS: Final = 2000


class Piped:
    """Runs Python with these words; ends it, and what it started, with the block, or when we die."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self._words = words
        self._environment = environment
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                (sys.executable, *self._words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        watchdog().watch(self._process.pid)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stdin.close()  # which it takes as the end
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._stdout.close()
        watchdog().forget(self._process.pid)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def _stdin(self) -> IO[str]:
        return cast("IO[str]", self._process.stdin)

    @property
    def _stdout(self) -> IO[str]:
        return cast("IO[str]", self._process.stdout)

    def ask(self, line: str) -> str:
        """Say a line and hear the answer. Raises RuntimeError with its last words if it has ended."""
        self.say(line)
        return self.hear()

    def say(self, line: str) -> None:
        """Say a line; the answer is heard later."""
        self._stdin.write(f"{line}\n")
        self._stdin.flush()

    def hear(self) -> str:
        """Hear a line."""
        line = self._stdout.readline()
        if not line:
            said = self._log.read_text("utf-8", "replace")[-LAST_WORDS:]
            raise RuntimeError(f"{' '.join(self._words)} ended:\n{said}")
        return line.rstrip("\n")
