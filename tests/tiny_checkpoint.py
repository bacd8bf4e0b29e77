"""A checkpoint of SSD-1B's class and file layout with tiny random weights, made in about a second.

It loads through the same code as the real one and draws 64x64 pixels in milliseconds a step:

    from tests.tiny_checkpoint import tiny_checkpoint     # in a conftest.py: a session's fixture
    DARKROOM_MODEL=<tiny_checkpoint> ...                  # for a worker process

What it draws is noise, but the same noise for the same parameters and seed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import torch as safetensors_torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

MODEL_ID: Final = "darkroom/tiny"

_START, _END = "<|startoftext|>", "<|endoftext|>"
_TEXT_WIDTH: Final = 32
_TIME_WIDTH: Final = 8

MODEL_INDEX: Final[dict[str, Any]] = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0",
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

_SCHEDULER: Final[dict[str, Any]] = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}

_CARD: Final[dict[str, Any]] = {
    "id": MODEL_ID,
    "title": "Tiny",
    "description": "Random weights in SSD-1B's layout, for tests.",
    "aspect_ratios": [
        {"name": "Square 1:1", "size": {"width": 64, "height": 64}},
        {"name": "Landscape 3:2", "size": {"width": 96, "height": 64}},
        {"name": "Portrait 2:3", "size": {"width": 64, "height": 96}},
    ],
    "custom_sizes": {"min_side": 32, "max_side": 128, "multiple_of": 8, "max_pixels": 128 * 128},
    "schedulers": ["euler", "euler_a", "dpmpp_2m_karras", "unipc", "ddim", "lcm"],
    "defaults": {
        "size": {"width": 64, "height": 64},
        "num_inference_steps": 4,
        "guidance_scale": 5.0,
        "scheduler": "euler",
        "negative_prompt": "ugly",
    },
    "example_prompts": ["a cat", "a dog"],
}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `DARKROOM_MODEL`."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


def make_tiny_checkpoint(folder: Path, *, prediction_type: str = "epsilon", latent_channels: int = 4) -> Path:
    """Write the checkpoint: fp16 variants as safetensors, vocabularies as vocab.json and merges.txt."""
    random = cast("Any", torch.random)
    with random.fork_rng(devices=[]):
        random.manual_seed(0)
        _save(_unet(latent_channels), folder / "unet")
        _save(_vae(latent_channels), folder / "vae")
        _save_text_encoder(CLIPTextModel(_text_config()), folder / "text_encoder")
        _save_text_encoder(CLIPTextModelWithProjection(_text_config()), folder / "text_encoder_2")
    write_tokenizer(folder / "tokenizer", pad_token=_END)
    write_tokenizer(folder / "tokenizer_2", pad_token="!")
    write_json(folder / "scheduler" / "scheduler_config.json", {**_SCHEDULER, "prediction_type": prediction_type})
    write_json(folder / "model_index.json", MODEL_INDEX)
    write_json(folder / "darkroom.json", _CARD)
    return folder


def write_tokenizer(folder: Path, *, pad_token: str) -> None:
    """Write a CLIP tokenizer without merges: each byte is a token, so prompts run long soon.

    The order is the real vocabulary's: `!` is 0, the two markers come last.
    """
    letters = _byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), _START, _END]
    write_json(folder / "vocab.json", {word: number for number, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    special = {"bos_token": _START, "eos_token": _END, "pad_token": pad_token, "unk_token": _END}
    write_json(folder / "special_tokens_map.json", special)
    config = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    write_json(folder / "tokenizer_config.json", config)


def write_json(file: Path, content: object) -> None:
    """Write `content` as JSON, making the folder if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False), "utf-8")


def _save(model: torch.nn.Module, folder: Path) -> None:
    cast("Any", model.half()).save_pretrained(folder, variant="fp16", safe_serialization=True)


def _save_text_encoder(model: torch.nn.Module, folder: Path) -> None:
    """Save with transformers 4's names, which the hub's files have: all under `text_model`, but the projection."""
    state = {
        f"text_model.{name.removeprefix('text_model.')}": value.half() for name, value in model.state_dict().items()
    }
    if "text_model.text_projection.weight" in state:
        state["text_projection.weight"] = state.pop("text_model.text_projection.weight")
    write_json(folder / "config.json", cast("Any", model).config.to_dict())
    cast("Any", safetensors_torch).save_file(state, folder / "model.fp16.safetensors", metadata={"format": "pt"})


def _unet(latent_channels: int) -> UNet2DConditionModel:
    return cast("Any", UNet2DConditionModel)(
        sample_size=8,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2D",
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 1),
        reverse_transformer_layers_per_block=[[1, 2], 1],
        cross_attention_dim=2 * _TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_WIDTH,
        projection_class_embeddings_input_dim=_TEXT_WIDTH + 6 * _TIME_WIDTH,
    )


def _vae(latent_channels: int) -> AutoencoderKL:
    return cast("Any", AutoencoderKL)(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.13025,
        force_upcast=True,
    )


def _text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=_TEXT_WIDTH,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )


def _byte_letters() -> list[str]:
    """256 letters, one a byte, as GPT-2's `bytes_to_unicode` gives them: printable ones stand for themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + at) for at in range(len(others))]
