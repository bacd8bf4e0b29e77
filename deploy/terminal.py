"""A supervisor at a terminal: takes the folder, tells what happens, and ends everything at Ctrl-C or SIGTERM.

Knows nothing of what runs: `make run` (deploy.local) and `make worker` (deploy.join) say that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from deploy.process import StackError
from deploy.supervisor import Member, Supervisor
from deploy.watchdog import hold

LAST_RUN_GRACE_S: Final = 10.0
"""A run that was killed is cleared up by its watchdog; that may take so long."""
SAME_ASKING_S: Final = 1.0
"""Who stops a whole group, as systemd does, reaches us and make, which hands SIGTERM on: asked twice, meant once."""


def tell(text: str) -> None:
    """Write to the terminal, if it is still there: stopping must go on without one."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def say(part: str, sentence: str) -> None:
    """Write one line about one part."""
    at = datetime.now().astimezone().strftime("%H:%M:%S")
    at = f"\033[2m{at}\033[0m" if sys.stdout.isatty() else at
    tell(f"{at} {part:<9} {sentence}")


def lock(data: Path, otherwise: str) -> TextIO:
    """Take the data folder until the last of this run's programs has ended; `otherwise` completes "..., or ".

    Raises:
        StackError: another run has it.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (data / "lock").open("a+")
    until = time.monotonic() + LAST_RUN_GRACE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            if _is_alive(holder) or time.monotonic() > until:
                raise StackError(
                    f"Darkroom runs already on {data} (process {holder}). Stop that one first with Ctrl-C, "
                    f"or {otherwise}"
                ) from None
            time.sleep(0.2)
        else:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            hold(file.fileno())
            return file


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def attend(members: Sequence[Member], when_ready: Callable[[], None]) -> None:
    """Keep everything up until a signal; `when_ready` is called once, when everything is up.

    Raises:
        StackError: a part can't be started; everything else has been ended.
    """
    supervisor = Supervisor(members, say)
    asked_at = 0.0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked_at
        if not supervisor.stopping:
            say("darkroom", "stopping; once more Ctrl-C ends everything at once")
            asked_at = time.monotonic()
        elif time.monotonic() - asked_at < SAME_ASKING_S:
            return
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    say("darkroom", f"starting {', '.join(part.name for part in supervisor.parts)}")
    supervisor.run(when_ready)
    say("darkroom", "stopped")
