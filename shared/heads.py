"""What stands in a picture's file beside its pixels: a PNG's texts, a JPEG's and a WebP's EXIF comment and XMP.

Files come from anybody, and a small one, made up, can ask for much: an EXIF directory names the same bytes thousands
of times, texts inflate a thousandfold. So a file is walked over once, a bounded number of parts of it, and what nobody
asks for is never decoded. Knows neither Pillow, nor what the texts mean: `shared.provenance` does.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

EXIF_IFD: Final = 0x8769
USER_COMMENT: Final = 0x9286

_MOST_PARTS: Final = 10_000
"""Chunks or segments of one file. 32 MB in full segments are 512, and a walk of so many takes milliseconds."""
_MOST_TEXT_BYTES: Final = 8 * 2**20
"""Of all the texts of a PNG together, as they stand there and inflated."""
_MOST_EXIF_BYTES: Final = 2**16
"""What one segment of a JPEG holds: 5,461 entries."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS: Final = frozenset({b"IDAT", b"IEND"})
_PNG_TEXTS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})

_JPEG: Final = b"\xff\xd8\xff"
_MARKER: Final = re.compile(rb"\xff[\xc0-\xfe]")
"""What stands between segments otherwise is padding."""
_BARE: Final = range(0xD0, 0xDA)
"""Markers with nothing after them: restarts, the picture's start and end."""
_APP1, _SCAN = 0xE1, 0xDA

_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_BYTE, _LONG, _UNDEFINED, _IFD = 1, 4, 7, 13
"""Types of TIFF entries."""


class NotAPicture(ValueError):
    """This file is no PNG, JPEG or WebP picture that can be read."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class SaysTooMuch(NotAPicture):
    """What this file says of itself is too long to be the settings of a picture."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a file has; nothing where it doesn't."""

    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """A PNG's by keyword, those before its pixels."""
    user_comment: bytes | None = None
    """EXIF's, with the name of its encoding."""
    xmp: bytes | None = None


def read_head(data: bytes) -> Head:
    """Read the head of a PNG, JPEG or WebP, never its pixels.

    Raises NotAPicture, SaysTooMuch.
    """
    try:
        if data.startswith(_PNG):
            return Head(_png_texts(data))
        if data.startswith(_JPEG):
            return _jpeg_head(data)
        if data[:4] == b"RIFF" and data[8:15] == b"WEBPVP8":
            first = dict[bytes, memoryview]()
            for kind, content in _webp_chunks(data):
                first.setdefault(kind, content)
            return _head_of(first.get(b"EXIF"), first.get(b"XMP "))
    except (struct.error, zlib.error) as error:
        raise NotAPicture from error
    raise NotAPicture


def _png_texts(data: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    left = _MOST_TEXT_BYTES
    for kind, content in _png_chunks(data):
        if kind not in _PNG_TEXTS:
            continue
        if (left := left - len(content)) < 0:
            raise SaysTooMuch
        keyword, _, said = bytes(content).partition(b"\0")
        text = _png_text(kind, said, left)
        if (left := left - len(text)) < 0:
            raise SaysTooMuch
        try:
            texts[keyword.decode("latin-1")] = text.decode("utf-8" if kind == b"iTXt" else "latin-1")
        except UnicodeDecodeError:
            continue
    return texts


def _png_text(kind: bytes, said: bytes, most: int) -> bytes:
    """Take a text out of what follows its keyword; of one that is packed and inflates to more, `most + 1` bytes.

    Raises zlib.error.
    """
    is_packed = kind == b"zTXt"
    if is_packed:
        said = said[1:]
    elif kind == b"iTXt":
        is_packed = said[:1] == b"\1"
        said = b"".join(said[2:].split(b"\0", 2)[2:])  # after language and translated keyword
    return zlib.decompressobj().decompress(said, most + 1) if is_packed else said


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Walk over the chunks before the pixels."""
    whole, at = memoryview(data), len(_PNG)
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind in _PNG_PIXELS:
            return
        end = at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(whole[at + 4 : end]) != checksum:
            raise NotAPicture
        yield kind, whole[at + 8 : end]
        at = end + 4
    raise SaysTooMuch


def _jpeg_head(data: bytes) -> Head:
    exif: bytes | None = None
    xmp: bytes | None = None
    for marker, content in _jpeg_segments(data):
        if marker != _APP1:
            continue
        if content.startswith(_EXIF):
            if exif is not None:
                raise SaysTooMuch
            exif = content
        elif content.startswith(_XMP):
            xmp = content.removeprefix(_XMP)
    return _head_of(exif, xmp)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk over the segments before the pixels, by marker. Those of a second picture, behind the first, are not met."""
    at = 0
    for _ in range(_MOST_PARTS):
        if (found := _MARKER.search(data, at)) is None:
            raise NotAPicture
        marker, at = data[found.start() + 1], found.end()
        if marker in _BARE:
            continue
        if marker == _SCAN:
            return
        (length,) = struct.unpack_from(">H", data, at)
        end = at + length
        if length < struct.calcsize(">H") or end > len(data):
            raise NotAPicture
        yield marker, data[at + 2 : end]
        at = end
    raise SaysTooMuch


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Walk over all chunks: EXIF and XMP stand behind the pixels."""
    (size,) = struct.unpack_from("<I", data, 4)
    whole, at, all_end = memoryview(data), 12, 8 + size
    if all_end > len(data):
        raise NotAPicture
    for _ in range(_MOST_PARTS):
        if at >= all_end:
            return
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length
        if end > all_end:
            raise NotAPicture
        yield kind, whole[at + 8 : end]
        at = end + length % 2
    raise SaysTooMuch


def _head_of(exif: bytes | memoryview | None, xmp: bytes | memoryview | None) -> Head:
    if exif is not None and len(exif) > _MOST_EXIF_BYTES:
        raise SaysTooMuch
    comment = None if exif is None else _user_comment(bytes(exif))
    return Head(user_comment=comment, xmp=None if xmp is None else bytes(xmp))


def _user_comment(exif: bytes) -> bytes | None:
    """Follow EXIF to its one tag that matters here; None where any step leads nowhere."""
    tiff = exif.removeprefix(_EXIF)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        kind, _, start = _entry(tiff, order, start, EXIF_IFD)
        if kind not in (_LONG, _IFD):
            return None
        kind, count, start = _entry(tiff, order, start, USER_COMMENT)
    except (struct.error, LookupError):
        return None
    comment = tiff[start : start + count]
    return comment if kind in (_BYTE, _UNDEFINED) and len(comment) == count else None


def _entry(tiff: bytes, order: str, start: int, tag: int) -> tuple[int, int, int]:
    """Find a tag in the directory at `start`: its type, its count, and its value or where that is.

    A directory that promises more entries than there are bytes is read as far as it goes.

    Raises LookupError, struct.error.
    """
    (promised,) = struct.unpack_from(f"{order}H", tiff, start)
    first, entry = start + 2, struct.Struct(f"{order}HHII")
    entries = min(promised, (len(tiff) - first) // entry.size)
    for found, kind, count, value in entry.iter_unpack(tiff[first : first + entries * entry.size]):
        if found == tag:
            return kind, count, value
    raise LookupError(tag)
