# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""The encoded pictures that the denoiser is trained on.

Owns `<work>/latents/`: scaled latents and, beside them, which places matter most.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.nn import functional
from tqdm import trange

from worker.demo_model.architecture import LATENT_CHANNELS, LATENT_FACTOR, SCALING_FACTOR
from worker.demo_model.autoencoder import latents_of, trained_autoencoder
from worker.demo_model.data import Canvas, open_pictures
from worker.demo_model.fastpath import use_fast_norms
from worker.demo_model.team import Team
from worker.demo_model.vocabulary import PICTURE_SIZES

OBJECT: Final = 1
EDGE: Final = 2
"""Importance of a place on or beside an object, and on or beside its edge."""

_CHUNK: Final = 32
_VISIBLE: Final = 20
"""A channel's distance from the ground, 0 to 255, from which a pixel belongs to an object."""


@dataclass(frozen=True, slots=True)
class LatentSet:
    """All latents of one picture size, (N, 8, h, w) fp16, and their `importance`, (N, h, w).

    Importance is 0 on the plain ground, else `OBJECT` or `EDGE`.
    """

    canvas: Canvas
    latents: NDArray[np.float16]
    importance: NDArray[np.uint8]

    def batch(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Read some latents as fp32, channels last, and their importance."""
        latents = torch.from_numpy(self.latents[indices]).float()
        importance = torch.from_numpy(self.importance[indices])
        return latents.contiguous(memory_format=torch.channels_last), importance


def encode_pictures(team: Team, limit: float, work: Path) -> None:
    """Encode the first `limit` (0 to 1) of the drawn pictures of each size, if not yet done."""
    finished = work / "latents" / "finished"
    if finished.exists():
        return
    autoencoder = trained_autoencoder(work)
    use_fast_norms(autoencoder)
    for canvas in PICTURE_SIZES:
        _encode_size(team, autoencoder, canvas, limit, work)
    _wait(team)
    if team.leads:
        finished.touch()


def _encode_size(team: Team, autoencoder: AutoencoderKL, canvas: Canvas, limit: float, work: Path) -> None:
    pictures = open_pictures(work, canvas)
    count = max(1, int(len(pictures) * limit))
    width, height = (pixels // LATENT_FACTOR for pixels in canvas)
    latent_file, importance_file = _files(work, canvas)
    if team.leads:
        latent_file.parent.mkdir(parents=True, exist_ok=True)
        shape = (count, LATENT_CHANNELS, height, width)
        np.lib.format.open_memmap(latent_file, "w+", dtype=np.float16, shape=shape).flush()
        shape = (count, height, width)
        np.lib.format.open_memmap(importance_file, "w+", dtype=np.uint8, shape=shape).flush()
    _wait(team)
    latents = np.load(latent_file, mmap_mode="r+")
    importance = np.load(importance_file, mmap_mode="r+")
    stride = _CHUNK * team.size
    bar = trange(team.rank * _CHUNK, count, stride, desc=f"encode {canvas}", mininterval=5)
    bar.disable = not team.leads
    for begin in bar:
        chunk = np.array(pictures[begin : min(begin + _CHUNK, count)])
        scaled = latents_of(autoencoder, chunk) * SCALING_FACTOR
        latents[begin : begin + len(chunk)] = scaled.numpy()
        importance[begin : begin + len(chunk)] = importance_of(chunk)
    latents.flush()
    importance.flush()


def importance_of(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark the places of an object and of its edges in (B, H, W, 3) bytes, (B, H / 8, W / 8)."""
    ground = pictures[:, :1, :1].astype(np.int16)
    seen = (np.abs(pictures.astype(np.int16) - ground).max(axis=3) > _VISIBLE).astype(np.float32)
    cover = functional.avg_pool2d(torch.from_numpy(seen)[:, None], LATENT_FACTOR)
    edge = ((cover > 0) & (cover < 1)).float()
    thing = functional.max_pool2d((cover > 0).float(), 3, stride=1, padding=1)
    near_edge = functional.max_pool2d(edge, 3, stride=1, padding=1)
    return torch.maximum(OBJECT * thing, EDGE * near_edge)[:, 0].to(torch.uint8).numpy()


def open_latents(work: Path) -> list[LatentSet]:
    """Open the latents of every picture size."""
    sets: list[LatentSet] = []
    for canvas in PICTURE_SIZES:
        latent_file, importance_file = _files(work, canvas)
        sets.append(LatentSet(canvas, np.load(latent_file), np.load(importance_file)))
    return sets


def _files(work: Path, canvas: Canvas) -> tuple[Path, Path]:
    name = f"{canvas[0]}x{canvas[1]}"
    return work / "latents" / f"{name}.npy", work / "latents" / f"{name}-importance.npy"


def _wait(team: Team) -> None:
    if team.size > 1:
        distributed.barrier()
