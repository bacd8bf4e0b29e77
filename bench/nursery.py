"""Forks workers from one process that has imported everything and loaded the model: 64 of them share those pages.

    BENCH_STEP_MS=100 python -m bench.nursery

Reads numbers from stdin, one a line, and starts so many workers more; ends them all when stdin does. Each is a process
of its own with everything that a worker has (Celery, threads, heartbeat, sweep, engine, delivery), on `bench.paced`'s
networks. Nothing here may start a thread or open a connection before it forks.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from typing import Any, Final

import torch

from bench.paced import pace, serve
from shared.settings import Settings
from worker.__main__ import main as work
from worker.engine.card import card_of
from worker.engine.model import Model, load_model
from worker.engine.source import choose_source, fetch

STOP_S: Final = 15.0
"""Less than whoever started us waits."""


def load() -> Model:
    """Load the model once, for all."""
    torch.set_num_threads(1)  # a pool of threads would not survive a fork
    settings = Settings()
    source = choose_source(settings.model, cuda=False)
    return pace(load_model(fetch(source), card_of(source)))


def fork() -> int:
    """Start a worker; its process id."""
    pid = os.fork()
    if pid:
        return pid
    exit_code = 1
    try:
        random.seed()
        exit_code = work()
    except BaseException:  # noqa: BLE001 (the child must end here, whatever happens)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(exit_code)


def end(pids: list[int]) -> None:
    """Have all end by themselves, then for good."""
    until = time.monotonic() + STOP_S
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    left = set(pids)
    while left and time.monotonic() < until:
        left -= {pid for pid in left if os.waitpid(pid, os.WNOHANG)[0]}
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main() -> None:
    """Fork as told."""
    model = load()

    def loaded(*_: Any, **__: Any) -> Model:  # noqa: ANN401 (whatever `load_model` takes)
        return model

    serve(loaded)
    pids: list[int] = []
    print("nursery ready", flush=True)
    try:
        for line in sys.stdin:
            pids += [fork() for _ in range(int(line))]
            print(f"forked {len(pids)}", flush=True)
    finally:
        end(pids)


if __name__ == "__main__":
    main()
