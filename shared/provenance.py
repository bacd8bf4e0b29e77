"""What a picture's file says of itself: everything that draws it again, ours and AUTOMATIC1111's.

`worker.images` writes it, and has the table of formats; here it is read. Needs Pillow, as page and worker have it.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, cast
from xml.sax.saxutils import unescape

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.generation import GenerationParams
from shared.infotext import Infotext, infotext_of, read_infotext

INFOTEXT_KEY: Final = "parameters"
OWN_KEY: Final = "darkroom"
EXIF_IFD: Final = 0x8769
USER_COMMENT: Final = 0x9286
UNICODE: Final = b"UNICODE\0"
"""EXIF's name of the encoding; AUTOMATIC1111 writes and expects UTF-16, big-endian, after it."""

NAMESPACE: Final = "urn:darkroom:1.0"
_XMP_BEGIN: Final = b"<darkroom:parameters>"
_XMP_END: Final = b"</darkroom:parameters>"

MAX_TEXT_CHARS: Final = 100_000
"""Of one thing that a file says; no program writes so much."""
_MAX_EXIF_BYTES: Final = 2**16
"""What one segment of a JPEG holds. All entries of a directory may be the same bytes, which Pillow copies for each."""
_JPEG_EXIF: Final = re.compile(rb"\xff\xe1..Exif\0\0", re.DOTALL)


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
class Embedded:
    """What a file says of itself; None where it says nothing."""

    infotext: Infotext | None
    provenance: Provenance | None
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """A PNG's texts by keyword, as they stand there: other programs have keywords of their own."""


_UNREADABLE: Final = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,  # Pillow's word for broken chunks and EXIF
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)
"""What Pillow raises over files that are cut short or made up."""


class NotAPicture(ValueError):
    """The bytes are no picture that can be read."""


class SaysTooMuch(NotAPicture):
    """What this file says of itself is too long to be the settings of a picture."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def read_parameters(data: bytes) -> Embedded:
    """Read what a PNG, JPEG or WebP says of itself: ours, AUTOMATIC1111's, or nothing.

    Only the file's head is read, never its pixels, and nothing in it that is long: a small file, made up by anybody,
    can ask for much memory and time otherwise.

    Raises NotAPicture, SaysTooMuch.
    """
    head = _with_one_exif(data)
    try:
        with Image.open(io.BytesIO(head), formats=["PNG", "JPEG", "WEBP"]) as image:
            infotext, own = _texts_of(image)
            texts = _png_texts(image)
    except SaysTooMuch:
        raise
    except _UNREADABLE as error:
        if len(head) < len(data):
            raise SaysTooMuch from error
        raise NotAPicture("This file is no PNG, JPEG or WebP picture that can be read.") from error
    try:
        provenance = None if own is None else Provenance.model_validate_json(own)
    except ValidationError:
        provenance = None
    return Embedded(None if infotext is None else read_infotext(infotext), provenance, texts)


def _texts_of(image: Image.Image) -> tuple[str | None, str | None]:
    """Find AUTOMATIC1111's text and our JSON."""
    info = cast("dict[str, Any]", image.info)
    if image.format == "PNG":
        return _text(info.get(INFOTEXT_KEY)), _text(info.get(OWN_KEY))
    if len(info.get("exif", b"")) > _MAX_EXIF_BYTES:
        raise SaysTooMuch
    comment = image.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
    infotext = None
    if isinstance(comment, bytes) and comment.startswith(UNICODE):
        infotext = comment.removeprefix(UNICODE).decode("utf-16-be", "replace")
    return infotext, _xmp_json(info.get("xmp"))


def _xmp_json(xmp: object) -> str | None:
    if not isinstance(xmp, bytes):
        return None
    begin = xmp.find(_XMP_BEGIN)
    end = xmp.find(_XMP_END, begin)
    if begin < 0 or end < 0:
        return None
    said = xmp[begin + len(_XMP_BEGIN) : end]
    if len(said) > MAX_TEXT_CHARS:
        raise SaysTooMuch
    return unescape(said.decode("utf-8", "replace"))


def _with_one_exif(data: bytes) -> bytes:
    """Cut a JPEG before its second EXIF, which is another picture's in the same file: Pillow would join the two."""
    if not data.startswith(b"\xff\xd8"):
        return data
    found = list(islice(_JPEG_EXIF.finditer(data), 2))
    return data[: found[1].start()] if len(found) > 1 else data


def _png_texts(image: Image.Image) -> dict[str, str]:
    info = cast("dict[object, object]", image.info) if image.format == "PNG" else {}
    return {str(keyword): str(text) for keyword, text in info.items() if isinstance(text, str)}


def _text(value: object) -> str | None:
    text = str(value) if isinstance(value, str) else None
    if text is not None and len(text) > MAX_TEXT_CHARS:
        raise SaysTooMuch
    return text
