"""Many pictures on one sheet, to be looked at."""

from typing import Final

from PIL import Image

_CELL: Final = 164
"""Side of a picture's cell, in pixels: the longest side that the model draws, and a gap."""


def contact_sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Lay rows of pictures on a dark sheet, each in the middle of its cell."""
    across = max(len(row) for row in rows)
    sheet = Image.new("RGB", (across * _CELL, len(rows) * _CELL), (32, 32, 32))
    for down, row in enumerate(rows):
        for column, picture in enumerate(row):
            left = column * _CELL + (_CELL - picture.width) // 2
            top = down * _CELL + (_CELL - picture.height) // 2
            sheet.paste(picture, (left, top))
    return sheet
