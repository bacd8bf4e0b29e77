"""Real servers for the tests: the embedded ones that `make run` starts, each in a folder of the test's own.

A server that was killed can be started again where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy.embedded import S3, Valkey, free_port

__all__ = ["RedisServer", "S3Server", "free_port", "wait_until"]

RedisServer = Valkey
S3Server = S3


def wait_until(condition: Callable[[], bool], *, limit_s: float, what: str) -> None:
    """Return as soon as `condition()` is true; fail with `what` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.01)
