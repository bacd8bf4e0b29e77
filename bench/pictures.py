"""Compares pictures by their pixels, however they were packed."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image


def digest(picture: Image.Image | bytes | Path) -> str:
    """Sum up a picture's size and pixels; a file is decoded first."""
    if isinstance(picture, Image.Image):
        image = picture
    else:
        image = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
    pixels = image.convert("RGB")
    return hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()
