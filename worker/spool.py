"""A folder where pictures wait for the object store: bounded, private to this process, gone with it.

Nothing in it is ever needed after a crash, since another worker draws the picture again: so nothing is
synced, and what a dead process left is deleted by the next one that starts. Who is dead is told by a lock
on the folder, which ends with its process: process ids mean nothing among containers that share a volume.
Knows bytes, nothing of jobs and the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

PREFIX: Final = "darkroom-spool-"

_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, slots=True)
class Spooled:
    """Bytes that lie on the disk."""

    file: Path
    num_bytes: int

    def read(self) -> bytes:
        """Read them back. Raises OSError if somebody deleted them."""
        return self.file.read_bytes()


@final
class Spool:
    """One process' folder in `parent`, or in the system's folder for temporary files; for many threads.

    Before `prepare`, or if the folder can't be made, there is no room in it.
    """

    def __init__(self, parent: Path | None, *, limit_bytes: int) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._used = 0
        self._names = itertools.count()
        self._is_refusing = False
        self._folder: Path | None = None
        self._folder_lock: int | None = None

    def prepare(self) -> None:
        """Delete what dead processes left and make this one's folder; never fails."""
        try:
            self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _clean(self._parent)
            self._folder, self._folder_lock = _make_folder(self._parent)
        except OSError as error:
            self._note_refusal(error)

    def put(self, data: bytes) -> Spooled | None:
        """Write bytes, all or none of them; None if there is no room."""
        with self._lock:
            if self._folder is None:
                return None
            if self._used + len(data) > self._limit:
                self._note_refusal(f"it holds {self._used} bytes of {self._limit}")
                return None
            self._used += len(data)
            spooled = Spooled(self._folder / str(next(self._names)), len(data))
        try:
            with spooled.file.open("xb") as file:
                file.write(data)
        except OSError as error:
            self.drop(spooled)
            self._note_refusal(error)
            return None
        self._is_refusing = False
        return spooled

    def drop(self, spooled: Spooled) -> None:
        """Delete bytes; to be called once."""
        with contextlib.suppress(OSError):  # the folder may be gone, or its disk read-only by now
            spooled.file.unlink(missing_ok=True)
        with self._lock:
            self._used -= spooled.num_bytes

    def close(self) -> None:
        """Delete the folder."""
        with self._lock:
            folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None

    def _note_refusal(self, reason: object) -> None:
        """Log the first refusal after a success."""
        if not self._is_refusing:
            _logger.warning("no room for pictures in DARKROOM_SPOOL, %s: they wait in memory: %s", self._parent, reason)
        self._is_refusing = True


def _make_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder and lock it; the folder and the lock's descriptor. Raises OSError."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # with mode 0700
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            lock = _lock(folder)
            if folder.exists():
                return folder, lock
            os.close(lock)
        # A process that starts at the same moment took it for a leftover.


def _clean(parent: Path) -> None:
    """Delete the folders whose processes are dead. Raises OSError if `parent` can't be read."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder) as lock:  # a living process', somebody else's, or no folder
            if os.fstat(lock).st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
                _logger.info("deleted what a dead worker left in %s", folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[int]:
    lock = _lock(folder)
    try:
        yield lock
    finally:
        os.close(lock)


def _lock(folder: Path) -> int:
    """Lock a folder for as long as the descriptor is open. Raises BlockingIOError if another holds it, or OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
