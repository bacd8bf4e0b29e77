"""UNets with a LoRA fused in: copies of the model's own, which share everything else with it.

A fused copy costs a UNet's memory and no time; a LoRA beside the weights would cost time at every step, and rows
of both kinds could not take turns without switching it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch

from shared.errors import CheckpointUnavailable

ROOM_TO_DRAW: Final = 4 * 2**30
"""Bytes of a GPU that must stay free beside the copies: for steps, and for decoding a megapixel in float32.
Not yet measured on a GPU."""

_logger = logging.getLogger(__name__)


def fuse_all(unet: UNet2DConditionModel, files: Mapping[str, Path]) -> dict[str, UNet2DConditionModel]:
    """Make a fused copy for each adapter's file, on the UNet's device; UNets by adapter.

    Does it before anything else is done to the UNet: layers that were joined or compiled take no LoRA. One that
    does not fit is left out, with a log line that says why.
    """
    fused: dict[str, UNet2DConditionModel] = {}
    for adapter, file in files.items():
        try:
            _require_room(unet)
            fused[adapter] = fuse(unet, file)
        except CheckpointUnavailable as error:
            _logger.warning("the adapter %s is left out: %s", adapter, error)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            _logger.warning("the adapter %s is left out: another UNet does not fit the device's memory", adapter)
    return fused


@torch.no_grad()
def fuse(unet: UNet2DConditionModel, file: Path) -> UNet2DConditionModel:
    """Copy a UNet and add a LoRA to the copy's weights: W + alpha / rank * up @ down (Hu et al. 2021, section 4.1).

    Reads the names of kohya's trainer, which the LCM-LoRAs have: `lora_unet_mid_block_resnets_0_conv1.lora_up.weight`.
    We add it ourselves: diffusers 0.42 over peft misses the `alpha` of attention layers where a file has unlike ones.

    Raises CheckpointUnavailable if the file is no such LoRA of this UNet, or also one of the text encoders, which are
    shared.
    """
    try:
        tensors = cast("dict[str, torch.Tensor]", cast("Any", safetensors_torch).load_file(file))
        fused = copy.deepcopy(unet)
        modules = cast("dict[str, Any]", dict(cast("Any", fused).named_modules()))
        layers = {f"lora_unet_{name.replace('.', '_')}": layer for name, layer in modules.items()}
        for name, lora in _by_layer(tensors, layers).items():
            weight = cast("torch.Tensor", layers[name].weight)
            delta = _delta_of(lora, weight.device).reshape(weight.shape)
            weight.copy_(weight.float() + delta)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        raise CheckpointUnavailable(f"{file} is no LoRA that can be fused: {error}") from error
    return fused


def _by_layer(tensors: Mapping[str, torch.Tensor], layers: Collection[str]) -> dict[str, dict[str, torch.Tensor]]:
    """Sort a file's tensors by layer; within it, they are `lora_up.weight`, `lora_down.weight` and maybe `alpha`.

    Raises ValueError where anything is left over.
    """
    loras: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        layer, _, part = key.partition(".")
        if layer not in layers or part not in {"lora_up.weight", "lora_down.weight", "alpha"}:
            raise ValueError(f"nothing in this UNet is meant by its {key}")
        loras.setdefault(layer, {})[part] = tensor
    if not loras:
        raise ValueError("it is empty")
    return loras


def _delta_of(lora: Mapping[str, torch.Tensor], device: torch.device) -> torch.Tensor:
    """(outputs, inputs times the kernel's pixels), float32: what is added to a layer's weight."""
    up = lora["lora_up.weight"].to(device, torch.float32)
    down = lora["lora_down.weight"].to(device, torch.float32)
    rank = down.shape[0]
    alpha = float(lora["alpha"]) if "alpha" in lora else float(rank)
    return alpha / rank * (up.reshape(-1, rank) @ down.reshape(rank, -1))


def _require_room(unet: UNet2DConditionModel) -> None:
    device = cast("torch.device", cast("Any", unet).device)
    if device.type != "cuda":
        return
    needed = sum(each.numel() * each.element_size() for each in cast("torch.nn.Module", unet).parameters())
    free, _ = torch.cuda.mem_get_info(device)
    if free < needed + ROOM_TO_DRAW:
        raise CheckpointUnavailable(
            f"another UNet needs {needed / 2**30:.1f} GiB and {ROOM_TO_DRAW / 2**30:.0f} more to draw, "
            f"and {free / 2**30:.1f} are free"
        )
