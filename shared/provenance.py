"""What a picture's file says of itself: everything that draws it again, ours and AUTOMATIC1111's.

`worker.images` writes it, and has the table of formats; `shared.heads` takes it out of a file, here it is understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import unescape

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.generation import GenerationParams
from shared.heads import Head, SaysTooMuch, read_head
from shared.infotext import Infotext, infotext_of, read_infotext

INFOTEXT_KEY: Final = "parameters"
OWN_KEY: Final = "darkroom"
UNICODE: Final = b"UNICODE\0"
"""EXIF's name of the encoding; AUTOMATIC1111 writes and expects UTF-16, big-endian, after it."""

NAMESPACE: Final = "urn:darkroom:1.0"
_XMP_BEGIN: Final = b"<darkroom:parameters>"
_XMP_END: Final = b"</darkroom:parameters>"

MAX_TEXT_CHARS: Final = 100_000
"""Of one thing that a file says; no program writes so much."""


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


def read_parameters(data: bytes) -> Embedded:
    """Read what a PNG, JPEG or WebP says of itself: ours, AUTOMATIC1111's, or nothing.

    Raises NotAPicture, SaysTooMuch.
    """
    head = read_head(data)
    infotext, own = _infotext(head), _own_json(head)
    if any(text is not None and len(text) > MAX_TEXT_CHARS for text in (infotext, own)):
        raise SaysTooMuch
    try:
        provenance = None if own is None else Provenance.model_validate_json(own)
    except ValidationError:
        provenance = None
    return Embedded(None if infotext is None else read_infotext(infotext), provenance, head.texts)


def _infotext(head: Head) -> str | None:
    comment = head.user_comment
    if comment is None or not comment.startswith(UNICODE):
        return head.texts.get(INFOTEXT_KEY)
    return comment.removeprefix(UNICODE).decode("utf-16-be", "replace")


def _own_json(head: Head) -> str | None:
    xmp = head.xmp
    if xmp is None:
        return head.texts.get(OWN_KEY)
    begin = xmp.find(_XMP_BEGIN)
    end = xmp.find(_XMP_END, begin)
    if begin < 0 or end < 0:
        return None
    said = xmp[begin + len(_XMP_BEGIN) : end]
    if len(said) > MAX_TEXT_CHARS:
        raise SaysTooMuch
    return unescape(said.decode("utf-8", "replace"))
