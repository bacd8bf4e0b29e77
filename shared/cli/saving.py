"""Where pictures go: a file or a folder, and never over another file unless told so."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from shared.client import Picture, Result
from shared.errors import FieldError, InvalidRequest
from shared.generation import OutputFormat

FORMATS: Final = {
    ".png": OutputFormat.PNG,
    ".jpg": OutputFormat.JPEG,
    ".jpeg": OutputFormat.JPEG,
    ".webp": OutputFormat.WEBP,
}


def format_of(target: Path | None) -> OutputFormat | None:
    """Tell which format a file's name asks for; None if it names none."""
    return None if target is None else FORMATS.get(target.suffix.lower())


def prepare(target: Path | None, output_format: OutputFormat | None = None) -> None:
    """Make the folder that pictures will go to, before they are drawn in vain.

    Raises InvalidRequest if they can't be written there, or if the file's name asks for another format.
    """
    if target is not None and not target.is_dir():
        named = format_of(target)
        if target.suffix and named is None:
            endings = ", ".join(FORMATS)
            why = f"{target.suffix!r} is none of {endings}. A folder of such a name has to be there already."
            raise InvalidRequest((FieldError("--output", why),))
        if named is not None and output_format not in {None, named}:
            raise InvalidRequest((FieldError("--format", f"{target} asks for {named}."),))
    folder = _folder_of(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InvalidRequest((FieldError("--output", f"Can't write to {folder}: {error.strerror}."),)) from error


def save(result: Result, target: Path | None, *, force: bool) -> tuple[Path, ...]:
    """Write the pictures where `prepare` was, and say where. Raises InvalidRequest if that fails now."""
    try:
        return tuple(_write(path, picture.data, force=force) for path, picture in _places(result, target))
    except OSError as error:
        why = f"Can't write there: {error.strerror}. `darkroom watch {result.job.id} -o PLACE` saves the pictures."
        raise InvalidRequest((FieldError("--output", why),)) from error


def replace(path: Path, data: bytes) -> None:
    """Write a file in one piece: whoever looks finds the old one or the whole new one."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _is_file(target: Path) -> bool:
    """True if `target` names a picture; else it is a folder for pictures with names of their own."""
    return format_of(target) is not None and not target.is_dir()


def _folder_of(target: Path | None) -> Path:
    if target is None:
        return Path()
    return target.parent if _is_file(target) else target


def _places(result: Result, target: Path | None) -> Iterator[tuple[Path, Picture]]:
    for picture in result.pictures:
        if target is None or not _is_file(target):
            yield _folder_of(target) / picture.file_name, picture
        elif len(result.pictures) == 1:
            yield target, picture
        else:
            yield target.with_stem(f"{target.stem}-{picture.info.index}"), picture


def _write(path: Path, data: bytes, *, force: bool) -> Path:
    if force:
        replace(path, data)
        return path
    free = _claimed(path)
    try:
        replace(free, data)
    except BaseException:
        free.unlink()
        raise
    return free


def _claimed(path: Path) -> Path:
    """Make an empty file of this name, or with the first number behind it that nobody has."""
    for number in count(1):
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            free.touch(exist_ok=False)
        except FileExistsError:
            continue
        return free
    raise AssertionError("numbers do not end")
