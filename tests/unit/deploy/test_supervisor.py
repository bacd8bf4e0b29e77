"""Several programs kept up: in order, again after a death, all gone at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.process import Program, StackError
from deploy.supervisor import STARTS_BEFORE_GIVING_UP, Member, Supervisor
from tests.servers import wait_until

UP = "import time; print('up', flush=True); time.sleep(600)"


class Told:
    """What the person at the terminal reads."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, part: str, sentence: str) -> None:
        self.lines.append(f"{part} {sentence}")

    def has(self, *words: str) -> bool:
        return any(all(word in line for word in words) for line in self.lines)


def member(folder: Path, name: str, code: str = UP, *, start_stage: int = 1, stop_stage: int = 1) -> Member:
    log = folder / f"{name}.log"
    program = Program(name, (sys.executable, "-c", code), log, ready=lambda _pid: "up" in log.read_text())
    return Member(program, stop_grace_s=20, start_stage=start_stage, stop_stage=stop_stage, echo=True)


@contextmanager
def running(supervisor: Supervisor) -> Generator[Callable[[], bool]]:
    """Run it in a thread; gives the question whether it has said that everything is up."""
    ready = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(ready.set,))
    thread.start()
    try:
        yield ready.is_set
    finally:
        supervisor.stop()
        thread.join(60)
        assert not thread.is_alive()


def test_a_later_stage_starts_when_the_earlier_is_ready(tmp_path: Path) -> None:
    told = Told()
    slow = "import time; time.sleep(0.5); print('up', flush=True); time.sleep(600)"
    members = [member(tmp_path, "second", start_stage=2), member(tmp_path, "first", slow, start_stage=1)]
    supervisor = Supervisor(members, told)

    with running(supervisor) as is_ready:
        wait_until(is_ready, limit_s=60, what="everything is up")

    ready = [line.split()[0] for line in told.lines if "ready after" in line]
    assert ready == ["first", "second"]
    assert all(part.process.pid is None for part in supervisor.parts)


def test_stages_end_in_order(tmp_path: Path) -> None:
    end = tmp_path / "ends"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        f"    time.sleep({{wait}}); open({str(end)!r}, 'a').write('{{name}} '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(600)"
    )
    members = [
        member(tmp_path, "server", code.format(name="server", wait=0), stop_stage=2),
        member(tmp_path, "worker", code.format(name="worker", wait=0.5), stop_stage=1),
    ]

    with running(Supervisor(members, Told())) as is_ready:
        wait_until(is_ready, limit_s=60, what="everything is up")

    assert end.read_text() == "worker server "


def test_what_dies_is_started_again_and_said(tmp_path: Path) -> None:
    told = Told()
    supervisor = Supervisor([member(tmp_path, "part")], told)

    with running(supervisor) as is_ready:
        wait_until(is_ready, limit_s=60, what="it is up")
        first = supervisor.parts[0].process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: supervisor.parts[0].process.pid not in {None, first}, limit_s=60, what="it is up again")

    assert told.has("part was ended by signal 9", "starting it again in 0.5 s")


def test_what_never_starts_ends_everything_with_its_last_lines(tmp_path: Path) -> None:
    supervisor = Supervisor([member(tmp_path, "good"), member(tmp_path, "bad", "raise SystemExit('no model')")], Told())

    with pytest.raises(
        StackError, match=rf"bad ended with exit code 1, {STARTS_BEFORE_GIVING_UP} times in a row"
    ) as at:
        supervisor.run(lambda: None)

    assert "no model" in str(at.value)
    assert all(part.process.pid is None for part in supervisor.parts)


def test_warnings_in_a_log_reach_the_terminal_and_the_rest_does_not(tmp_path: Path) -> None:
    told = Told()
    code = (
        "import time; print('INFO fine'); print('12:00 WARNING disk is full'); print('up', flush=True); time.sleep(600)"
    )

    with running(Supervisor([member(tmp_path, "part", code)], told)) as is_ready:
        wait_until(is_ready, limit_s=60, what="it is up")
        wait_until(lambda: told.has("disk is full"), limit_s=60, what="the warning is told")

    assert not told.has("INFO fine")


def test_asked_twice_it_ends_the_deaf_at_once(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    told = Told()
    supervisor = Supervisor([member(tmp_path, "deaf", deaf)], told)

    with running(supervisor) as is_ready:
        wait_until(is_ready, limit_s=60, what="it is up")
        supervisor.stop()

    assert told.has("deaf does not end by itself; killed")
