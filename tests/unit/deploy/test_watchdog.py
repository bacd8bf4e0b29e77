"""What a parent leaves behind when it is killed, and what it doesn't."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from deploy.watchdog import groups_left
from tests.servers import wait_until

PARENT = """
import sys, time
from pathlib import Path
from deploy.process import Process, Program

child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
child += "print('up', flush=True); time.sleep(600)"
folder = Path(sys.argv[1])
processes = [
    Process(Program(name, (sys.executable, "-c", child), folder / name, ready=lambda _pid: True)) for name in ("a", "b")
]
for process in processes:
    process.start()
processes[1].kill()
(folder / "groups").write_text(f"{processes[0].pid}")
time.sleep(600)
"""


def processes_of(group: int) -> list[int]:
    """Living processes of a group, without those that have ended and wait to be noticed."""
    listing = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listing.splitlines())
    return [int(pid) for pid, owner, state in rows if int(owner) == group and not state.startswith("Z")]


def test_groups_that_have_not_ended_are_left_oldest_first() -> None:
    assert groups_left(["+10\n", "+20\n", "+30\n", "-20\n"]) == [10, 30]
    assert groups_left(["+10\n", "-10\n", "+10\n"]) == [10]


def test_a_killed_parent_takes_its_children_and_theirs_along(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], cwd=Path(__file__).parents[3])
    groups = tmp_path / "groups"
    log = tmp_path / "a"
    wait_until(lambda: groups.exists() and bool(groups.read_text()), limit_s=60, what="the children were started")
    wait_until(lambda: log.exists() and "up" in log.read_text(), limit_s=60, what="the grandchild was started")
    group = int(groups.read_text())
    assert len(processes_of(group)) == 2

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    wait_until(lambda: not processes_of(group), limit_s=30, what="children and grandchildren have ended")
