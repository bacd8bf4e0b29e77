from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import pytest

from shared.errors import CheckpointUnavailable
from tests.servers import free_port
from worker.engine.card import card_of
from worker.engine.loras import HUB_FILE, Lora, fetch_loras, lora_of
from worker.engine.presets import SSD_1B_LCM
from worker.engine.source import choose_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nothing listens; the hub's own client finds that out."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "a.safetensors").write_bytes(b"weights")
    return tmp_path


def test_a_file_of_the_folder_is_named_with_its_digest(folder: Path) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()[:16]
    lora = lora_of("loras/a.safetensors", folder)
    assert lora == Lora(f"loras/a.safetensors@{digest}", file=folder / "loras" / "a.safetensors")
    assert lora_of(lora.name, folder) == lora


def test_a_lora_on_the_hub_is_named_with_its_commit() -> None:
    assert lora_of(f"some/lora@{COMMIT}", None) == Lora(f"some/lora@{COMMIT}", "some/lora", COMMIT)
    assert lora_of(SSD_1B_LCM, Path()).repo == "latent-consistency/lcm-lora-ssd-1b"


@pytest.mark.parametrize(
    "adapter",
    [
        "some/lora",
        "some/lora@main",
        "",
        "loras/b.safetensors",
        "../a.safetensors",
        "loras/../../a.safetensors",
        "/etc/a.safetensors",
        "loras/a.safetensors@0123456789abcdef",
    ],
)
def test_other_names_are_refused(folder: Path, adapter: str) -> None:
    (folder.parent / "a.safetensors").write_bytes(b"outside")
    with pytest.raises(CheckpointUnavailable):
        lora_of(adapter, folder)


@pytest.mark.usefixtures("no_hub")
def test_without_the_hub_an_adapter_is_left_out_and_the_log_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = card_of(choose_source("auto", cuda=True))
    with caplog.at_level(logging.WARNING):
        assert fetch_loras(card, tmp_path, tmp_path / "cache") == {}
    for word in (SSD_1B_LCM, "DARKROOM_PRESETS", HUB_FILE):
        assert word in caplog.text


@pytest.mark.usefixtures("no_hub")
def test_what_is_in_the_cache_needs_no_hub(folder: Path) -> None:
    repo, commit = SSD_1B_LCM.split("@")
    kept = folder / "cache" / f"models--{repo.replace('/', '--')}" / "snapshots" / commit / HUB_FILE
    kept.parent.mkdir(parents=True)
    shutil.copy(folder / "loras" / "a.safetensors", kept)
    card = card_of(choose_source("auto", cuda=True))
    assert fetch_loras(card, folder, folder / "cache") == {SSD_1B_LCM: kept}
