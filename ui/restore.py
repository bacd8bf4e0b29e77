"""Settings out of a picture's file: ours to the letter, AUTOMATIC1111's and its kin's as far as they go.

What can't be taken over is said in a note, never passed over. Knows neither Gradio nor models: what a model takes of
the settings is `ui.fitting`'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from anyio import CapacityLimiter, WouldBlock, fail_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from shared.errors import FieldError, InvalidRequest
from shared.generation import Scheduler
from shared.heads import NotAPicture, SaysTooMuch
from shared.infotext import SAMPLERS, Infotext
from shared.provenance import MAX_TEXT_CHARS, Embedded, read_parameters
from ui.again import fields_of, unsaid_of
from ui.form import size_of
from ui.notices import NO_COOKIE
from ui.visitors import Person

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""A picture of four megapixels as a PNG without loss is half of it."""

_TOO_LARGE: Final = f"A file may have {MAX_FILE_BYTES // 2**20} MB at most."

MOST_HELD: Final = 8
"""Files that are in memory, from their first byte to the answer: 256 MB, twice that as they are put together."""

MOST_READ: Final = 2
"""Of these, at once: the page serves everybody else meanwhile."""

PATIENCE_S: Final = 60.0
"""For a file's bytes: who sends them one by one keeps others out."""

_BUSY: Final = "Many pictures are being read just now. Try again in a moment."
_TOO_SLOW: Final = "The file took too long to get here. Try again."

_UNSEEN: Final[Mapping[str, str]] = {
    "Hires upscale": "enlarged in a second pass (hires fix)",
    "Refiner": "finished by a refiner",
    "Face restoration": "retouched (face restoration)",
    "ControlNet 0": "guided by a ControlNet",
    "Clip skip": "drawn with another clip skip",
    "Lora hashes": "drawn with LoRAs",
    "TI hashes": "drawn with textual inversions",
    "Mask blur": "painted into another picture (inpainting)",
    "Variation seed": "a variation of another seed",
}
"""What AUTOMATIC1111 can do and the form can't ask for, by the field that tells of it."""

_KARRAS: Final = "karras"
_OF_THE_SAMPLER: Final = frozenset({"", "automatic"})
_LORA: Final = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>")
_COMFY_KEYS: Final = frozenset({"workflow", "prompt"})
_INVOKE_KEY: Final = "invokeai_metadata"

PersonOf = Callable[[Request], Person | None]
"""Who asks; None for whom the page has not met."""

Value = bool | int | float | str | None

_Reader = Callable[[str], object]
"""Reads a value; raises ValueError or OverflowError."""


class Restored(BaseModel):
    """What a file says, in the form's terms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, Value] = Field(max_length=40)
    """By the form's fields; `adapter` and `guidance_cutoff` beside them, which decide on the preset."""
    notes: tuple[str, ...] = ()
    """What could not be read from it, or is not done here."""
    model: str | None = None
    """As the file names it."""
    model_revision: str | None = None


def settings_route(person_of: PersonOf, *, patience_s: float = PATIENCE_S) -> APIRouter:
    """Make the route that reads a dropped file: its bytes in, `Restored` or a sentence out; nothing is kept.

    It serves whoever has opened the page: what another site has a browser send comes without their cookie.
    """
    router, places, turns = APIRouter(), CapacityLimiter(MOST_HELD), CapacityLimiter(MOST_READ)

    @router.post("/settings")
    async def settings(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] (the decorator registers it)
        if person_of(request) is None:
            return PlainTextResponse(NO_COOKIE, status_code=403)
        if (refusal := _refusal_of_length(request)) is not None:
            return refusal
        try:
            places.acquire_nowait()
        except WouldBlock:
            return PlainTextResponse(_BUSY, status_code=503)
        try:
            with fail_after(patience_s):
                data = await request.body()
            restored = await run_sync(settings_of, data, limiter=turns)
        except (TimeoutError, ClientDisconnect):  # who went away doesn't read it
            return PlainTextResponse(_TOO_SLOW, status_code=408)
        except InvalidRequest as error:
            return PlainTextResponse(error.errors[0].message, status_code=422)
        finally:
            places.release()
        return JSONResponse(restored.model_dump(mode="json"))

    return router


def _refusal_of_length(request: Request) -> Response | None:
    length = request.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal()):
        return PlainTextResponse("Say the file's length.", status_code=411)
    if int(length) > MAX_FILE_BYTES:
        return PlainTextResponse(_TOO_LARGE, status_code=413)
    return None


def settings_of(data: bytes) -> Restored:
    """Read the settings of a PNG, JPEG or WebP: ours, AUTOMATIC1111's, Fooocus' or InvokeAI's.

    Raises InvalidRequest if it is too large, no picture, or says nothing of how it was made.
    """
    if len(data) > MAX_FILE_BYTES:
        raise _wrong(_TOO_LARGE)
    try:
        found = read_parameters(data)
    except NotAPicture as error:
        raise _wrong(str(error)) from error
    if (own := found.provenance) is not None:
        fields = {**fields_of(own.params), "num_images": 1}
        return Restored.model_validate(
            {
                "fields": fields,
                "notes": unsaid_of(own.params),
                "model": own.model,
                "model_revision": own.model_revision,
            }
        )
    if any(len(text) > MAX_TEXT_CHARS for text in found.texts.values()):
        raise _wrong(str(SaysTooMuch()))
    for read in (_of_json, _of_infotext):
        if (restored := read(found)) is not None:
            return restored
    if found.texts.keys() & _COMFY_KEYS:
        raise _wrong("This picture is ComfyUI's: what made it is a graph of nodes, which can't be put into this form.")
    raise _wrong(
        "This picture does not say how it was made. Many sites and messengers take that out, and so does a browser's "
        "Copy image: use the original file."
    )


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest((FieldError("file", message),))


def _of_infotext(found: Embedded) -> Restored | None:
    text = found.infotext
    if text is None or not text.fields:
        return None
    notes: list[str] = []
    fields: dict[str, object] = {"prompt": text.prompt, "negative_prompt": text.negative_prompt, "style": ""}
    fields |= _read(text.fields, _NUMBERS, notes)
    if (size := size_of(text.fields.get("Size"))) is not None:
        fields["size"] = str(size)
    if adapter := text.fields.get("Adapter"):
        fields["adapter"] = adapter
    fields |= _scheduler_of(text, notes)
    notes += [f"It was {words}, which is not restored." for key, words in _UNSEEN.items() if key in text.fields]
    if _LORA.search(text.prompt):
        notes.append("Its prompt names LoRAs in angle brackets, which are not loaded here: better delete them.")
    return Restored.model_validate({"fields": fields, "notes": notes, "model": text.fields.get("Model")})


def _scheduler_of(text: Infotext, notes: list[str]) -> dict[str, object]:
    """Find our scheduler. Since 1.9 the noise schedule is a field of its own, before it was a part of the name."""
    name = text.fields.get("Sampler", "").strip()
    if not name:
        return {}
    said = text.fields.get("Schedule type", "").strip()
    known = {ours.casefold(): scheduler for scheduler, ours in SAMPLERS.items()}
    scheduler, schedule = known.get(name.casefold()), said.casefold()
    if scheduler is None:
        scheduler = known.get(f"{name} {_KARRAS}".casefold())
    if scheduler is None:
        notes.append(f"Sampler '{name}' is not offered here: left as it was.")
        return {}
    its_own = _KARRAS if scheduler is Scheduler.DPMPP_2M_KARRAS else ""
    if schedule not in {*_OF_THE_SAMPLER, its_own}:
        notes.append(f"Noise schedule '{said}' is not offered here: {SAMPLERS[scheduler]} draws by its own.")
    return {"scheduler": scheduler.value}


def _of_json(found: Embedded) -> Restored | None:
    """Read InvokeAI's chunk, or Fooocus' `parameters` where it wrote them as JSON."""
    for keyword, names in ((_INVOKE_KEY, _INVOKE), ("parameters", _FOOOCUS)):
        said = _object(found.texts.get(keyword, ""))
        if said is None or not any(name in said for name in names):
            continue
        notes: list[str] = []
        fields: dict[str, object] = {"style": "", **_read(said, names, notes)}
        width, height = fields.pop("width", None), fields.pop("height", None)
        if width is not None and height is not None:
            fields["size"] = f"{width}x{height}"
        if sampler := said.get("sampler") or said.get("scheduler"):
            notes.append(f"Sampler '{sampler}' is another program's: left as it was.")
        model = said.get("base_model", said.get("model"))
        model = cast("dict[str, Any]", model).get("name") if isinstance(model, dict) else model
        named = model if isinstance(model, str) else None
        return Restored.model_validate({"fields": fields, "notes": notes, "model": named})
    return None


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        said: object = json.loads(text)
        json.dumps(said, ensure_ascii=False).encode()  # half a character, which JSON can say, goes nowhere from here
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", said) if isinstance(said, dict) else None


def _read(said: Mapping[str, object], names: Mapping[str, tuple[str, _Reader]], notes: list[str]) -> dict[str, object]:
    """Read the values that have a field here, and note those that make no sense."""
    fields: dict[str, object] = {}
    for name, (field, read) in names.items():
        if (value := said.get(name)) is None:
            continue
        try:
            fields[field] = read(str(value))
        except (ValueError, OverflowError):
            notes.append(f"{name} '{str(value)[:40]}' can't be read: left as it was.")
    return fields


def _pixels(text: str) -> str:
    sides = re.findall(r"\d{1,5}", text)
    if len(sides) != len(("width", "height")):
        raise ValueError(text)
    return "x".join(sides)


def _number(text: str) -> float:
    number = float(text)
    if number - number != 0:  # infinity, or not a number
        raise ValueError(text)
    return number


_NUMBERS: Final[Mapping[str, tuple[str, _Reader]]] = {
    "Steps": ("num_inference_steps", int),
    "CFG scale": ("guidance_scale", _number),
    "Seed": ("seed", int),
}
_INVOKE: Final[Mapping[str, tuple[str, _Reader]]] = {
    "positive_prompt": ("prompt", str),
    "negative_prompt": ("negative_prompt", str),
    "steps": ("num_inference_steps", int),
    "cfg_scale": ("guidance_scale", _number),
    "seed": ("seed", int),
    "width": ("width", int),
    "height": ("height", int),
}
_FOOOCUS: Final[Mapping[str, tuple[str, _Reader]]] = {
    "prompt": ("prompt", str),
    "negative_prompt": ("negative_prompt", str),
    "steps": ("num_inference_steps", int),
    "guidance_scale": ("guidance_scale", _number),
    "seed": ("seed", int),
    "resolution": ("size", _pixels),
}
