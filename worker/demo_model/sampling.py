# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""Drawing pictures with an exported folder, for the evaluation and the tests."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from PIL import Image


@dataclass(frozen=True, slots=True)
class Request:
    """One picture to draw."""

    prompt: str
    seed: int
    width: int = 128
    height: int = 128
    negative_prompt: str | None = None


def draw_requests(
    pipeline: StableDiffusionXLPipeline,
    requests: list[Request],
    *,
    num_inference_steps: int,
    guidance_scale: float,
    batch: int = 8,
) -> list[Image.Image]:
    """Draw pictures in batches of the same size and kind, in the order of the requests."""
    pictures: dict[int, Image.Image] = {}
    kinds = dict.fromkeys((r.width, r.height, r.negative_prompt is None) for r in requests)
    for kind in kinds:
        numbers = [
            number for number, r in enumerate(requests) if (r.width, r.height, r.negative_prompt is None) == kind
        ]
        for begin in range(0, len(numbers), batch):
            part = numbers[begin : begin + batch]
            chosen = [requests[number] for number in part]
            drawn = cast("Any", pipeline)(
                prompt=[r.prompt for r in chosen],
                negative_prompt=None if kind[2] else [r.negative_prompt for r in chosen],
                width=kind[0],
                height=kind[1],
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                generator=[torch.Generator("cpu").manual_seed(r.seed) for r in chosen],
            ).images
            pictures.update(zip(part, drawn, strict=True))
    return [pictures[number] for number in range(len(requests))]
