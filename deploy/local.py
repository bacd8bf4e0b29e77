"""`make run`: the whole system on this machine, in one terminal; Ctrl-C ends all of it.

python -m deploy.local
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from pydantic import ValidationError

from deploy.parts import LocalSettings, Stack, compose
from deploy.process import StackError
from deploy.supervisor import Supervisor
from deploy.watchdog import hold
from shared.settings import wrong_settings

LAST_RUN_GRACE_S: Final = 10.0
"""A run that was killed is cleared up by its watchdog; that may take so long."""


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


def lock(data: Path) -> TextIO:
    """Take the data folder until the last of this run's programs has ended.

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
                    "or give this one a folder and ports of its own: "
                    "make run DARKROOM_DATA=... DARKROOM_API_PORT=... DARKROOM_UI_PORT=..."
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


def report(stack: Stack, settings: LocalSettings, took_s: float) -> str:
    """Say where everything is, and what is served."""
    model = stack.gateway.default_model()
    served = "unknown" if model is None else f"{model.title} ({model.id})"
    lines = [
        "",
        f"  Darkroom is ready, after {took_s:.0f} s.",
        "",
        f"  page      {stack.page_url}",
        f"  gateway   {stack.gateway.url}",
        f"  model     {served}",
    ]
    if model is not None and model.is_demo:
        why = "There is no CUDA GPU here, so this is" if settings.model == "auto" else "This is"
        lines.append(f"            {why} the small demo model, not SSD-1B.")
    lines += [
        f"  data      {settings.data}   (logs in {settings.data / 'logs'})",
        "",
        "  Ctrl-C stops everything; jobs and pictures are kept.",
        "",
    ]
    return "\n".join(lines)


def run(settings: LocalSettings) -> None:
    """Bring everything up and keep it up until a signal.

    Raises:
        StackError: it can't be done; the message says what to do.
    """
    begin = time.monotonic()
    with lock(settings.data):
        stack = compose(settings)
        supervisor = Supervisor(stack.members, say)

        def stop(_number: int, _frame: FrameType | None) -> None:
            if not supervisor.stopping:
                say("darkroom", "stopping; once more Ctrl-C ends everything at once")
            supervisor.stop()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        say("darkroom", f"starting {', '.join(part.name for part in supervisor.parts)}")
        supervisor.run(when_ready=lambda: tell(report(stack, settings, time.monotonic() - begin)))
        say("darkroom", "stopped")


def main() -> None:
    """Run; a mistake that the person can mend ends with a sentence, not a traceback."""
    argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__).parse_args()
    try:
        run(LocalSettings())
    except StackError as error:
        sys.exit(f"\n{error}")
    except ValidationError as error:
        sys.exit(f"These settings are wrong:\n{wrong_settings(error)}")


if __name__ == "__main__":
    main()
