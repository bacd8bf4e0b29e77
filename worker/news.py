"""What a shift is told by the threads around it: small messages, read between two steps."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import TypeAlias

from shared.jobs import JobError
from shared.scripts import Lease


@dataclass(frozen=True, slots=True)
class Lost:
    """A lease is worth nothing any more: the job was canceled, has ended, or went to another worker."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Ended:
    """A job's last picture was delivered and the job has ended."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Broken:
    """A picture of the job can't be made into a file, or the store refuses it for good, so the job fails."""

    lease: Lease
    error: JobError


@dataclass(frozen=True, slots=True)
class StoreAway:
    """The object store was away for longer than a worker waits for it, or a picture that waited for it is lost."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The worker was told to stop; `Stop` knows the rest. Wakes a shift that waits."""


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine's device went away while a picture was decoded: the process must end."""

    error: Exception


News: TypeAlias = Lost | Ended | Broken | StoreAway | StopAsked | EngineLost
Inbox: TypeAlias = queue.SimpleQueue[News]
"""Where a shift finds its news. Signal handlers may put some there too: `put` is reentrant."""
