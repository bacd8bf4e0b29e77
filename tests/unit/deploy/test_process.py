"""One child process: started, watched, ended."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from deploy.process import Process, Program, StackError
from tests.servers import wait_until

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


def process(folder: Path, code: str, **environment: str) -> Process:
    log = folder / "logs" / "child.log"
    program = Program(
        "child",
        (sys.executable, "-c", code),
        log,
        ready=lambda _pid: "up" in log.read_text(),
        environment=environment,
    )
    return Process(program)


def test_it_is_ready_when_it_says_so_and_gone_when_stopped(tmp_path: Path) -> None:
    child = process(tmp_path, SLEEP)
    child.start()
    child.wait_ready(30)
    assert child.pid is not None

    child.stop(grace_s=30)

    assert child.pid is None
    assert child.exit_code() == -signal.SIGTERM


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = process(tmp_path, DEAF)
    child.start()
    child.wait_ready(30)

    child.stop(grace_s=0.1)

    assert child.exit_code() == -signal.SIGKILL


def test_one_that_ends_at_its_start_is_told_with_its_last_lines(tmp_path: Path) -> None:
    child = process(tmp_path, "raise SystemExit('port 8000 is taken')")
    child.start()

    with pytest.raises(StackError, match=r"child ended at its start:\nport 8000 is taken"):
        child.wait_ready(30)


def test_last_lines_are_of_this_run_only(tmp_path: Path) -> None:
    first = process(tmp_path, "print('the first run')")
    first.start()
    wait_until(lambda: first.exit_code() is not None, limit_s=30, what="the first run has ended")
    second = process(tmp_path, "print('the second run')")
    second.start()
    wait_until(lambda: second.exit_code() is not None, limit_s=30, what="the second run has ended")

    assert second.last_lines() == "the second run"
    assert second.program.log.read_text() == "the first run\nthe second run\n"


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    missing = Process(Program("child", (str(tmp_path / "no-such-file"),), tmp_path / "log", ready=lambda _pid: True))

    with pytest.raises(StackError, match="child did not start"):
        missing.start()


def test_keys_reach_the_child_but_no_listing(tmp_path: Path) -> None:
    child = process(tmp_path, "import os; print('up', os.environ['KEY'])", KEY="opensesame")
    child.start()
    wait_until(lambda: child.exit_code() is not None, limit_s=30, what="it has ended")

    assert child.last_lines() == "up opensesame"
    assert "opensesame" not in repr(child.program)
