"""How a worker is named: `HOST-PID-RANDOM`, so that whoever watches a process can find it among the fleet."""

from __future__ import annotations

import os
import secrets
import socket

from shared.jobs import WorkerId


def new_worker_id() -> WorkerId:
    """Name this process; a restart is another worker."""
    return WorkerId(f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}")


def is_on_this_host(worker: str, pid: int | None = None) -> bool:
    """Whether that name was given on this host; with `pid`, to that process."""
    process = "" if pid is None else f"{pid}-"
    return worker.startswith(f"{socket.gethostname()}-{process}")
