"""Another VAE than the checkpoint's own, as the operator names it, and where its files lie. Needs no torch.

    madebyollin/sdxl-vae-fp16-fix        SDXL's VAE made safe for fp16, at its pinned commit (MIT)
    owner/name@commit                    on the hub, at a commit
    /models/my-vae                       a folder: config.json beside diffusion_pytorch_model.safetensors

It decides the pixels, so its name goes into the model's revision.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import huggingface_hub

from shared.errors import CheckpointUnavailable
from shared.generation import ModelCard
from worker.engine.source import HUB_ERRORS, HUB_TIMEOUT_S

FP16_FIX: Final = "madebyollin/sdxl-vae-fp16-fix"
_PINNED: Final = {FP16_FIX: "207b116dae70ace3637169f1ddd2434b91b3a8cd"}

_CONFIG: Final = "config.json"
_WEIGHTS: Final = "diffusion_pytorch_model.safetensors"
_ON_HUB: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<commit>[0-9a-f]{40}))?")


@dataclass(frozen=True, slots=True)
class Vae:
    """One VAE, named for good: the same name and revision mean the same weights."""

    name: str
    """A hub id, or the folder's name."""
    revision: str
    """The hub's commit, or a digest of the folder's two files."""
    folder: Path | None
    """None: on the hub."""

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}"


def choose_vae(setting: str) -> Vae:
    """Read the VAE setting: a folder, or a hub id with its commit. Asks nobody.

    Raises CheckpointUnavailable if it is neither.
    """
    folder = Path(setting).expanduser()
    if setting and folder.is_dir():
        return Vae(folder.resolve().name, _digest_of(folder), folder.resolve())
    found = _ON_HUB.fullmatch(setting)
    commit = None if found is None else found["commit"] or _PINNED.get(found["repo"])
    if found is None or commit is None:
        raise CheckpointUnavailable(
            f"DARKROOM_VAE is {setting!r}: no such folder, and not a hub id with its commit (owner/name@ and 40 "
            f"digits) either. {FP16_FIX} may be named without."
        )
    return Vae(found["repo"], commit, None)


def fetch_vae(vae: Vae, cache_dir: Path | None = None) -> Path:
    """Bring its two files here if they aren't yet, safetensors only; the folder that holds them.

    Raises CheckpointUnavailable with what to do, if the hub doesn't have them or doesn't answer.
    """
    if vae.folder is not None:
        return vae.folder
    download = cast("Any", huggingface_hub).hf_hub_download
    options = {"revision": vae.revision, "cache_dir": cache_dir, "etag_timeout": HUB_TIMEOUT_S}
    try:
        # At a commit, a file in the cache is taken without asking the hub.
        files = [Path(download(vae.name, file, **options)) for file in (_CONFIG, _WEIGHTS)]
    except HUB_ERRORS as error:
        reason = str(error).strip().splitlines()
        raise CheckpointUnavailable(
            f"The VAE {vae} is neither in the model cache nor to be had from the hub ({type(error).__name__}: "
            f"{reason[0] if reason else 'no reason given'}). Without a way to huggingface.co, bring its {_CONFIG} and "
            f"{_WEIGHTS} into a folder and set DARKROOM_VAE to it; or leave DARKROOM_VAE unset."
        ) from error
    return files[0].parent


def with_vae(card: ModelCard, vae: Vae | None) -> ModelCard:
    """Name the VAE in the card's revision: with another one, the same request gives another picture."""
    return card if vae is None else card.model_copy(update={"revision": f"{card.revision}+{vae.revision}"})


def _digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (_CONFIG, _WEIGHTS):
        file = folder / name
        if not file.is_file():
            raise CheckpointUnavailable(f"The folder {folder} holds no VAE of diffusers: {name} is missing.")
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:40]
