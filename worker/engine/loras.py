"""The LoRAs that a card's presets name, and where their files lie. Knows nothing of torch.

An adapter's name says its revision too, so that with model, parameters and seed it fixes the picture:

    latent-consistency/lcm-lora-ssd-1b@6c01ee5a9a5dbc4eb3433cd02c4e8ab213259517   on the hub, at a commit
    loras/lcm.safetensors@1f0c3a5e7b9d2468                                        in the folder, with its digest

In a `darkroom.json` the digest may be left out: it is found.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import huggingface_hub

from shared.errors import CheckpointUnavailable
from shared.generation import ModelCard
from worker.engine.source import HUB_ERRORS, HUB_TIMEOUT_S

HUB_FILE: Final = "pytorch_lora_weights.safetensors"
"""What diffusers calls the file of a LoRA that it saves (`LORA_WEIGHT_NAME_SAFE`)."""

_ON_HUB: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")
_IN_FOLDER: Final = re.compile(r"(?P<file>[\w./-]+\.safetensors)(@(?P<digest>[0-9a-f]{16}))?")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lora:
    """One LoRA: on the hub, or a file."""

    name: str
    """As a card's presets have it, revision and all."""
    repo: str | None = None
    commit: str | None = None
    file: Path | None = None


def lora_of(adapter: str, folder: Path | None) -> Lora:
    """Read an adapter's name; files are looked for in the checkpoint's `folder`.

    Raises CheckpointUnavailable if the name is none, or there is no such file.
    """
    local = _IN_FOLDER.fullmatch(adapter)
    if local is not None and folder is not None:
        file = (folder / local["file"]).resolve()
        if not (file.is_relative_to(folder.resolve()) and file.is_file()):
            raise CheckpointUnavailable(f"There is no {local['file']} in {folder}.")
        digest = _digest_of(file)
        if local["digest"] not in {None, digest}:
            raise CheckpointUnavailable(f"{file} is not the file that was meant: its digest is {digest}.")
        return Lora(f"{local['file']}@{digest}", file=file)
    found = _ON_HUB.fullmatch(adapter)
    if found is None:
        raise CheckpointUnavailable(
            f"{adapter!r} names no LoRA: say owner/name@commit (all 40 digits), or a .safetensors file of the folder."
        )
    return Lora(adapter, found["repo"], found["commit"])


def fetch_loras(card: ModelCard, folder: Path | None, cache_dir: Path | None = None) -> dict[str, Path]:
    """Bring the files of a card's adapters here, from the hub if they aren't in the cache; files by adapter.

    One that can't be had is left out, with a log line that says why: the rest can be drawn all the same.
    """
    files: dict[str, Path] = {}
    for adapter in sorted({preset.adapter for preset in card.presets if preset.adapter is not None}):
        try:
            files[adapter] = _fetched(lora_of(adapter, folder), cache_dir)
        except CheckpointUnavailable as error:
            _logger.warning("the adapter %s is left out: %s", adapter, error)
    return files


def _fetched(lora: Lora, cache_dir: Path | None) -> Path:
    if lora.file is not None:
        return lora.file
    download = cast("Any", huggingface_hub).hf_hub_download
    options = {"revision": lora.commit, "cache_dir": cache_dir, "etag_timeout": HUB_TIMEOUT_S}
    try:
        # At a commit, a file in the cache is taken without asking the hub.
        return Path(download(lora.repo, HUB_FILE, **options))
    except HUB_ERRORS as error:
        reason = str(error).strip().splitlines()
        raise CheckpointUnavailable(
            f"it is neither in the model cache nor to be had from the hub ({type(error).__name__}: "
            f"{reason[0] if reason else 'no reason given'}). Without a way to huggingface.co, bring "
            f"{HUB_FILE} of {lora.repo} into the checkpoint's folder and name it in its darkroom.json; "
            "or leave the preset out of DARKROOM_PRESETS."
        ) from error


def _digest_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
