"""The parts of a checkpoint, loaded and placed; nothing here runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from shared.errors import CheckpointUnavailable, ModelError
from shared.generation import ModelCard
from shared.tuning import Tuning, TuningInEffect, VaePrecision
from worker.engine.adapters import fuse_all
from worker.engine.presets import offering
from worker.engine.schedulers import SchedulerConfig
from worker.engine.source import has_fp16_variant
from worker.engine.tuning import tune, vae_dtype


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Everything that drawing needs, on one device.

    Its parts keep state, so each belongs to one thread: UNets, text encoders and tokenizers to the engine's, the VAE to
    the decoder's, once the engine is warm.
    """

    card: ModelCard
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer
    tokenizer_2: CLIPTokenizer
    scheduler_config: SchedulerConfig
    force_zeros_for_empty_prompt: bool
    """An absent negative prompt is zeros rather than the encoding of an empty text."""
    device: torch.device
    dtype: torch.dtype
    """Of the UNet and the encoders; the VAE's may be wider."""
    tuning: TuningInEffect
    """How its networks compute."""
    fused: Mapping[str, UNet2DConditionModel] = field(default_factory=dict[str, UNet2DConditionModel])
    """The UNet with a LoRA fused in, by adapter; `unet` is the plain one."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters that it can draw with."""
        return tuple(self.fused)

    @property
    def unets(self) -> tuple[UNet2DConditionModel, ...]:
        """All of its UNets, the plain one first."""
        return (self.unet, *self.fused.values())

    def unet_of(self, adapter: str | None) -> UNet2DConditionModel:
        """Find the UNet with this adapter; None: the plain one. Raises ModelError if it isn't loaded."""
        unet = self.unet if adapter is None else self.fused.get(adapter)
        if unet is None:
            raise ModelError(
                f"This worker has not loaded the adapter {adapter}; its log says why. "
                "All workers of a model need the same DARKROOM_PRESETS, and room for the adapters."
            )
        return unet

    @property
    def latent_channels(self) -> int:
        """Channels of the latents: 4 for SDXL's VAE."""
        return int(cast("Any", self.unet.config).in_channels)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels a side of one latent: 8 for SDXL's VAE."""
        return 2 ** (len(cast("Any", self.vae.config).block_out_channels) - 1)


def best_device() -> torch.device:
    """Choose the first CUDA device if there is one, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """Choose the arithmetic of UNet and encoders: fp16 on CUDA, fp32 on a CPU.

    bf16 is faster by a quarter to a half in the demo model's networks on a processor with AMX, but a
    whole picture takes about the same time (0.64 s against 0.63 s), moves by up to 21 of 255, and
    would differ between processors with and without it. So bf16 has to be asked for.
    """
    return torch.float16 if device.type == "cuda" else torch.float32


def load_model(
    folder: Path,
    card: ModelCard,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    adapters: Mapping[str, Path] | None = None,
    tuning: Tuning | None = None,
    vae_folder: Path | None = None,
    vae_name: str | None = None,
) -> Model:
    """Load a checkpoint in the layout of diffusers onto `device` (None: `best_device`), safetensors only.

    `adapters` are LoRA files by the names that the card's presets have for them. The model's card offers only the
    presets whose adapters could be loaded.

    The VAE is the checkpoint's own, or the one in `vae_folder`, which the model's report calls `vae_name`. It runs in
    float32 where it would overflow in fp16 (`force_upcast`, as the stock pipeline does). `tuning` None: what is good
    on the device; on a CPU that is the library's own arithmetic.

    Raises CheckpointUnavailable if the folder can't be read as an SDXL pipeline, or the VAE as one of its kind.
    """
    device = device or best_device()
    dtype = dtype or best_dtype(device)
    tuning = tuning or Tuning()
    try:
        replaced = {} if vae_folder is None else {"vae": _load_vae(vae_folder, dtype, tuning.vae_precision, device)}
        pipeline = cast("Any", StableDiffusionXLPipeline).from_pretrained(
            folder,
            variant="fp16" if has_fp16_variant(folder) else None,
            use_safetensors=True,
            local_files_only=True,
            add_watermarker=False,
            dtype={"default": dtype, "vae": _vae_dtype(folder / "vae", dtype, tuning.vae_precision, device)},
            **replaced,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointUnavailable(f"{folder} can't be loaded: {error}") from error
    if pipeline.unet.config.time_cond_proj_dim is not None:
        raise CheckpointUnavailable(
            f"{folder} holds a UNet with its guidance distilled into it (time_cond_proj_dim), which isn't served yet."
        )
    if pipeline.vae.config.latent_channels != pipeline.unet.config.in_channels:
        raise CheckpointUnavailable(
            f"The VAE in {vae_folder or folder} has {pipeline.vae.config.latent_channels} latent channels, and the "
            f"UNet in {folder} draws {pipeline.unet.config.in_channels}: they don't belong together."
        )
    try:
        pipeline.to(device)
    except torch.OutOfMemoryError as error:
        raise CheckpointUnavailable(f"{folder} does not fit the memory of {device}: {error}") from error
    fused = fuse_all(pipeline.unet, adapters or {})
    sizes = [ratio.size for ratio in card.aspect_ratios]
    in_effect = tune((pipeline.unet, *fused.values()), pipeline.vae, tuning, sizes=sizes, vae_name=vae_name)
    return Model(
        card=offering(card, adapters=fused),
        unet=pipeline.unet,
        vae=pipeline.vae,
        text_encoder=pipeline.text_encoder,
        text_encoder_2=pipeline.text_encoder_2,
        tokenizer=pipeline.tokenizer,
        tokenizer_2=pipeline.tokenizer_2,
        scheduler_config=dict(pipeline.scheduler.config),
        force_zeros_for_empty_prompt=bool(pipeline.config.force_zeros_for_empty_prompt),
        device=device,
        dtype=dtype,
        tuning=in_effect,
        fused=fused,
    )


def _load_vae(folder: Path, dtype: torch.dtype, wanted: VaePrecision, device: torch.device) -> AutoencoderKL:
    return cast("Any", AutoencoderKL).from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=_vae_dtype(folder, dtype, wanted, device)
    )


def _vae_dtype(folder: Path, dtype: torch.dtype, wanted: VaePrecision, device: torch.device) -> torch.dtype:
    config = cast("dict[str, Any]", json.loads((folder / "config.json").read_text("utf-8")))
    return vae_dtype(config, dtype, wanted, device)
