"""The stock pipeline, loaded and called as its documentation says: what all ways but Darkroom's stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from PIL import Image

from bench.orders import Order


class Stock:
    """`StableDiffusionXLPipeline` on the best device: fp16 on CUDA, fp32 on a CPU, as a worker has it."""

    def __init__(self, checkpoint: Path) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        has_variant = any((checkpoint / "unet").glob("*.fp16*.safetensors"))
        self._pipeline = cast("Any", StableDiffusionXLPipeline).from_pretrained(
            checkpoint,
            variant="fp16" if has_variant else None,
            use_safetensors=True,
            add_watermarker=False,
            dtype=torch.float16 if self.device == "cuda" else torch.float32,
        )
        self._pipeline.to(self.device)
        self._pipeline.set_progress_bar_config(disable=True)

    def draw(self, order: Order) -> Image.Image:
        """Draw one picture. The noise comes from the CPU, so that a seed means the same on every device."""
        return self._pipeline(
            prompt=order.prompt,
            negative_prompt=order.negative_prompt or None,
            width=order.width,
            height=order.height,
            num_inference_steps=order.num_inference_steps,
            guidance_scale=order.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(order.seed),
        ).images[0]
