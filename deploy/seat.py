"""A seat at a GPU that no other worker of this machine has: takes one, then becomes the command that it is given.

python -m deploy.seat FOLDER COMMAND...

Containers of one service all see the same GPUs, and know nothing of each other but a folder that they share. So a seat
is a locked file in there, named for its GPU; the lock goes with the process, however that ends. The command is told its
GPU in CUDA_VISIBLE_DEVICES. Whoever finds all seats taken waits for one. Knows NVIDIA's tool, nothing of torch.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

DEVICE: Final = "CUDA_VISIBLE_DEVICES"
LOOK_AGAIN_S: Final = 2.0
TOOL_TIMEOUT_S: Final = 60.0
_TOOL: Final = "nvidia-smi"
_QUERY: Final = ("--query-gpu=uuid", "--format=csv,noheader")


class NoGpus(Exception):
    """There is none that a worker could sit at; the message says what to do."""


def gpus() -> list[str]:
    """Name this machine's GPUs, as CUDA_VISIBLE_DEVICES takes them.

    Raises:
        NoGpus: no tool, no driver, or none there.
    """
    tool = shutil.which(_TOOL)
    if tool is None:
        raise NoGpus(
            f"There is no {_TOOL}: install NVIDIA's container toolkit on the machine, and start the container with "
            "its GPUs and NVIDIA_DRIVER_CAPABILITIES=compute,utility, as docker-compose.gpu.yml does."
        )
    try:
        answer = subprocess.run([tool, *_QUERY], capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)  # noqa: S603 fixed words
    except (OSError, subprocess.TimeoutExpired):
        raise NoGpus(f"{_TOOL} does not answer: is the driver well? Try it on the machine itself.") from None
    found = answer.stdout.split() if answer.returncode == 0 else []
    if not found:
        raise NoGpus(f"{_TOOL} names no GPU: {(answer.stderr or answer.stdout).strip() or 'it said nothing'}")
    return found


def take(folder: Path, names: Sequence[str]) -> str | None:
    """Take a free seat until this process ends, or whatever it becomes; None if all are taken."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        seat = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(seat, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(seat)
            continue
        os.set_inheritable(seat, True)
        return name
    return None


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main() -> None:
    """Become the command, once there is a seat; exit with 1 and a sentence if there can be none."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    # The first process of a container ends at no signal that it does not ask for.
    signal.signal(signal.SIGTERM, _leave)
    if DEVICE not in os.environ:
        try:
            names = gpus()
        except NoGpus as error:
            sys.exit(str(error))
        taken = take(folder, names)
        if taken is None:
            sys.stderr.write(f"Each of the {len(names)} GPUs has its worker: waiting until one leaves.\n")
        while taken is None:
            time.sleep(LOOK_AGAIN_S)
            taken = take(folder, names)
        os.environ[DEVICE] = taken
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 the image says what


if __name__ == "__main__":
    main()
