"""Pixels to a PNG without loss, fast: numpy filters the rows, igzip compresses them.

Pillow tries all five filters on every row; that alone takes longer than this whole writer. Here each row
is its difference to the row above, whatever the picture. `bench/README.md` has times and sizes of this and of other
encoders. numpy, igzip and Pillow release the GIL while they work on pixels.

The same pixels and texts give the same bytes, with one encoder in one version on one kind of processor.
Knows nothing of what the texts say.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from importlib import import_module
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Pixels: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

EncodePng: TypeAlias = Callable[[Pixels, PngInfo], bytes]

_IGZIP: Final = "isal.isal_zlib"
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_DEPTH: Final = 8
_RGB: Final = 2
_CHANNELS: Final = 3
_UP: Final = 2
"""The filter "Up" of the PNG specification, 9.2: a byte less the one above it, modulo 256."""
_LEVEL: Final = 1
"""Of igzip's: 2 and 3 save next to nothing, 0 writes a tenth to two thirds more."""

_logger = logging.getLogger(__name__)


def encode_with_igzip(pixels: Pixels, texts: PngInfo) -> bytes:
    """Make a PNG with the chunks of `texts` before the picture, where readers that don't load it see them.

    Raises ImportError where the package `isal` can't be loaded, ValueError if the pixels are not RGB.
    """
    igzip = import_module(_IGZIP)
    height, width, channels = pixels.shape
    if channels != _CHANNELS or pixels.dtype != np.uint8:
        raise ValueError(f"Pixels of shape {pixels.shape} and type {pixels.dtype} are no picture.")
    header = struct.pack(">IIBBBBB", width, height, _DEPTH, _RGB, 0, 0, 0)
    compressed: bytes = igzip.compress(_filtered(pixels), _LEVEL)
    parts = [_SIGNATURE]
    for kind, data in (b"IHDR", header), *(chunk[:2] for chunk in texts.chunks), (b"IDAT", compressed), (b"IEND", b""):
        checksum = igzip.crc32(data, igzip.crc32(kind))
        parts += [struct.pack(">I4s", len(data), kind), data, struct.pack(">I", checksum)]
    return b"".join(parts)


def encode_with_pillow(pixels: Pixels, texts: PngInfo) -> bytes:
    """Make a PNG with Pillow, level 1: twice as fast as its default."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1, pnginfo=texts)
    return file.getvalue()


def choose_encoder() -> EncodePng:
    """Choose igzip, or Pillow where it can't be loaded, and log that."""
    try:
        import_module(_IGZIP)
    except ImportError as error:
        _logger.warning("PNGs are written by Pillow, which takes several times as long: no isal (%s)", error)
        return encode_with_pillow
    return encode_with_igzip


def _filtered(pixels: Pixels) -> NDArray[np.uint8]:
    """Filter each row by "Up": (H, 1 + 3W) uint8, the filter's number first."""
    rows = pixels.reshape(len(pixels), -1)
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


encode_png: Final = choose_encoder()
"""Chosen once, when a worker starts."""
