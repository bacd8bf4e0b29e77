"""Which checkpoint a worker serves, and where its files lie: bundled, in a folder, or on the hub.

Knows names, revisions and files, safetensors only; nothing of torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import huggingface_hub
from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError  # pyright: ignore[reportPrivateImportUsage]

from shared.errors import CheckpointUnavailable
from worker.demo_model.catalog import DEMO_MODEL

SSD_1B: Final = "segmind/SSD-1B"
SSD_1B_REVISION: Final = "60987f37e94cd59c36b1cba832b9f97b57395a10"

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PIPELINE: Final = "StableDiffusionXLPipeline"
HUB_TIMEOUT_S: Final = 10.0
"""For one question to the hub: its client would wait without limit."""
HUB_ERRORS: Final = (HTTPError, OSError)
"""What the hub's client raises when the hub is away, refuses or is not to be asked. A connection that fails
comes as its HTTP library's error, the root of the hub's own ones."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """One checkpoint, named for good: the same `name` and `revision` mean the same weights."""

    name: str
    """Its name in the API: a hub id, or the folder's name."""
    revision: str
    """The hub's commit, or `digest_of` the folder."""
    folder: Path | None
    """Where the files are; None: on the hub."""
    is_demo: bool = False


def choose_source(setting: str, *, cuda: bool, cache_dir: Path | None = None) -> Source:
    """Read the model setting: `auto`, `demo`, a folder, or a hub id with an optional `@revision`.

    `auto` is SSD-1B where CUDA is available, else the demo model. A hub id without a commit is
    asked of the hub, or of the cache when the hub does not answer.

    Raises CheckpointUnavailable if there is no such folder, or the hub can't say the commit.
    """
    if setting == "auto":
        setting = SSD_1B if cuda else "demo"
    if setting == "demo":
        return Source(DEMO_MODEL.name, digest_of(DEMO_MODEL.folder), DEMO_MODEL.folder, is_demo=True)
    folder = Path(setting).expanduser()
    if setting and folder.is_dir():
        return Source(folder.resolve().name, digest_of(folder), folder.resolve())
    found = _HUB_ID.fullmatch(setting)
    if found is None or setting.startswith((".", "~")):
        raise CheckpointUnavailable(
            f"DARKROOM_MODEL is {setting!r}: no such folder, and not a hub id (owner/name) either. "
            "Set it to 'auto', 'demo', a hub id or a folder in the layout of diffusers."
        )
    repo, revision = found["repo"], found["revision"]
    if revision is None and repo == SSD_1B:
        revision = SSD_1B_REVISION
    if revision is None or not _COMMIT.fullmatch(revision):
        revision = _commit_of(repo, revision or "main", cache_dir)
    return Source(repo, revision, None)


def fetch(source: Source, cache_dir: Path | None = None) -> Path:
    """Bring the files here if they aren't yet; the folder that holds them.

    From the hub come only the parts that the pipeline loads, in fp16 where all have it: 4.5 GB of
    SSD-1B's 26.8. They stay in `cache_dir` (None: the Hugging Face cache) for the next start, which
    then asks nobody. Shows a progress bar.

    Raises CheckpointUnavailable with what to do, if a file is missing or the hub doesn't answer.
    """
    if source.folder is not None:
        missing = missing_files(source.folder)
        if missing:
            raise CheckpointUnavailable(
                f"The folder {source.folder} is no complete checkpoint: {', '.join(missing)}. "
                "Point DARKROOM_MODEL at a folder in the layout of diffusers, with safetensors weights."
            )
        return source.folder
    kept = _kept(source, cache_dir)
    if kept is not None and not missing_files(kept):
        return kept
    try:
        listed = HfApi().model_info(source.name, revision=source.revision, timeout=HUB_TIMEOUT_S).siblings or []
        wanted = wanted_files([file.rfilename for file in listed])
        _logger.info("Downloading %s at %s: %d files", source.name, source.revision, len(wanted))
        folder = _snapshot(source, cache_dir, allow_patterns=wanted)
    except HUB_ERRORS as error:
        raise CheckpointUnavailable(_how_to_get(source.name, error)) from error
    missing = missing_files(folder)
    if missing:
        raise CheckpointUnavailable(f"{source.name} can't be served: {', '.join(missing)}.")
    return folder


def notes_folder(cache_dir: Path | None) -> Path:
    """Tell where to keep what was measured of models: beside them. It need not be there yet."""
    return (cache_dir or Path(huggingface_hub.constants.HF_HUB_CACHE)) / "darkroom"


def wanted_files(names: Iterable[str]) -> list[str]:
    """Choose from a repository's files what the pipeline loads: JSON, vocabularies, one set of weights.

    fp16 variants where every part has one, else the plain files. No pickles, no single-file copies,
    no other formats.
    """
    inside = [name for name in names if name.count("/") == 1]
    weights = [name for name in inside if name.endswith(".safetensors")]
    half = [name for name in weights if ".fp16." in name]
    plain = [name for name in weights if not re.search(r"\.(fp16|fp32|bf16|non_ema)[.-]", name)]
    parts = {name.split("/")[0] for name in plain + half}
    chosen = half if {name.split("/")[0] for name in half} == parts else plain
    texts = [name for name in inside if name.endswith((".json", ".txt"))]
    return sorted(["model_index.json", *texts, *chosen])


def missing_files(folder: Path) -> list[str]:
    """Say what keeps `folder` from being loaded, one line each; empty: nothing."""
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        return ["model_index.json is missing"]
    index = _read_json(index_file)
    if index.get("_class_name") != _PIPELINE:
        return [f"model_index.json names a {index.get('_class_name')}, and only a {_PIPELINE} can be served"]
    parts = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
    return [f"{part}: {problem}" for part in parts if (problem := _problem_of(folder / part))]


def has_fp16_variant(folder: Path) -> bool:
    """Tell whether the weights are named as fp16 variants (`*.fp16.safetensors`)."""
    return any((folder / "unet").glob("*.fp16*.safetensors"))


def digest_of(folder: Path) -> str:
    """Fingerprint a folder's weights and configuration: 40 hexadecimal digits.

    Reads sizes and at most 64 blocks of 64 KiB from each file, evenly spread, so that gigabytes
    take milliseconds. Other weights differ in nearly every block.
    """
    digest = hashlib.sha256()
    for file in sorted(_loaded_files(folder)):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()} {size}\n".encode())
        with file.open("rb") as opened:
            for offset in range(0, size, max(_BLOCK, size // 64)):
                opened.seek(offset)
                digest.update(opened.read(_BLOCK))
    return digest.hexdigest()[:40]


_BLOCK: Final = 64 * 1024


def _loaded_files(folder: Path) -> Iterator[Path]:
    for pattern in ("model_index.json", "*/*.json", "*/*.txt", "*/*.safetensors"):
        yield from folder.glob(pattern)


def _problem_of(part: Path) -> str | None:
    if part.name == "scheduler":
        return None if (part / "scheduler_config.json").is_file() else "scheduler_config.json is missing"
    if part.name.startswith("tokenizer"):
        classic = (part / "vocab.json").is_file() and (part / "merges.txt").is_file()
        return None if classic or (part / "tokenizer.json").is_file() else "vocab.json and merges.txt are missing"
    if not (part / "config.json").is_file():
        return "config.json is missing"
    for shards in part.glob("*.safetensors.index*.json"):
        names = set(cast("dict[str, str]", _read_json(shards)["weight_map"]).values())
        absent = sorted(name for name in names if not (part / name).is_file())
        if absent:
            return f"{', '.join(absent)} missing"
    return None if any(part.glob("*.safetensors")) else "no .safetensors weights (pickles are not read)"


def _kept(source: Source, cache_dir: Path | None) -> Path | None:
    try:
        return _snapshot(source, cache_dir, local_files_only=True)
    except LocalEntryNotFoundError:
        return None


def _snapshot(source: Source, cache_dir: Path | None, **options: object) -> Path:
    download = cast("Any", huggingface_hub).snapshot_download
    return Path(download(source.name, revision=source.revision, cache_dir=cache_dir, **options))


def _commit_of(repo: str, revision: str, cache_dir: Path | None) -> str:
    try:
        commit = HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT_S).sha
    except HUB_ERRORS as error:
        kept = _kept(Source(repo, revision, None), cache_dir)
        if kept is None:
            raise CheckpointUnavailable(_how_to_get(repo, error)) from error
        return kept.name
    if commit is None:
        raise CheckpointUnavailable(f"The hub names no commit for {repo}@{revision}. Name one: {repo}@<commit>.")
    return commit


def _how_to_get(repo: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()
    return (
        f"{repo} is neither in the model cache nor to be had from the hub ({type(error).__name__}: "
        f"{reason[0] if reason else 'no reason given'}). "
        "Without a way to huggingface.co: fetch it on another machine with "
        f"`hf download {repo} --include '*.json' '*.txt' '*.fp16.safetensors' --local-dir <folder>`, bring the "
        "folder here and set DARKROOM_MODEL to it; or set DARKROOM_MODEL=demo for the bundled demo model. "
        "With one: check HF_HUB_OFFLINE, proxies and, for a gated model, HF_TOKEN."
    )


def _read_json(file: Path) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(file.read_text("utf-8")))
