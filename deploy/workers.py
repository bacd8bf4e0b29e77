"""The workers of one machine: one for each NVIDIA GPU, or one without; and where this machine keeps things.

`make run` starts them beside everything else (deploy.parts), `make worker` alone (deploy.join).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from deploy.probe import has_warmed_up
from deploy.process import Program
from deploy.supervisor import Member
from shared.settings import Settings

ROOT: Final = Path(__file__).parents[1]
WORKER_GRACE_S: Final = 30.0
"""A worker hands its jobs back at the next step, or ends those that are nearly done."""


class LocalSettings(Settings):
    """Every setting of the parts, and this machine's own."""

    workers: int | None = Field(default=None, ge=1, le=64)
    """How many workers; unset: one for each NVIDIA GPU, or one without."""
    data: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = ROOT / "data"
    """Where everything is kept: jobs, pictures, keys, logs."""
    gpus: str | None = Field(default=None, validation_alias="CUDA_VISIBLE_DEVICES")


def worker_members(settings: LocalSettings, logs: Path, environment: Mapping[str, str]) -> Iterator[Member]:
    """Say how to run each worker of this machine; `environment` is what they are told beside ours."""
    for number, device in enumerate(_devices(settings)):
        name = f"worker-{number}" if number else "worker"
        program = Program(
            name,
            (sys.executable, "-m", "worker"),
            logs / f"{name}.log",
            ready=lambda pid: has_warmed_up(settings, pid),
            environment={**environment, **device},
            cwd=ROOT,
        )
        yield Member(program, WORKER_GRACE_S, start_stage=2, stop_stage=1, echo=True)


def gpus_of(settings: LocalSettings) -> list[str]:
    """Name the GPUs that workers of this machine may have, as CUDA_VISIBLE_DEVICES takes them."""
    gpus = settings.gpus.split(",") if settings.gpus is not None else _gpu_indices()
    return [gpu for gpu in gpus if gpu]


def _devices(settings: LocalSettings) -> Iterator[dict[str, str]]:
    """For each worker, the environment that gives it its own GPU."""
    gpus = gpus_of(settings)
    for number in range(settings.workers or len(gpus) or 1):
        if gpus:
            yield {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
        else:
            # Threads that wait by spinning slow the neighbours, and here everybody is one.
            yield {"OMP_WAIT_POLICY": "PASSIVE"}


def _gpu_indices() -> list[str]:
    """Indices of this machine's NVIDIA GPUs."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 fixed words
    return answer.stdout.split() if answer.returncode == 0 else []
