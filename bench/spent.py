"""What a Redis-compatible server has spent, by its own `INFO`: processor, disk, network, turns of its loop, memory.

The processor's time is the thread's that runs the commands: no other can take over from it when its core is full. Time
that it waits for its disk is none. A busy machine makes it a little more, by cold caches; never by waiting.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Self, cast

import redis


@dataclass(frozen=True, slots=True)
class Spent:
    """A reading, or what lies between two."""

    cpu_s: float
    log_bytes: int
    """Written to the append-only file, which must not be rewritten between two readings."""
    in_bytes: int
    out_bytes: int
    turns: int
    """Of the server's loop. What comes within one is answered together, after one fsync."""
    memory_bytes: int

    @classmethod
    def now(cls, client: redis.Redis) -> Self:
        """Ask the server."""
        said = cast("dict[str, Any]", cast("Any", client).info("everything"))
        return cls(
            cpu_s=said["used_cpu_user_main_thread"] + said["used_cpu_sys_main_thread"],
            log_bytes=said["aof_current_size"],
            in_bytes=said["total_net_input_bytes"],
            out_bytes=said["total_net_output_bytes"],
            turns=said["eventloop_cycles"],
            memory_bytes=said["used_memory"],
        )

    def since(self, before: Spent) -> Spent:
        """Take an earlier reading off."""
        return Spent(*(now - was for now, was in zip(astuple(self), astuple(before), strict=True)))
