from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from shared.errors import CheckpointUnavailable
from shared.generation import ModelCard
from tests.unit.worker.engine.drawing import CPU
from worker.engine.model import Model, load_model

CONFIG = Path(__file__).parents[3] / "ssd_1b_config"


def test_ssd_1bs_unet_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        unet = cast("Any", UNet2DConditionModel).from_config(json.loads((CONFIG / "unet" / "config.json").read_text()))
    assert sum(parameter.numel() for parameter in unet.parameters()) == 1_331_334_404


def test_the_parts_are_loaded_in_one_type_on_one_device(model: Model) -> None:
    assert model.device == torch.device("cpu")
    for part in (model.unet, model.vae, model.text_encoder, model.text_encoder_2):
        module = cast("torch.nn.Module", part)
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
        assert not module.training
    assert model.latent_channels == 4
    assert model.vae_scale_factor == 8
    assert model.force_zeros_for_empty_prompt


@pytest.mark.parametrize(("force_upcast", "dtype"), [(True, torch.float32), (False, torch.float16)])
def test_a_vae_that_overflows_in_fp16_is_loaded_wider(
    tiny_checkpoint: Path, tmp_path: Path, model: Model, *, force_upcast: bool, dtype: torch.dtype
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    file = folder / "vae" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "force_upcast": force_upcast}))
    loaded = load_model(folder, model.card, dtype=torch.float16, device=CPU)
    assert cast("Any", loaded.vae).dtype is dtype
    assert cast("Any", loaded.unet).dtype is torch.float16


def test_plain_weights_load_too(tiny_checkpoint: Path, tmp_path: Path, model: Model) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    for weights in folder.glob("*/*.fp16.safetensors"):
        weights.rename(weights.with_name(weights.name.replace(".fp16", "")))
    loaded = load_model(folder, model.card, device=CPU)
    first, second = (next(cast("torch.nn.Module", each.unet).parameters()) for each in (loaded, model))
    assert torch.equal(first, second)


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder_2/model"])
def test_a_damaged_file_is_refused(tiny_checkpoint: Path, tmp_path: Path, model: Model, part: str) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    (folder / f"{part}.fp16.safetensors").write_bytes(b"cut short")
    with pytest.raises(CheckpointUnavailable, match="can't be loaded"):
        load_model(folder, model.card, device=CPU)


def test_distilled_guidance_is_refused(tiny_checkpoint: Path, tmp_path: Path, card: ModelCard) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "copy")
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "time_cond_proj_dim": 16}))
    with pytest.raises(CheckpointUnavailable, match="distilled"):
        load_model(folder, card, device=CPU)


@pytest.fixture
def card(model: Model) -> ModelCard:
    return model.card
