from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import CheckpointUnavailable
from tests.servers import free_port
from worker.demo_model.catalog import DEMO_MODEL
from worker.engine.source import (
    SSD_1B,
    SSD_1B_REVISION,
    Source,
    choose_source,
    digest_of,
    fetch,
    has_fp16_variant,
    missing_files,
    wanted_files,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"

SSD_1B_FILES = [
    ".gitattributes",
    "README.md",
    "SSD-1B-A1111.safetensors",
    "SSD-1B.safetensors",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.fp16.safetensors",
    "text_encoder_2/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/model.onnx",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
]


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nothing listens; the hub's own client finds that out."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free_port()}")


def keep_in_cache(checkpoint: Path, cache_dir: Path, repo: str, *, branch: str = "main") -> Path:
    """Lay a checkpoint down as the hub's client keeps it."""
    root = cache_dir / f"models--{repo.replace('/', '--')}"
    shutil.copytree(checkpoint, root / "snapshots" / COMMIT)
    (root / "refs").mkdir()
    (root / "refs" / branch).write_text(COMMIT)
    return root / "snapshots" / COMMIT


def test_auto_is_ssd_1b_at_its_pinned_commit_with_cuda_and_the_demo_model_without() -> None:
    assert choose_source("auto", cuda=True) == Source(SSD_1B, SSD_1B_REVISION, None)
    demo = choose_source("auto", cuda=False)
    assert demo == choose_source("demo", cuda=True)
    assert demo.is_demo
    assert demo.name == DEMO_MODEL.name
    assert demo.folder == DEMO_MODEL.folder


def test_a_folder_is_named_after_itself(tiny_checkpoint: Path) -> None:
    source = choose_source(str(tiny_checkpoint), cuda=True)
    assert source == Source("tiny", digest_of(tiny_checkpoint), tiny_checkpoint)
    assert fetch(source) == tiny_checkpoint


def test_a_hub_id_may_name_its_commit() -> None:
    assert choose_source(f"some/model@{COMMIT}", cuda=False) == Source("some/model", COMMIT, None)
    assert choose_source(SSD_1B, cuda=False).revision == SSD_1B_REVISION


@pytest.mark.parametrize("setting", ["", "ssd-1b", "./nowhere", "/nowhere/at/all", "~nobody/x", "a/b/c"])
def test_what_is_neither_folder_nor_hub_id_is_refused_with_the_choices(setting: str) -> None:
    with pytest.raises(CheckpointUnavailable, match="DARKROOM_MODEL"):
        choose_source(setting, cuda=False)


@pytest.mark.usefixtures("no_hub")
def test_without_the_hub_and_the_files_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnavailable) as caught:
        fetch(choose_source(SSD_1B, cuda=True), tmp_path)
    for advice in ("hf download segmind/SSD-1B", "DARKROOM_MODEL=demo", "HF_HUB_OFFLINE"):
        assert advice in str(caught.value)
    with pytest.raises(CheckpointUnavailable, match="hf download"):
        choose_source("some/model", cuda=False, cache_dir=tmp_path)


@pytest.mark.usefixtures("no_hub")
def test_what_is_in_the_cache_needs_no_hub(tiny_checkpoint: Path, tmp_path: Path) -> None:
    kept = keep_in_cache(tiny_checkpoint, tmp_path, "some/model")
    source = choose_source("some/model", cuda=False, cache_dir=tmp_path)
    assert source == Source("some/model", COMMIT, None)
    assert fetch(source, tmp_path) == kept


def test_a_hub_that_never_answers_counts_as_away(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_cache(tiny_checkpoint, tmp_path, "some/model")
    monkeypatch.setattr("worker.engine.source.HUB_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system takes the connection, nobody reads it
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert choose_source("some/model", cuda=False, cache_dir=tmp_path).revision == COMMIT
        with pytest.raises(CheckpointUnavailable, match="hf download"):
            fetch(Source(SSD_1B, SSD_1B_REVISION, None), tmp_path)


@pytest.mark.usefixtures("no_hub")
def test_half_a_download_is_not_taken_for_a_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    kept = keep_in_cache(tiny_checkpoint, tmp_path, "some/model")
    (kept / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    with pytest.raises(CheckpointUnavailable, match="hf download"):
        fetch(Source("some/model", COMMIT, None), tmp_path)


def test_a_download_takes_the_fp16_parts_and_nothing_else() -> None:
    wanted = wanted_files(SSD_1B_FILES)
    assert [name for name in wanted if name.endswith(".safetensors")] == [
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert {name for name in SSD_1B_FILES if name.count("/") == 1 and name.endswith((".json", ".txt"))} < set(wanted)
    assert not any(name.endswith((".bin", ".onnx", ".md")) for name in wanted)


def test_a_download_takes_the_plain_parts_where_one_has_no_fp16() -> None:
    files = [name for name in SSD_1B_FILES if name != "vae/diffusion_pytorch_model.fp16.safetensors"]
    weights = [name for name in wanted_files(files) if name.endswith(".safetensors")]
    assert len(weights) == 4
    assert not any("fp16" in name for name in weights)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("model_index.json", "model_index.json is missing"),
        ("unet/config.json", "unet: config.json"),
        ("vae/diffusion_pytorch_model.fp16.safetensors", "vae: no .safetensors weights"),
        ("tokenizer_2/merges.txt", "tokenizer_2: vocab.json and merges.txt"),
        ("scheduler/scheduler_config.json", "scheduler: scheduler_config.json"),
    ],
)
def test_a_folder_with_a_file_missing_is_refused_by_its_name(checkpoint: Path, file: str, says: str) -> None:
    (checkpoint / file).unlink()
    with pytest.raises(CheckpointUnavailable, match=says):
        fetch(choose_source(str(checkpoint), cuda=False))


def test_pickles_do_not_count_as_weights(checkpoint: Path) -> None:
    (checkpoint / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    (checkpoint / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    assert missing_files(checkpoint) == ["unet: no .safetensors weights (pickles are not read)"]


def test_a_missing_shard_is_named(checkpoint: Path) -> None:
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (checkpoint / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text(json.dumps(index))
    assert missing_files(checkpoint) == ["unet: one.safetensors, two.safetensors missing"]


def test_another_kind_of_pipeline_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    assert "FluxPipeline" in missing_files(checkpoint)[0]


def test_the_digest_tells_weights_apart_and_nothing_else(checkpoint: Path, tiny_checkpoint: Path) -> None:
    digest = digest_of(checkpoint)
    assert digest == digest_of(tiny_checkpoint)
    (checkpoint / "README.md").write_text("words")
    assert digest_of(checkpoint) == digest
    weights = checkpoint / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert digest_of(checkpoint) != digest


def test_the_variant_is_read_from_the_names(checkpoint: Path) -> None:
    assert has_fp16_variant(checkpoint)
    weights = checkpoint / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.safetensors"))
    assert not has_fp16_variant(checkpoint)


def test_a_card_comes_without_torch() -> None:
    program = (
        "import sys; from worker.engine.source import choose_source; from worker.engine.card import card_of; "
        "card_of(choose_source('auto', cuda=True)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
