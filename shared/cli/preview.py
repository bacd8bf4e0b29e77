"""A sketch of the picture in the terminal, where the terminal can show one.

Three ways: kitty's graphics protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol/, by Unicode placeholders, so
that the picture is text to whatever draws around it), iTerm2's inline images
(https://iterm2.com/documentation-images.html), and else two pixels a character. iTerm2 reads JPEG, which a sketch is;
for the others Pillow decodes it (extra `preview`).
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Protocol

from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment
from rich.style import Style

from shared.settings import Terminal

if TYPE_CHECKING:
    from PIL import Image

ROWS: Final = 12
"""Lines that a sketch takes; a character is about twice as high as wide."""
COLUMNS: Final = 2 * ROWS

_PLACEHOLDER: Final = "\U0010eeee"
_ROW_MARKS: Final = "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c"
"""What marks a placeholder's row, from 0: the beginning of kitty's rowcolumn-diacritics.txt."""
_CHUNK: Final = 4096
"""Most base64 characters that kitty takes in one command."""


class Sketch(Protocol):
    """One preview as rich draws it, `ROWS` lines high."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult: ...


class Screen(Protocol):
    """A terminal's way to show previews."""

    def sketch(self, jpeg: bytes) -> Sketch:
        """Make a preview ready to be drawn, any number of times."""
        ...


def screen_of(console: Console, terminal: Terminal) -> Screen | None:
    """Choose how a console can show previews; None if it can't."""
    if not console.is_terminal or console.no_color or console.size.height < ROWS + 3:
        return None
    # A multiplexer stands between us and what the variables tell of.
    is_direct = not terminal.term.startswith(("screen", "tmux"))
    if is_direct and "iTerm" in f"{terminal.term_program} {terminal.lc_terminal}":
        return ITerm()
    if is_direct and terminal.term_program == "WezTerm":
        return ITerm()
    if find_spec("PIL") is None:
        return None
    if is_direct and (terminal.kitty_window_id or "kitty" in terminal.term or terminal.term_program == "ghostty"):
        return Kitty()
    return Blocks() if console.color_system in {"truecolor", "256"} else None


class Kitty:
    """kitty and Ghostty: the picture is sent once, under an id, and shown where its placeholders stand."""

    def __init__(self) -> None:
        # Other programs in the same terminal have other ids.
        self._id = 0x10000 | os.getpid() & 0xFFFF

    def sketch(self, jpeg: bytes) -> Sketch:
        """Send the picture in the place of the one before when it is drawn for the first time."""
        png = io.BytesIO()
        _fitted(jpeg, COLUMNS * 8, ROWS * 16).save(png, "PNG")
        return _KittySketch(self._id, "".join(_commands(self._id, png.getvalue())))


class _KittySketch:
    def __init__(self, image: int, commands: str) -> None:
        self._commands = commands
        # The picture's id is told by the placeholders' color.
        self._style = Style(color=Color.from_rgb(image >> 16, image >> 8 & 0xFF, image & 0xFF))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _unmeasured(self._commands)
        self._commands = ""
        for mark in _ROW_MARKS[:ROWS]:
            # What follows a placeholder without marks of its own is the next column.
            yield Segment(_PLACEHOLDER + mark + _ROW_MARKS[0] + _PLACEHOLDER * (COLUMNS - 1), self._style)
            yield Segment.line()


class ITerm:
    """iTerm2 and WezTerm: the picture is drawn over blank lines, each time anew."""

    def sketch(self, jpeg: bytes) -> Sketch:
        """Take the JPEG as it is."""
        return _ITermSketch(jpeg)


class _ITermSketch:
    def __init__(self, jpeg: bytes) -> None:
        data = base64.b64encode(jpeg).decode()
        said = f"inline=1;size={len(jpeg)};width={COLUMNS};height={ROWS};preserveAspectRatio=1;doNotMoveCursor=1"
        # Save the cursor, go up to where the blank lines begin, draw, and come back.
        self._draw = f"\x1b7\x1b[{ROWS}A\r\x1b]1337;File={said}:{data}\x07\x1b8"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from [Segment.line()] * ROWS
        yield _unmeasured(self._draw)


class Blocks:
    """Any terminal with many colors: the upper half of a character is one pixel, the lower half another."""

    def sketch(self, jpeg: bytes) -> Sketch:
        """Shrink the picture to characters."""
        return _BlockSketch(_fitted(jpeg, COLUMNS, 2 * ROWS))


class _BlockSketch:
    def __init__(self, image: Image.Image) -> None:
        self._width, self._height = image.size
        self._pixels = image.tobytes()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for row in range(ROWS):
            for column in range(self._width if 2 * row < self._height else 0):
                yield Segment("▀", Style(color=self._at(column, 2 * row), bgcolor=self._at(column, 2 * row + 1)))
            yield Segment.line()

    def _at(self, column: int, row: int) -> Color:
        start = 3 * (min(row, self._height - 1) * self._width + column)
        red, green, blue = self._pixels[start : start + 3]
        return Color.from_rgb(red, green, blue)


def _fitted(jpeg: bytes, width: int, height: int) -> Image.Image:
    """Decode a JPEG and make it fit."""
    from PIL import Image  # noqa: PLC0415 an extra: without it the command works and shows no previews

    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    scale = min(width / image.width, height / image.height)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _commands(image: int, png: bytes) -> Iterator[str]:
    """Say a PNG to kitty, in chunks: take it (a=T) as PNG (f=100) for placeholders (U=1), and answer nothing (q=2)."""
    data = base64.b64encode(png).decode()
    said = f"a=T,U=1,f=100,i={image},c={COLUMNS},r={ROWS},q=2,"
    for start in range(0, len(data), _CHUNK):
        has_more = start + _CHUNK < len(data)
        yield f"\x1b_G{said}m={int(has_more)};{data[start : start + _CHUNK]}\x1b\\"
        said = "q=2,"


def _unmeasured(escapes: str) -> Segment:
    """Make a segment that takes no room on its line: rich counts none for a control, whichever it is said to be."""
    return Segment(escapes, None, [(ControlType.BELL,)])
