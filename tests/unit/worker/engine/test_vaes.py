from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from shared.errors import CheckpointUnavailable
from shared.tuning import Tuning, VaePrecision
from tests.servers import free_port
from tests.tiny_checkpoint import make_tiny_checkpoint
from tests.unit.worker.engine.drawing import CPU, PARAMS, draw
from worker.engine.engine import Engine
from worker.engine.model import Model, load_model
from worker.engine.vaes import FP16_FIX, choose_vae, fetch_vae, with_vae

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def vae_folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint's VAE by itself, said to be safe in fp16."""
    folder = shutil.copytree(tiny_checkpoint / "vae", tmp_path / "my-vae")
    (folder / "diffusion_pytorch_model.fp16.safetensors").rename(folder / WEIGHTS)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "force_upcast": False}))
    return folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nothing listens; the hub's own client finds that out."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free_port()}")


def test_the_fp16_fix_has_a_pinned_commit_and_others_need_one() -> None:
    assert str(choose_vae(FP16_FIX)) == f"{FP16_FIX}@207b116dae70ace3637169f1ddd2434b91b3a8cd"
    assert str(choose_vae(f"some/vae@{COMMIT}")) == f"some/vae@{COMMIT}"


@pytest.mark.parametrize("setting", ["some/vae", "some/vae@main", "some/vae@0123", "", "/no/such/folder", "vae.pt"])
def test_what_names_no_vae_for_good_is_refused(setting: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointUnavailable, match="DARKROOM_VAE"):
        choose_vae(setting)


def test_a_folder_is_named_with_its_digest(vae_folder: Path) -> None:
    vae = choose_vae(str(vae_folder))
    assert vae.name == "my-vae"
    assert fetch_vae(vae) == vae_folder
    weights = vae_folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert choose_vae(str(vae_folder)).revision != vae.revision
    weights.unlink()
    with pytest.raises(CheckpointUnavailable, match=WEIGHTS):
        choose_vae(str(vae_folder))


@pytest.mark.usefixtures("no_hub")
def test_a_vae_in_the_cache_is_taken_without_asking_the_hub(vae_folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "models--some--vae" / "snapshots" / COMMIT
    shutil.copytree(vae_folder, kept)
    assert fetch_vae(choose_vae(f"some/vae@{COMMIT}"), tmp_path / "cache") == kept


@pytest.mark.usefixtures("no_hub")
def test_without_the_hub_it_says_what_to_bring(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnavailable, match=f"bring its config.json and {WEIGHTS} into a folder"):
        fetch_vae(choose_vae(FP16_FIX), tmp_path)


def test_another_vae_makes_another_revision(model: Model, vae_folder: Path) -> None:
    vae = choose_vae(str(vae_folder))
    assert with_vae(model.card, None) is model.card
    assert with_vae(model.card, vae).revision == f"{model.card.revision}+{vae.revision}"


def test_the_vae_that_was_named_decodes(tiny_checkpoint: Path, tmp_path: Path, vae_folder: Path, model: Model) -> None:
    same = load_model(tiny_checkpoint, model.card, device=CPU, vae_folder=vae_folder, vae_name="my-vae@1")
    assert same.tuning.vae == "my-vae@1"
    assert np.array_equal(draw(Engine(same), PARAMS), draw(Engine(model), PARAMS))
    half = load_model(tiny_checkpoint, model.card, device=CPU, dtype=torch.float16, vae_folder=vae_folder)
    assert cast("Any", half.vae).dtype is torch.float16  # the checkpoint's own would overflow
    assert half.tuning.vae_precision == "fp16"
    unlike = make_tiny_checkpoint(tmp_path / "unlike", latent_channels=8)
    with pytest.raises(CheckpointUnavailable, match="8 latent channels"):
        load_model(tiny_checkpoint, model.card, device=CPU, vae_folder=_plain(unlike / "vae"))
    (vae_folder / WEIGHTS).write_bytes(b"cut short")
    with pytest.raises(CheckpointUnavailable, match="can't be loaded"):
        load_model(tiny_checkpoint, model.card, device=CPU, vae_folder=vae_folder)


def test_a_vae_in_bf16_draws_nearly_the_same(tiny_checkpoint: Path, model: Model) -> None:
    narrow = load_model(tiny_checkpoint, model.card, device=CPU, tuning=Tuning(vae_precision=VaePrecision.BF16))
    assert cast("Any", narrow.vae).dtype is torch.bfloat16
    assert narrow.tuning.vae_precision == "bf16"
    distance = np.abs(draw(Engine(narrow), PARAMS).astype(int) - draw(Engine(model), PARAMS))
    assert distance.mean() < 1
    assert distance.max() <= 6


def _plain(folder: Path) -> Path:
    (folder / "diffusion_pytorch_model.fp16.safetensors").rename(folder / WEIGHTS)
    return folder
