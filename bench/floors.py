"""What a picture must cost at least: operations of the networks, counted, and what a device can do in a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from bench.orders import Order
from shared.generation import Size

TERA: Final = 1e12
PEAKS: Final = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "RTX 3060": 25.4e12,
}
"""Dense fp16 operations a second with fp32 accumulation, from the makers' data sheets; the first that fits the name."""
TOKENS: Final = 77
SIDE: Final = 8192
REPEATS: Final = 50


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of one model at one size: a multiplication and an addition are two."""

    step: float
    """One UNet forward of one row."""
    decode: float

    @classmethod
    def of(cls, checkpoint: Path, size: Size) -> Work:
        """Count on the meta device, from the checkpoint's configuration alone."""
        return cls(_step(_config(checkpoint, "unet"), size), _decode(_config(checkpoint, "vae"), size))

    def of_orders(self, orders: Iterable[Order]) -> float:
        """Operations of these pictures, all of this size; a guided step takes two rows. Encoders are left out."""
        return sum(
            self.step * order.num_inference_steps * (2 if order.guidance_scale > 1 else 1) + self.decode
            for order in orders
        )


def data_sheet_peak(device: str) -> float | None:
    """Give what the maker says, in operations a second; None for a device that is not listed."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def measured_peak() -> float:
    """Operations a second of a large fp16 matrix product on this CUDA device: what can be had in practice."""
    one = torch.randn(SIDE, SIDE, device="cuda", dtype=torch.float16)
    for _ in range(REPEATS):
        _ = one @ one
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(REPEATS):
        _ = one @ one
    torch.cuda.synchronize()
    return 2 * SIDE**3 * REPEATS / (time.perf_counter() - begun)


def _config(checkpoint: Path, part: str) -> dict[str, Any]:
    return json.loads((checkpoint / part / "config.json").read_text("utf-8"))


def _step(config: dict[str, Any], size: Size) -> float:
    with torch.device("meta"):
        unet = cast("Any", UNet2DConditionModel).from_config(config)
        pooled = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
        latents = torch.empty(1, config["in_channels"], size.height // 8, size.width // 8)
        prompt = torch.empty(1, TOKENS, config["cross_attention_dim"])
        added = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, 6)}
        timestep = torch.empty(1)
    return _count(lambda: unet(latents, timestep, encoder_hidden_states=prompt, added_cond_kwargs=added))


def _decode(config: dict[str, Any], size: Size) -> float:
    with torch.device("meta"):
        vae = cast("Any", AutoencoderKL).from_config(config)
        latents = torch.empty(1, config["latent_channels"], size.height // 8, size.width // 8)
    return _count(lambda: vae.decode(latents))


def _count(forward: Callable[[], object]) -> float:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        forward()
    return float(cast("Any", counter).get_total_flops())
