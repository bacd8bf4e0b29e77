"""A seat at a GPU: one process each, free again however it ends.

There is no GPU here: a script in nvidia-smi's place names some. Locks and processes are real.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import pytest

from deploy.seat import DEVICE, NoGpus, gpus, take

ROOT: Final = Path(__file__).parents[3]
SIT: Final = f'import os, sys; print(os.environ["{DEVICE}"], flush=True); sys.stdin.read()'
"""Says its GPU, and stays until its input ends."""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with two GPUs, as far as its tool says."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf 'GPU-one\\nGPU-two\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv(DEVICE, raising=False)
    return tool


@pytest.fixture
def start(machine: Path, tmp_path: Path) -> Iterator[Start]:
    """Start one more worker on that machine."""
    del machine
    started: list[subprocess.Popen[str]] = []

    def one() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "deploy.seat", str(tmp_path / "seats"), sys.executable, "-c", SIT]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.communicate()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def test_each_worker_gets_a_gpu_of_its_own(start: Start) -> None:
    assert {line(start().stdout), line(start().stdout)} == {"GPU-one", "GPU-two"}


def test_one_more_waits_and_takes_the_place_of_one_that_is_killed(start: Start) -> None:
    first, second = start(), start()
    held = line(first.stdout)
    line(second.stdout)
    third = start()
    assert line(third.stderr) == "Each of the 2 GPUs has its worker: waiting until one leaves."

    first.kill()

    assert line(third.stdout) == held


def test_who_waits_leaves_when_told_to(start: Start) -> None:
    for _ in range(2):
        line(start().stdout)
    third = start()
    line(third.stderr)

    third.send_signal(signal.SIGTERM)

    assert third.wait(20) == 0


def test_a_worker_that_is_told_its_gpu_is_left_alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE, "GPU-mine")

    assert line(start().stdout) == "GPU-mine"


def test_without_a_gpu_it_says_what_to_do(start: Start, machine: Path) -> None:
    machine.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed: no driver'\nexit 9\n")
    process = start()

    assert process.wait(20) == 1
    assert line(process.stderr) == "nvidia-smi names no GPU: NVIDIA-SMI has failed: no driver"


def test_without_the_tool_it_names_the_toolkit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NoGpus, match="container toolkit"):
        gpus()


def test_seats_are_taken_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "seats"

    assert [take(folder, ["a", "b"]) for _ in range(3)] == ["a", "b", None]
    assert {file.name for file in folder.iterdir()} == {"a", "b"}
