"""Keeps programs running: starts each, says when it is ready, starts it again when it dies, ends all of them.

Knows nothing of what the programs are; `deploy.local` composes them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from deploy.process import Process, Program, StackError

TICK_S: Final = 0.1
PROBE_EVERY_S: Final = 0.25
STILL_STARTING_EVERY_S: Final = 30.0
FIRST_BACKOFF_S: Final = 0.5
MAX_BACKOFF_S: Final = 30.0
STEADY_AFTER_S: Final = 60.0
"""A part that was up for so long is forgiven its earlier deaths."""
STARTS_BEFORE_GIVING_UP: Final = 3
"""Of a part that has never been ready: starting it again won't help."""
COMPLAINT: Final = re.compile(r"\b(WARNING|ERROR|CRITICAL|Traceback)\b")

Say = Callable[[str, str], None]
"""Tells the person at the terminal: (part, sentence)."""


@dataclass(frozen=True, slots=True)
class Member:
    """A program, and its place among the others."""

    program: Program
    stop_grace_s: float
    start_stage: int
    """Lower stages start first; the next waits until they are ready."""
    stop_stage: int
    """Lower stages stop first; the next waits until they have ended."""
    echo: bool = False
    """Whether warnings and errors in its log are worth a line at the terminal."""


class State(Enum):
    """Where a part is."""

    DOWN = auto()
    STARTING = auto()
    READY = auto()


class Part:
    """A member over its runs."""

    def __init__(self, member: Member, say: Say) -> None:
        self.member = member
        self.process = Process(member.program)
        self.state = State.DOWN
        self._say = say
        self._deaths = 0
        self._was_ready = False
        self._start_at = 0.0
        self._started_at = 0.0
        self._probe_at = 0.0
        self._patience_until = 0.0

    @property
    def name(self) -> str:
        """The program's name."""
        return self.member.program.name

    def tick(self, now: float) -> None:
        """Look after it: start it, notice that it is ready, notice its death.

        Raises:
            StackError: it dies at its start, again and again.
        """
        if self.state is State.DOWN:
            if now >= self._start_at:
                self.process.start()
                self.state, self._started_at = State.STARTING, now
                self._patience_until = now + STILL_STARTING_EVERY_S
        elif self.process.pid is None:
            self._died(now)
        elif self.state is State.STARTING and now >= self._probe_at:
            self._probe_at = now + PROBE_EVERY_S
            self._look(now)

    def complaints(self) -> Iterator[str]:
        """Lines that it has logged since the last call and that somebody should see."""
        if self.member.echo:
            yield from (line for line in self.process.new_lines() if COMPLAINT.search(line))

    def _look(self, now: float) -> None:
        took_s = now - self._started_at
        if self.process.is_ready():
            self.state, self._was_ready = State.READY, True
            self._say(self.name, f"ready after {took_s:.1f} s")
        elif now >= self._patience_until:
            self._patience_until = now + STILL_STARTING_EVERY_S
            self._say(self.name, f"still starting after {took_s:.0f} s: {self.process.last_lines(1).strip()}")

    def _died(self, now: float) -> None:
        code = self.process.exit_code()
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        if now - self._started_at > STEADY_AFTER_S:
            self._deaths = 0
        self._deaths += 1
        if not self._was_ready and self._deaths >= STARTS_BEFORE_GIVING_UP:
            raise StackError(
                f"{self.name} {how}, {self._deaths} times in a row. Its last lines:\n\n"
                f"{self.process.last_lines()}\n\nAll of its log: {self.member.program.log}"
            )
        wait_s = min(FIRST_BACKOFF_S * 2 ** (self._deaths - 1), MAX_BACKOFF_S)
        self.state, self._start_at = State.DOWN, now + wait_s
        last_line = self.process.last_lines(1).strip()
        self._say(self.name, f"{how} ({last_line}); starting it again in {wait_s:g} s. Log: {self.member.program.log}")


class Supervisor:
    """All parts together. Runs in the thread that calls `run`; `stop` may come from a signal handler."""

    def __init__(self, members: Sequence[Member], say: Say) -> None:
        self.parts = [Part(member, say) for member in members]
        self._say = say
        # Plain flags: a signal handler that takes an Event's lock can wait for itself.
        self.stopping = False
        self._hurry = False

    def stop(self) -> None:
        """Ask `run` to end; asked again, it ends everything at once."""
        self._hurry = self.stopping
        self.stopping = True

    def run(self, when_ready: Callable[[], None]) -> None:
        """Keep everything up until `stop`; `when_ready` is called once, when everything is up.

        Raises:
            StackError: a part can't be started; everything else has been ended.
        """
        told = False
        try:
            while not self.stopping:
                self._tick()
                if not told and all(part.state is State.READY for part in self.parts):
                    told = True
                    when_ready()
                time.sleep(TICK_S)
        finally:
            self._end_all()

    def _tick(self) -> None:
        for part in self._startable():
            part.tick(time.monotonic())
            for line in part.complaints():
                self._say(part.name, line)

    def _startable(self) -> list[Part]:
        """Those whose earlier stages have all been ready, and those that are already up."""
        waiting = [part.member.start_stage for part in self.parts if part.state is not State.READY]
        stage = min(waiting, default=None)
        return [
            part for part in self.parts if part.process.started or stage is None or part.member.start_stage <= stage
        ]

    def _end_all(self) -> None:
        for stage in sorted({part.member.stop_stage for part in self.parts}):
            parts = [part for part in self.parts if part.member.stop_stage == stage]
            for part in parts:
                part.process.terminate()
            until = time.monotonic() + max(part.member.stop_grace_s for part in parts)
            while any(part.process.pid for part in parts) and time.monotonic() < until and not self._hurry:
                time.sleep(TICK_S / 2)
            for part in parts:
                if part.process.pid is not None:
                    self._say(part.name, "does not end by itself; killed")
                part.process.kill()
