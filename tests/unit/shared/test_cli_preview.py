"""A sketch as terminals get it. tests/integration has kitty's on a pseudo-terminal."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image
from rich.console import Console, Group
from rich.text import Text

from shared.cli.preview import COLUMNS, ROWS, Blocks, ITerm, Kitty, Screen, screen_of
from shared.settings import Terminal


def jpeg(width: int, height: int) -> bytes:
    image = Image.new("RGB", (width, height), (250, 0, 0))
    image.paste((0, 0, 250), (0, height // 2, width, height))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def console(*, is_terminal: bool = True, color: str = "truecolor", no_color: bool = False, height: int = 40) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=is_terminal,
        color_system="truecolor" if color == "truecolor" else "standard",
        no_color=no_color,
        width=80,
        height=height,
        legacy_windows=False,
    )


def drawn(screen: Screen, data: bytes) -> str:
    on = console()
    sketch = screen.sketch(data)
    on.print(Group(sketch, Text("bar")))
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def terminal(**said: str) -> Terminal:
    """What a terminal says, whatever this one does."""
    return Terminal.model_validate(
        {"term": "xterm", "term_program": "", "lc_terminal": "", "kitty_window_id": ""} | said
    )


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"term": "xterm-kitty"}, Kitty),
        ({"kitty_window_id": "1"}, Kitty),
        ({"term_program": "ghostty"}, Kitty),
        ({"term_program": "iTerm.app"}, ITerm),
        ({"lc_terminal": "iTerm2"}, ITerm),
        ({"term_program": "WezTerm"}, ITerm),
        ({}, Blocks),
        ({"term": "tmux-256color", "kitty_window_id": "1"}, Blocks),
        ({"term": "screen", "lc_terminal": "iTerm2"}, Blocks),
    ],
)
def test_the_terminal_decides_how(said: dict[str, str], kind: type[Screen]) -> None:
    assert type(screen_of(console(), terminal(**said))) is kind


@pytest.mark.parametrize(
    "on",
    [console(is_terminal=False), console(no_color=True), console(height=10)],
    ids=["a_file", "no_color", "too_low"],
)
def test_where_it_can_not_be_shown_there_is_none(on: Console) -> None:
    assert screen_of(on, terminal(term="xterm-kitty")) is None


def test_without_colors_enough_there_are_no_blocks() -> None:
    assert screen_of(console(color="16"), terminal()) is None


def test_without_pillow_only_a_terminal_that_reads_jpeg_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def finds_nothing(_name: str) -> None:
        pass

    monkeypatch.setattr("shared.cli.preview.find_spec", finds_nothing)

    assert screen_of(console(), terminal(term="xterm-kitty")) is None
    assert isinstance(screen_of(console(), terminal(term_program="iTerm.app")), ITerm)


def test_kitty_gets_a_png_in_chunks_and_a_placeholder_for_each_cell() -> None:
    noise = io.BytesIO()
    Image.effect_noise((256, 256), 100).convert("RGB").save(noise, "JPEG")
    told = drawn(Kitty(), noise.getvalue())

    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", told)
    assert len(chunks) > 1
    assert all(len(data) <= 4096 for _, data in chunks)
    assert [said[-3:] for said, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"]
    png = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in chunks))))
    assert (png.format, png.size) == ("PNG", (192, 192))
    rows = [line for line in told.splitlines() if "\U0010eeee" in line]
    assert [row.count("\U0010eeee") for row in rows] == [COLUMNS] * ROWS
    assert len({row[row.index("\U0010eeee") + 1] for row in rows}) == ROWS


def test_kitty_is_sent_a_picture_once_however_often_it_is_drawn() -> None:
    on = console()
    sketch = Kitty().sketch(jpeg(64, 64))
    on.print(sketch)
    on.print(sketch)

    assert isinstance(on.file, io.StringIO)
    assert on.file.getvalue().count("a=T") == 1


def test_iterm_gets_the_jpeg_as_it_is_over_blank_lines() -> None:
    data = jpeg(64, 64)
    told = drawn(ITerm(), data)

    assert told.startswith("\n" * ROWS + f"\x1b7\x1b[{ROWS}A\r\x1b]1337;File=")
    assert f":{base64.b64encode(data).decode()}\x07\x1b8bar" in told


def test_blocks_are_two_pixels_a_character() -> None:
    told = drawn(Blocks(), jpeg(96, 96))

    rows = [line for line in told.splitlines() if "▀" in line]
    assert [row.count("▀") for row in rows] == [COLUMNS] * ROWS
    assert re.search(r"38;2;2[45]\d;\d;\d;48;2;2[45]\d;\d;\dm▀", rows[0])
    assert re.search(r"38;2;\d;\d;2[45]\d;48;2;\d;\d;2[45]\dm▀", rows[-1])


def test_a_wide_picture_leaves_the_rest_of_the_lines_free() -> None:
    rows = [line for line in drawn(Blocks(), jpeg(160, 40)).splitlines() if "▀" in line]

    assert len(rows) == 3
