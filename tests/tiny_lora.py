"""A LoRA of a few ranks for the tiny checkpoint's UNet, named as kohya's trainer and the LCM-LoRAs name theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import torch
from safetensors import torch as safetensors_torch

LAYERS: Final = {
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": (32, 32),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (32, 64),
    "up_blocks.0.attentions.1.proj_out": (32, 32),
    "down_blocks.0.resnets.0.conv1": (16, 16, 3, 3),
    "mid_block.resnets.0.time_emb_proj": (32, 64),
}
"""Layers of the UNet by name, and the shapes of their weights."""


def make_tiny_lora(file: Path, *, strength: float = 1.0) -> dict[str, torch.Tensor]:
    """Write the LoRA; what it adds to each layer's weight, computed here: alpha / rank * up @ down."""
    generator = torch.Generator().manual_seed(3)
    state: dict[str, torch.Tensor] = {}
    deltas: dict[str, torch.Tensor] = {}
    for number, (layer, (outputs, inputs, *kernel)) in enumerate(LAYERS.items()):
        rank, alpha = 1 + number, float(1 + number % 2)
        down = torch.randn(rank, inputs, *kernel, generator=generator) * strength
        up = torch.randn(outputs, rank, *(1 for _ in kernel), generator=generator)
        name = f"lora_unet_{layer.replace('.', '_')}"
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(alpha)}
        deltas[layer] = (
            alpha / rank * (up.reshape(outputs, rank) @ down.reshape(rank, -1)).reshape(outputs, inputs, *kernel)
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    cast("Any", safetensors_torch).save_file(state, file)
    return deltas
