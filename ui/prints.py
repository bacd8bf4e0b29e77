"""Smaller prints of finished pictures: thumbnails and contact sheets. Bytes in, bytes out; knows no job, no HTTP."""

from __future__ import annotations

import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from io import BytesIO
from math import ceil
from typing import Final, cast

from PIL import Image, ImageDraw, ImageFont

THUMBNAIL_SIDE: Final = 512
"""Pixels of a thumbnail's longest side."""
_THUMBNAIL_QUALITY: Final = 82

_CELL: Final = 512
_SMALLEST_CELL: Final = 256
"""Smaller pictures are enlarged: a seed has to fit below each."""
_GAP: Final = 28
_MARGIN: Final = 40
_SEED_PX: Final = 22
_PROMPT_PX: Final = 28
_MAX_LINES: Final = 5
_FONT: Final = files("gradio") / "templates/frontend/static/fonts/IBMPlexSans/IBMPlexSans-Regular.woff2"
"""The page's own, under the SIL Open Font License: Latin, Greek and Cyrillic. Pillow's knows ASCII alone."""
_NO_LETTER: Final = "\uffff"
"""No font has it: it is drawn as every letter is that the font lacks."""
_LEFT_OUT: Final = "[\N{HORIZONTAL ELLIPSIS}]"
_WHY_LEFT_OUT: Final = f"{_LEFT_OUT} is in letters that this sheet has no font for; each picture's own file has them."
_FILM: Final = "#14100f"
_PAPER: Final = "#f1eae7"
_EDGE: Final = "#e5a25a"
"""What a film's edge is written in."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture on a contact sheet."""

    data: bytes
    """Its file."""
    seed: int


def thumbnail(data: bytes) -> bytes:
    """Make a small WebP of a picture's file, its longest side at most `THUMBNAIL_SIDE`."""
    return _webp(_small(data, THUMBNAIL_SIDE))


def contact_sheet(frames: Sequence[Frame], prompt: str) -> bytes:
    """Put pictures of one size on a PNG, with number and seed under each and the prompt below.

    Words in letters that the font lacks are left out, which is said.
    """
    prints = [_enlarged(_small(frame.data, _CELL)) for frame in frames]
    width, height = prints[0].size
    columns = _columns(len(prints), width / height)
    rows = ceil(len(prints) / columns)
    row_px = height + _GAP + _SEED_PX
    sheet_width = max(2 * _MARGIN + columns * (width + _GAP) - _GAP, 2 * _MARGIN + _CELL)
    prompt_font, seed_font = sheet_font(_PROMPT_PX), sheet_font(_SEED_PX)
    words, why = shown(prompt, prompt_font)
    lines = [line for text in (words, why) if text for line in _wrapped(text, prompt_font, sheet_width - 2 * _MARGIN)]
    line_px = round(1.35 * _PROMPT_PX)
    sheet = Image.new("RGB", (sheet_width, 2 * _MARGIN + rows * (row_px + _GAP) + len(lines) * line_px), _FILM)
    draw = ImageDraw.Draw(sheet)
    for index, (frame, picture) in enumerate(zip(frames, prints, strict=True)):
        row, column = divmod(index, columns)
        left, top = _MARGIN + column * (width + _GAP), _MARGIN + row * (row_px + _GAP)
        sheet.paste(picture, (left, top))
        draw.text((left, top + height + 8), f"{index + 1}", fill=_EDGE, font=seed_font)
        draw.text((left + width, top + height + 8), f"seed {frame.seed}", fill=_PAPER, font=seed_font, anchor="ra")
    top = _MARGIN + rows * (row_px + _GAP)
    for number, line in enumerate(lines):
        draw.text((_MARGIN, top + number * line_px), line, fill=_PAPER, font=prompt_font)
    written = BytesIO()
    sheet.save(written, "PNG")
    return written.getvalue()


class Shelf:
    """Keeps what was used last, up to a number of bytes; for any number of threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable) -> bytes | None:
        """Return what is kept under this name, if it still is."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            return self._kept.get(name)

    def put(self, name: Hashable, data: bytes) -> None:
        """Keep this, and let go of what was not used for longest."""
        with self._lock:
            self._bytes += len(data) - len(self._kept.pop(name, b""))
            self._kept[name] = data
            while self._bytes > self._most_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)


def _small(data: bytes, side: int) -> Image.Image:
    with Image.open(BytesIO(data)) as picture:
        picture.draft("RGB", (side, side))
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small


def _enlarged(picture: Image.Image) -> Image.Image:
    scale = min(_SMALLEST_CELL / picture.width, _CELL / picture.height)
    if scale <= 1:
        return picture
    return picture.resize((round(scale * picture.width), round(scale * picture.height)), Image.Resampling.LANCZOS)


def _webp(picture: Image.Image) -> bytes:
    written = BytesIO()
    picture.save(written, "WEBP", quality=_THUMBNAIL_QUALITY)
    return written.getvalue()


def _columns(count: int, ratio: float) -> int:
    """Choose how many pictures stand in a row: the sheet comes out nearest to a square, and full rows go first."""

    def badness(columns: int) -> tuple[int, float]:
        rows = ceil(count / columns)
        shape = columns * ratio / rows
        return columns * rows - count, max(shape, 1 / shape)

    return min(range(1, count + 1), key=lambda columns: (sum(badness(columns)), -columns))


def sheet_font(size_px: int) -> ImageFont.FreeTypeFont:
    """Load what sheets are written in."""
    with as_file(_FONT) as path:
        return ImageFont.truetype(path, size_px)


def shown(text: str, font: ImageFont.FreeTypeFont) -> tuple[str, str]:
    """Say what of a text the font can show, and, if that is not all, why."""
    text = unicodedata.normalize("NFC", text)
    none = _drawn(_NO_LETTER, font)
    lacking = {letter for letter in set(text) if not letter.isspace() and _drawn(letter, font) == none}
    if not lacking:
        return text, ""
    words: list[str] = []
    for word in text.split():
        is_shown = lacking.isdisjoint(word)
        if is_shown or words[-1:] != [_LEFT_OUT]:
            words.append(word if is_shown else _LEFT_OUT)
    return " ".join(words), _WHY_LEFT_OUT


def _drawn(letter: str, font: ImageFont.FreeTypeFont) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(cast("Sequence[int]", mask))


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], f"{lines[_MAX_LINES - 1]} \N{HORIZONTAL ELLIPSIS}"]
    return lines
