"""The real servers of a run, and the processes that are measured on them; all of it ends with the block.

    with Site(folder, model="demo") as site:
        url = site.gateway()
        worker = site.worker()

Every process gets the same number of threads and the same way of waiting for them, whichever way it belongs to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr

from deploy.embedded import S3, Valkey, free_port
from deploy.process import Process, Program, StackError
from shared.settings import Settings

ROOT: Final = Path(__file__).parents[1]
READY_S: Final = 300.0
STOP_S: Final = 20.0
GATEWAY_IS_READY: Final = "Uvicorn running on"
WORKER_IS_READY: Final = "ready worker="


def threads_environment(threads: int | None = None) -> dict[str, str]:
    """The OpenMP settings of every process that is measured, as `make run` gives them to workers."""
    number = threads or os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(number), "OMP_WAIT_POLICY": "PASSIVE"}


class Site:
    """Valkey and S3 in a folder, and what was started beside them."""

    def __init__(self, folder: Path, *, model: str, threads: int | None = None) -> None:
        self.folder = folder
        self.model = model
        self._threads = threads_environment(threads)
        self._stack = ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        self.valkey = self._stack.enter_context(Valkey(self.folder / "valkey"))
        self.s3 = self._stack.enter_context(S3(self.folder / "s3"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    @cached_property
    def settings(self) -> Settings:
        """To speak to the queue and the store as the product does."""
        return Settings(
            redis_url=SecretStr(self.valkey.url),
            s3_endpoint=self.s3.endpoint,
            s3_access_key=SecretStr(self.s3.access_key),
            s3_secret_key=SecretStr(self.s3.secret_key),
            model=self.model,
        )

    @cached_property
    def environment(self) -> dict[str, str]:
        """What the product's processes are told."""
        return {
            "DARKROOM_REDIS_URL": self.valkey.url,
            "DARKROOM_S3_ENDPOINT": self.s3.endpoint,
            "DARKROOM_S3_ACCESS_KEY": self.s3.access_key,
            "DARKROOM_S3_SECRET_KEY": self.s3.secret_key,
            "DARKROOM_MODEL": self.model,
            "PYTHONUNBUFFERED": "1",
            **self._threads,
        }

    def start(
        self,
        words: tuple[str, ...],
        ready: str,
        environment: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
    ) -> Process:
        """Start Python with these words, and wait until its log has the words that mean `ready`.

        Raises StackError with the log's last lines.
        """
        self._started += 1
        name = words[1] if words[0] == "-m" else words[0]
        log = self.folder / f"{self._started}-{name}.log"
        told = {**self.environment, **(environment or {})}
        process = Process(Program(name, (sys.executable, *words), log, lambda _pid: _has_said(log, ready), told, ROOT))
        process.start()
        self._stack.callback(process.stop, STOP_S)
        if wait:
            process.wait_ready(READY_S)
        return process

    def gateway(self) -> str:
        """Start a gateway; its address."""
        port = free_port()
        self.gateway_process = self.start(("-m", "api"), GATEWAY_IS_READY, {"DARKROOM_API_PORT": str(port)})
        return f"http://127.0.0.1:{port}"

    def worker(
        self, module: str = "worker", environment: Mapping[str, str] | None = None, *, wait: bool = True
    ) -> Process:
        """Start a worker; it takes jobs when this returns."""
        return self.start(("-m", module), WORKER_IS_READY, environment, wait=wait)


def _has_said(log: Path, words: str) -> bool:
    return log.exists() and words in log.read_text("utf-8", "replace")


__all__ = ["READY_S", "ROOT", "STOP_S", "Site", "StackError", "threads_environment"]
