"""Pixels to files: resized if asked, encoded, with the parameters that drew them inside.

| format | how | AUTOMATIC1111's text | our own JSON |
|---|---|---|---|
| PNG | lossless, see `worker.png` | text chunk `parameters` | text chunk `darkroom` |
| JPEG | quality 95, 4:4:4: coloured edges stay sharp | EXIF UserComment | XMP `darkroom:parameters` |
| WebP | lossy, quality 90, method 4 | EXIF UserComment | XMP `darkroom:parameters` |

The same pixels and provenance give the same bytes: no times, no random names. All encoders release the
GIL while they encode, so this may run in threads beside the engine. Knows nothing of torch or S3.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, PngImagePlugin

from shared.generation import OutputFormat, Size
from shared.heads import EXIF_IFD, USER_COMMENT
from shared.provenance import INFOTEXT_KEY, NAMESPACE, OWN_KEY, UNICODE, Provenance
from worker.png import Pixels, encode_png

PREVIEW_SIDE: Final = 256
"""Longest side of a preview, in pixels."""

_JPEG_QUALITY: Final = 95
_WEBP_QUALITY: Final = 90
_PREVIEW_QUALITY: Final = 80

_XMP: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:darkroom="{namespace}"><darkroom:parameters>{json}</darkroom:parameters>'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished file."""

    data: bytes
    size: Size
    output_format: OutputFormat


def encode_image(pixels: Pixels, provenance: Provenance) -> Encoded:
    """Make the file that `provenance.params` asks for: its format, and its `output_size` by Lanczos."""
    params = provenance.params
    if params.output_size is not None and params.output_size != params.size:
        target = (params.output_size.width, params.output_size.height)
        pixels = np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.LANCZOS))
    match params.output_format:
        case OutputFormat.PNG:
            data = encode_png(pixels, _png_texts(provenance))
        case OutputFormat.JPEG:
            data = _saved(pixels, provenance, "JPEG", quality=_JPEG_QUALITY, subsampling="4:4:4")
        case OutputFormat.WEBP:
            data = _saved(pixels, provenance, "WEBP", quality=_WEBP_QUALITY, method=4)
    height, width, _ = pixels.shape
    return Encoded(data, Size(width=width, height=height), params.output_format)


def encode_preview(pixels: Pixels, size: Size) -> bytes:
    """Make a JPEG of at most 256 px a side from a preview of a picture of `size`, smoothly enlarged."""
    scale = min(1.0, PREVIEW_SIDE / max(size.width, size.height))
    target = (max(1, round(size.width * scale)), max(1, round(size.height * scale)))
    file = io.BytesIO()
    Image.fromarray(pixels).resize(target, Image.Resampling.BICUBIC).save(file, "JPEG", quality=_PREVIEW_QUALITY)
    return file.getvalue()


def _saved(pixels: Pixels, provenance: Provenance, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, exif=_exif(provenance), xmp=_xmp(provenance), **options)
    return file.getvalue()


def _png_texts(provenance: Provenance) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text(INFOTEXT_KEY, provenance.infotext())  # tEXt, or iTXt where Latin-1 doesn't reach
    info.add_itxt(OWN_KEY, provenance.json_text())
    return info


def _exif(provenance: Provenance) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = UNICODE + provenance.infotext().encode("utf-16-be")
    return exif.tobytes()


def _xmp(provenance: Provenance) -> bytes:
    return _XMP.format(namespace=NAMESPACE, json=escape(provenance.json_text())).encode()
