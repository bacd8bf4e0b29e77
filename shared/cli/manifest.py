"""What became of each line of a batch, in a file beside its pictures: `manifest.jsonl`.

The first line is the run. After it come records, appended as things happen; of those of one line the last counts. So a
run that was killed at any moment is taken up where it was; at its end the file has one record a line, in order.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from shared.cli.prompts import Line
from shared.cli.saving import replace
from shared.contract import JobRequest
from shared.errors import FieldError, InvalidRequest
from shared.jobs import JobError, JobId, JobStatus
from shared.words import newer_words

NAME: Final = "manifest.jsonl"
LOCK: Final = ".lock"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Run(_Entry):
    """A batch: the first line of its manifest."""

    run: str
    """Drawn once; each line's idempotency key is made of it: a submit that is sent again makes no second job."""
    source: str
    """The file that was read."""


class PictureFile(_Entry):
    """A picture that was saved."""

    file: str
    """Its name, in the manifest's folder."""
    seed: int
    variation_seed: int | None = None
    sha256: str


class Record(_Entry):
    """What became of a line."""

    line: int
    request: JobRequest
    job: JobId | None = None
    """None: it was not accepted."""
    attempt: int = 1
    """How often it has been asked for."""
    status: JobStatus | None = None
    """Of the job, when this was written; None: there is none."""
    pictures: tuple[PictureFile, ...] = ()
    """Once it has succeeded."""
    error: JobError | None = None

    @property
    def is_done(self) -> bool:
        """True once its pictures are saved."""
        return self.status is JobStatus.SUCCEEDED and bool(self.pictures)

    @property
    def has_failed(self) -> bool:
        """True if there will be no pictures, unless it is asked for anew."""
        return self.error is not None or (
            self.status is not None and self.status.is_terminal and self.status is not JobStatus.SUCCEEDED
        )


class Manifest:
    """A batch's record on disk, and the folder's lock: one process at a time writes there."""

    def __init__(self, folder: Path, run: Run, records: dict[int, Record]) -> None:
        self.folder = folder
        self.run = run
        self.records = records
        self._file = _appended(folder)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, source: Path) -> Generator[Self]:
        """Take up the run in a folder, or begin one.

        Raises InvalidRequest if the folder's is none of ours, or if another process is at it, and OSError.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            path = folder / NAME
            if not path.exists():
                replace(path, _line(Run(run=uuid4().hex, source=source.name)))
            try:
                run, records = _read(path)
            except ValueError as error:  # pydantic's too
                raise InvalidRequest((FieldError(str(path), "is no batch's manifest: use another folder."),)) from error
            manifest = cls(folder, run, records)
            try:
                manifest.tidy()
                yield manifest
            finally:
                with suppress(OSError):  # the records are there all the same, and the next run does it
                    manifest.tidy()
                manifest.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def require(self, lines: tuple[Line, ...]) -> None:
        """Raise InvalidRequest if the batch's file has changed since the run began: its jobs would be other ones."""
        asked = {line.number: line.request for line in lines}
        changed = [number for number, record in self.records.items() if asked.get(number) != record.request]
        if changed:
            wrong = (
                FieldError(f"line {number}", f"has changed since the run in {self.folder} began: use another folder.")
                for number in sorted(changed)
            )
            raise InvalidRequest(tuple(wrong))

    def key_of(self, line: Line, attempt: int) -> str:
        """The idempotency key by which a line is asked for."""
        return hashlib.sha256(f"{self.run.run} {line.number} {attempt}".encode()).hexdigest()

    def write(self, record: Record) -> None:
        """Note what became of a line; kept even if the process is killed right after. Raises OSError: nothing is."""
        line, end = _line(record), self._file.seek(0, os.SEEK_END)
        if self._file.write(line) < len(line):
            self._file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.records[record.line] = record

    def tidy(self) -> None:
        """Write the file anew, a record a line, in order."""
        records = (self.records[number] for number in sorted(self.records))
        self._file.close()
        replace(self.folder / NAME, b"".join([_line(self.run), *map(_line, records)]))
        self._file = _appended(self.folder)

    def has_files(self, record: Record) -> bool:
        """True if the pictures of a line that is done are still there."""
        return all((self.folder / picture.file).is_file() for picture in record.pictures)


def _line(entry: _Entry) -> bytes:
    return entry.model_dump_json(exclude_defaults=True).encode() + b"\n"


def _appended(folder: Path) -> FileIO:
    # Without a buffer: what did not fit on the disk would be tried again with what comes next.
    return FileIO(folder / NAME, "a")


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Keep a folder from other processes. The lock ends with the process, however that ends; its file stays."""
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            why = f"Another run is at work in {folder}. Wait for its end, or use another folder."
            raise InvalidRequest((FieldError("--output", why),)) from error
        yield


def _read(path: Path) -> tuple[Run, dict[int, Record]]:
    """Read a manifest but for a last line that a killed process did not write to its end. Raises ValueError."""
    # Not `splitlines`: a prompt may hold what Unicode takes for the end of a line, too.
    first, *rest = path.read_text(encoding="utf-8").split("\n")
    with newer_words():  # a newer gateway's, written down
        records = [Record.model_validate_json(text) for text in rest[:-1]]
    return Run.model_validate_json(first), {record.line: record for record in records}
