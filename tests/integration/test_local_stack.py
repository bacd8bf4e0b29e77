"""`make run`, for real: a bare folder, one command, a picture; deaths, Ctrl-C, kill -9, a second start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shared.client import Client
from tests.servers import free_port, wait_until

ROOT: Final = Path(__file__).parents[2]
UP_LIMIT_S: Final = 240.0
"""Three Pythons, one with torch, on a machine that may be busy."""
PARTS: Final = {"valkey-server", "rclone", "api", "ui", "worker.courier", "worker"}

pytestmark = pytest.mark.timeout(900)


class Stack:
    """One `python -m deploy.local` in a folder of its own."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.output = folder / "terminal"
        self.api_port, self.ui_port = free_port(), free_port()
        self._model = model
        self._started: list[subprocess.Popen[bytes]] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start another one here; it need not come up."""
        environment = {
            "DARKROOM_DATA": str(self.folder / "data"),
            "DARKROOM_API_PORT": str(self.api_port),
            "DARKROOM_UI_PORT": str(self.ui_port),
            "DARKROOM_MODEL": str(self._model),
            "DARKROOM_WORKERS": "1",
            **settings,
        }
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local"],
                cwd=ROOT,
                env=os.environ | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._started.append(process)
        return process

    def come_up(self) -> None:
        process = self._process = self.start()
        wait_until(lambda: self.says("Darkroom is ready") or process.poll() is not None, limit_s=UP_LIMIT_S, what="up")
        assert process.poll() is None, self.output.read_text()

    def says(self, sentence: str) -> bool:
        return sentence in self.output.read_text()

    def end(self, number: signal.Signals) -> int:
        """Send a signal to the supervisor alone; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(90)

    def end_all(self) -> None:
        """Leave nothing running."""
        for process in self._started:
            process.terminate()
            process.wait(90)

    def parts(self) -> dict[str, int]:
        """The living parts, each by its program or module, with its process id."""
        listing = subprocess.run(["ps", "-ewwo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
        rows = (line.split(None, 3) for line in listing.stdout.splitlines())
        mine = [(int(pid), args) for pid, parent, state, args in rows if int(parent) == self.pid and state[0] != "Z"]
        module = r"valkey-server|rclone|-m (?:api|ui|worker(?:\.courier)?)$"
        names = ((re.search(module, args), pid) for pid, args in mine)
        return {found[0].removeprefix("-m "): pid for found, pid in names if found is not None}

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.api_port}")


def is_gone(pid: int) -> bool:
    """Whether the process has ended, noticed by its parent or not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.strip() or state.startswith("Z")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_checkpoint import make_tiny_checkpoint  # noqa: PLC0415 imports torch: seconds

    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def stack(tmp_path: Path, model: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path, model)
    yield stack
    stack.end_all()


def test_a_life(stack: Stack) -> None:
    """One test for all of it: coming up takes long."""
    stack.come_up()
    assert stack.says(f"http://127.0.0.1:{stack.ui_port}")
    assert stack.says(f"http://127.0.0.1:{stack.api_port}")
    with stack.client() as client:
        picture = client.generate("a red circle", num_inference_steps=2, timeout_s=UP_LIMIT_S).pictures[0]
    parts = stack.parts()
    assert set(parts) == PARTS

    second = stack.start(DARKROOM_API_PORT=str(free_port()), DARKROOM_UI_PORT=str(free_port()))
    assert second.wait(90) == 1
    assert stack.says(f"Darkroom runs already on {stack.folder / 'data'} (process {stack.pid})")

    for part in ("worker", "valkey-server"):
        os.kill(parts[part], signal.SIGKILL)
    wait_until(
        lambda: all(stack.parts().get(part, parts[part]) != parts[part] for part in ("worker", "valkey-server")),
        limit_s=60,
        what="both were started again",
    )
    with stack.client() as client:
        assert client.generate("a blue square", num_inference_steps=2, timeout_s=UP_LIMIT_S).pictures

    parts = stack.parts()
    assert stack.end(signal.SIGINT) == 0
    assert all(is_gone(pid) for pid in parts.values())

    stack.come_up()
    with stack.client() as client:
        assert client.image(picture.job_id, 0) == picture.data

    parts = stack.parts()
    stack.end(signal.SIGKILL)
    wait_until(lambda: all(is_gone(pid) for pid in parts.values()), limit_s=60, what="nothing is left")


def test_a_taken_port_is_a_sentence_that_names_the_setting(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", stack.api_port)):
        process = stack.start()

        assert process.wait(90) == 1

    assert stack.says(f"Port {stack.api_port} is taken by another program.")
    assert stack.says("make run DARKROOM_API_PORT=")
    assert not stack.says("Traceback")


def test_a_wrong_setting_is_a_sentence(stack: Stack) -> None:
    process = stack.start(DARKROOM_WORKERS="many")

    assert process.wait(90) == 1

    assert stack.says("DARKROOM_WORKERS: ")
    assert not stack.says("Traceback")


def test_a_model_that_is_not_there_ends_it_with_the_worker_s_own_words(stack: Stack) -> None:
    process = stack.start(DARKROOM_MODEL="/no/such/folder")

    assert process.wait(UP_LIMIT_S) == 1

    assert stack.says("worker ended with exit code 1")
    assert stack.says("no such folder")
