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
import re
from dataclasses import dataclass
from typing import Any, Final, cast
from xml.sax.saxutils import escape, unescape

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.generation import GenerationParams, OutputFormat, Size
from shared.infotext import Infotext, infotext_of, read_infotext
from worker.png import Pixels, encode_png

PREVIEW_SIDE: Final = 256
"""Longest side of a preview, in pixels."""

_JPEG_QUALITY: Final = 95
_WEBP_QUALITY: Final = 90
_PREVIEW_QUALITY: Final = 80

_INFOTEXT_KEY: Final = "parameters"
_OWN_KEY: Final = "darkroom"
_EXIF_IFD: Final = 0x8769
_USER_COMMENT: Final = 0x9286
_UNICODE: Final = b"UNICODE\0"
"""EXIF's name of the encoding; AUTOMATIC1111 writes and expects UTF-16, big-endian, after it."""

_NAMESPACE: Final = "urn:darkroom:1.0"
_XMP: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:darkroom="{namespace}"><darkroom:parameters>{json}</darkroom:parameters>'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)
_XMP_JSON: Final = re.compile(r"<darkroom:parameters>(.*?)</darkroom:parameters>", re.DOTALL)


class Provenance(BaseModel):
    """Everything that is needed to draw one picture again, and nothing else: not whose it is, nor when.

    So the same request gives the same bytes, and a file that is passed on tells of no job.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    model_revision: str
    software: str
    """Such as `Darkroom 0.1.0`."""
    params: GenerationParams
    """Of this picture alone: its own seed, one picture."""

    @classmethod
    def of(cls, params: GenerationParams, index: int, *, model: str, model_revision: str, software: str) -> Provenance:
        """Tell the provenance of picture `index` of a job.

        What a preset filled in is there without its name, and nothing of whether it was to be drawn alone: the same
        pixels make the same file.
        """
        alone = params.alone(index).model_copy(update={"preset": None, "deterministic": False})
        return cls(model=model, model_revision=model_revision, software=software, params=alone)

    def json_text(self) -> str:
        """Say it in our own way; of variations only if it is one, so that the bytes of others are those of before."""
        silent = None if self.params.is_variation else {"params": {"variation_seed", "variation_strength"}}
        return self.model_dump_json(exclude=silent)

    def infotext(self) -> str:
        """Say it in AUTOMATIC1111's way."""
        return infotext_of(self.params, model=self.model, model_revision=self.model_revision, software=self.software)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished file."""

    data: bytes
    size: Size
    output_format: OutputFormat


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a file says of itself; None where it says nothing."""

    infotext: Infotext | None
    provenance: Provenance | None


class NotAPicture(ValueError):
    """The bytes are no picture that can be read."""


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


def read_parameters(data: bytes) -> Embedded:
    """Read what a PNG, JPEG or WebP says of itself: ours, AUTOMATIC1111's, or nothing.

    Raises NotAPicture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP"]) as image:
            image.load()
            infotext, own = _texts_of(image)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise NotAPicture("This file is no PNG, JPEG or WebP picture that can be read.") from error
    try:
        provenance = None if own is None else Provenance.model_validate_json(own)
    except ValidationError:
        provenance = None
    return Embedded(None if infotext is None else read_infotext(infotext), provenance)


def _saved(pixels: Pixels, provenance: Provenance, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, exif=_exif(provenance), xmp=_xmp(provenance), **options)
    return file.getvalue()


def _png_texts(provenance: Provenance) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text(_INFOTEXT_KEY, provenance.infotext())  # tEXt, or iTXt where Latin-1 doesn't reach
    info.add_itxt(_OWN_KEY, provenance.json_text())
    return info


def _exif(provenance: Provenance) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UNICODE + provenance.infotext().encode("utf-16-be")
    return exif.tobytes()


def _xmp(provenance: Provenance) -> bytes:
    return _XMP.format(namespace=_NAMESPACE, json=escape(provenance.json_text())).encode()


def _texts_of(image: Image.Image) -> tuple[str | None, str | None]:
    """Find AUTOMATIC1111's text and our JSON."""
    info = cast("dict[str, Any]", image.info)
    if image.format == "PNG":
        return _text(info.get(_INFOTEXT_KEY)), _text(info.get(_OWN_KEY))
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    infotext = None
    if isinstance(comment, bytes) and comment.startswith(_UNICODE):
        infotext = comment.removeprefix(_UNICODE).decode("utf-16-be", "replace")
    xmp = info.get("xmp")
    found = _XMP_JSON.search(xmp.decode("utf-8", "replace")) if isinstance(xmp, bytes) else None
    return infotext, None if found is None else unescape(found[1])


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str) else None
