"""A picture's parameters as text that other tools read: AUTOMATIC1111's "infotext".

    a red circle
    Negative prompt: ugly
    Steps: 25, Sampler: Euler, CFG scale: 9, Seed: 1, Size: 1024x1024, Model hash: ..., Model: ..., Version: ...

The format is stable-diffusion-webui's `modules/infotext_utils.py`. It can't say everything (which resize,
which format): a picture's file carries the whole beside it. Names of our own are `Adapter` (the LoRA, with its
revision) and `Guided steps`, where guidance ends before the last step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.generation import GenerationParams, Scheduler

SAMPLERS: Final[Mapping[Scheduler, str]] = {
    Scheduler.EULER: "Euler",
    Scheduler.EULER_ANCESTRAL: "Euler a",
    Scheduler.DPMPP_2M_KARRAS: "DPM++ 2M Karras",
    Scheduler.UNIPC: "UniPC",
    Scheduler.DDIM: "DDIM",
    Scheduler.LCM: "LCM",
}

SHORT_HASH: Final = 10
"""Characters of a model's revision by which AUTOMATIC1111 knows it."""

_NEGATIVE: Final = "Negative prompt: "
_PAIR: Final = re.compile(r'(?:^|(?<=,))\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""Only after a comma, unlike its model: tried at every character, a long prompt would take a quadratic time."""
_FEWEST_PAIRS: Final = 3
"""With fewer, the last line is taken for a part of the prompt."""


@dataclass(frozen=True, slots=True)
class Infotext:
    """What an infotext says, as it stands there."""

    prompt: str
    negative_prompt: str
    fields: Mapping[str, str]
    """`Steps`, `Sampler`, `CFG scale`, `Seed`, `Size` and whatever else the writer knew."""


def sampler_name(scheduler: Scheduler) -> str:
    """Say a sampler's name for people; of one that this version doesn't know, what the API calls it."""
    return SAMPLERS.get(scheduler, scheduler.value)


def infotext_of(params: GenerationParams, *, model: str, model_revision: str, software: str) -> str:
    """Write the infotext of a picture that these parameters draw alone."""
    fields = {
        "Steps": str(params.num_inference_steps),
        "Sampler": sampler_name(params.scheduler),
        "CFG scale": f"{params.guidance_scale:g}",
        "Seed": str(params.seed),
        "Size": str(params.size),
        "Model hash": model_revision[:SHORT_HASH],
        "Model": model,
    }
    if params.is_variation:
        fields["Variation seed"] = str(params.variation_seed)
        fields["Variation seed strength"] = str(params.variation_strength)
    if params.adapter is not None:
        fields["Adapter"] = params.adapter
    if params.is_guided and params.num_guided_steps < params.num_inference_steps:
        fields["Guided steps"] = str(params.num_guided_steps)
    fields["Version"] = software
    return write_infotext(Infotext(params.prompt, params.negative_prompt, fields))


def write_infotext(infotext: Infotext) -> str:
    """Write the three parts, the negative prompt only if there is one."""
    lines = [infotext.prompt]
    if infotext.negative_prompt:
        lines.append(f"{_NEGATIVE}{infotext.negative_prompt}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in infotext.fields.items()))
    return "\n".join(lines)


def read_infotext(text: str) -> Infotext:
    """Take an infotext apart. Reads anything: a text without parameters is all prompt."""
    lines = text.strip().split("\n")
    pairs = [(match[1], _unquoted(match[2])) for match in _PAIR.finditer(lines[-1])]
    fields = dict(pairs) if len(pairs) >= _FEWEST_PAIRS else {}
    body = lines[:-1] if fields else lines
    start = next((at for at, line in enumerate(body) if line.startswith(_NEGATIVE)), len(body))
    negative = "\n".join(body[start:]).removeprefix(_NEGATIVE)
    return Infotext("\n".join(body[:start]), negative, fields)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value


def _unquoted(value: str) -> str:
    if not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
