"""The `darkroom` command as people run it, a process of its own; and a hand that draws all that is asked for."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Self

from tests.integration.serving import Hand, Serving
from tests.servers import wait_until

ROOT: Final = Path(__file__).parents[2]
WITHIN_S: Final = 60.0


class Command:
    """Runs the command at a gateway, in a folder."""

    def __init__(self, gateway: Serving, folder: Path, **settings: str) -> None:
        self._url = gateway.url
        self._folder = folder
        self._settings = settings

    def run(self, *words: str, said: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, `said` on its stdin."""
        return subprocess.run(
            self._words(words),
            cwd=self._folder,
            env=self._environment(settings),
            input=said,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    def run_on_a_full_disk(self, *words: str, room: int) -> subprocess.CompletedProcess[str]:
        """Run it where no file can have more than `room` bytes."""
        limited = (
            f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
            "runpy.run_module('shared.cli', run_name='__main__')"
        )
        return subprocess.run(
            [sys.executable, "-c", limited, *words],
            cwd=self._folder,
            env=self._environment({}),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    def start(self, *words: str, stdout: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start it, its output in pipes."""
        return subprocess.Popen(
            self._words(words),
            cwd=self._folder,
            env=self._environment({}),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def at_terminal(self, *words: str, **settings: str) -> Terminal:
        """Start it at a terminal."""
        return Terminal(self._words(words), self._folder, self._environment(settings))

    @staticmethod
    def _words(words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "shared.cli", *words]

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("DARKROOM_", "TERM"))}
        told = {"PYTHONPATH": str(ROOT), "DARKROOM_API_URL": self._url, "COLUMNS": "120", "LINES": "40"}
        return {**inherited, **told, **self._settings, **settings}


class Terminal:
    """A process at a pseudo-terminal: stdout and stderr are what a person would see."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()

    @property
    def seen(self) -> str:
        """All that was written to it."""
        return self._seen.decode(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until it was written."""
        wait_until(lambda: text in self.seen, limit_s=WITHIN_S, what=f"{text!r} is on the terminal: {self.seen!r}")

    def end(self) -> int:
        """Wait for the end; its exit code."""
        code = self.process.wait(WITHIN_S)
        self._reader.join(WITHIN_S)
        return code

    def _read(self, ours: int) -> None:
        # Linux ends a terminal that nobody writes to any more with an error.
        with suppress(OSError):
            while chunk := os.read(ours, 65536):
                self._seen += chunk
        os.close(ours)


class Drawing:
    """Draws every job that is asked for, in a thread, each picture's bytes being its job's id and index."""

    def __init__(self, hand: Hand, *, most: int | None = None) -> None:
        self._hand = hand
        self._left = most
        self.drawn: list[str] = []
        """Ids of the jobs, in the order of their end."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(0.02):
            if self._left is not None and len(self.drawn) >= self._left:
                continue
            taken = self._hand.take_any()
            if taken is None:
                continue
            for index in range(taken.job.params.num_images):
                self._hand.draw(taken, index, f"{taken.job.id} {index}".encode())
            self._hand.finish(taken)
            self.drawn.append(taken.job.id)
