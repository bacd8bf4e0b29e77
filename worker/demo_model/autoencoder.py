# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""Training the autoencoder, and the latents that it turns pictures into.

Owns the losses, the whitening of the latents and its folding into the weights; knows nothing of
captions.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange

from worker.demo_model.architecture import SCALING_FACTOR, build_autoencoder
from worker.demo_model.checkpoint import learning_rate, load_checkpoint, save_checkpoint
from worker.demo_model.data import open_pictures
from worker.demo_model.fastpath import use_fast_norms
from worker.demo_model.team import Team
from worker.demo_model.vocabulary import PICTURE_SIZES


@dataclass(frozen=True, slots=True)
class AutoencoderPlan:
    """How the autoencoder is trained. Lengths are in steps, `crop` in pixels.

    First on small crops, which is fast; then on whole pictures, as normalization and attention
    look at all of one; at last the decoder alone on noisy latents, as a denoiser's never are exact.
    """

    crop_steps: int = 1500
    picture_steps: int = 1300
    decoder_steps: int = 300
    crop: int = 64
    batch: int = 32
    """Crops at a step; of whole pictures a quarter as many, which is as much work."""
    peak_rate: float = 2e-3
    seed: int = 1
    save_every: int = 60


@dataclass(frozen=True, slots=True)
class _Phase:
    name: str
    steps: int
    crop: int | None
    batch: int
    peak_rate: float

    @property
    def decoder_only(self) -> bool:
        return self.name == "decoder"


def train_autoencoder(team: Team, plan: AutoencoderPlan, work: Path) -> None:
    """Train the autoencoder, going on from its checkpoints, and whiten its latents."""
    folder = work / "autoencoder"
    if finished_autoencoder(work).exists():
        return
    torch.manual_seed(plan.seed)
    autoencoder = cast("Any", build_autoencoder()).to(memory_format=torch.channels_last)
    use_fast_norms(autoencoder)
    pictures = [open_pictures(work, canvas) for canvas in PICTURE_SIZES]
    few, rate = max(1, plan.batch // 4), plan.peak_rate
    phases = (
        _Phase("crops", plan.crop_steps, plan.crop, plan.batch, rate),
        _Phase("pictures", plan.picture_steps, None, few, rate / 2),
        _Phase("decoder", plan.decoder_steps, None, few, rate / 2),
    )
    for phase in phases:
        if phase.decoder_only:
            whiten(autoencoder, pictures[0][:: max(1, len(pictures[0]) // 512)])
        _train(team, autoencoder, pictures, plan, phase, checkpoint=folder / f"{phase.name}.pt")
    if team.leads:
        save_checkpoint(finished_autoencoder(work), {"model": autoencoder.state_dict()})


def finished_autoencoder(work: Path) -> Path:
    """Return where the trained autoencoder lies."""
    return work / "autoencoder" / "finished.pt"


def trained_autoencoder(work: Path) -> AutoencoderKL:
    """Load the autoencoder that `train_autoencoder` finished."""
    state = load_checkpoint(finished_autoencoder(work))
    if state is None:
        raise FileNotFoundError("no trained autoencoder yet: run the autoencoder stage first")
    autoencoder = cast("Any", build_autoencoder()).to(memory_format=torch.channels_last)
    autoencoder.load_state_dict(state["model"])
    return autoencoder.eval()


def _train(
    team: Team,
    autoencoder: AutoencoderKL,
    pictures: list[NDArray[np.uint8]],
    plan: AutoencoderPlan,
    phase: _Phase,
    *,
    checkpoint: Path,
) -> None:
    autoencoder.encoder.requires_grad_(not phase.decoder_only)
    cast("Any", autoencoder.quant_conv).requires_grad_(not phase.decoder_only)
    trained = [weight for weight in autoencoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    begin = 0
    state = load_checkpoint(checkpoint)
    if state is not None:
        autoencoder.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["step"]
    objective = _DecoderObjective(autoencoder) if phase.decoder_only else _WholeObjective(autoencoder)
    steps = phase.steps
    bar = trange(begin, steps, initial=begin, total=steps, desc=phase.name, mininterval=5)
    bar.disable = not team.leads
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, phase.peak_rate, warmup=min(100, steps // 4))
        batch = _batch(pictures, plan, phase, step, team)
        torch.manual_seed((plan.seed * 1_000_003 + step) * 64 + team.rank)
        with torch.autocast("cpu", torch.bfloat16):
            loss, error = objective(batch)
        loss.backward()
        team.average_gradients(trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}", psnr=f"{_decibel(error.item()):.1f}")
        if team.leads and ((step + 1) % plan.save_every == 0 or step + 1 == steps):
            weights = {"model": autoencoder.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint, {**weights, "step": step + 1})


def _batch(
    pictures: list[NDArray[np.uint8]],
    plan: AutoencoderPlan,
    phase: _Phase,
    step: int,
    team: Team,
) -> Tensor:
    """Make one process's batch of a step: crops of square pictures, or whole ones of any size."""
    seed = (plan.seed, step, team.rank)
    count = team.share(phase.batch)
    if phase.crop is not None:
        return pixels_to_tensor(crops(pictures[0], count, phase.crop, np.random.default_rng(seed)))
    # The size is every process's, so that none waits for a slower one.
    number = int(np.random.default_rng((plan.seed, step)).choice(len(pictures), p=(0.6, 0.2, 0.2)))
    chosen = pictures[number]
    indices = np.random.default_rng(seed).integers(len(chosen), size=count)
    return pixels_to_tensor(np.array(chosen[np.sort(indices)]))


def crops(pictures: NDArray[np.uint8], count: int, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut `count` square crops, (count, side, side, 3).

    Of four tries the crop with the most edges is taken: most of a picture is its plain ground.
    """
    height, width = pictures.shape[1:3]
    batch = np.empty((count, side, side, 3), np.uint8)
    for row in range(count):
        picture = pictures[rng.integers(len(pictures))]
        best = -1.0
        for _ in range(4):
            top = int(rng.integers(height - side + 1))
            left = int(rng.integers(width - side + 1))
            crop = picture[top : top + side, left : left + side]
            edges = float(np.abs(np.diff(crop[::4, ::4].astype(np.int16), axis=0)).mean())
            if edges > best:
                best, batch[row] = edges, crop
    return batch


def pixels_to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn (B, H, W, 3) bytes into (B, 3, H, W), -1 to 1, channels last in memory."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


class _WholeObjective(nn.Module):
    """Reconstruction and divergence of the whole autoencoder."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = cast("Any", autoencoder)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.autoencoder.quant_conv(self.autoencoder.encoder(pictures))
        mean, log_variance = moments.float().chunk(2, dim=1)
        log_variance = log_variance.clamp(-30, 20)
        latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        decoded = self.autoencoder.decoder(self.autoencoder.post_quant_conv(latents)).float()
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        loss, error = _reconstruction_loss(decoded, pictures)
        return loss + 1e-3 * divergence, error


class _DecoderObjective(nn.Module):
    """Reconstruction by the decoder alone, from whitened latents with a little noise."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = cast("Any", autoencoder)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            moments = self.autoencoder.quant_conv(self.autoencoder.encoder(pictures))
            mean = moments.float().chunk(2, dim=1)[0]
            strength = 0.25 / SCALING_FACTOR * torch.rand(mean.shape[0], 1, 1, 1)
            latents = mean + strength * torch.randn_like(mean)
        decoded = self.autoencoder.decoder(self.autoencoder.post_quant_conv(latents)).float()
        return _reconstruction_loss(decoded, pictures)


def _reconstruction_loss(decoded: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return absolute + squared error + half of the gradients' error, and the squared error."""
    squared = functional.mse_loss(decoded, pictures)
    difference = decoded - pictures
    across = difference.diff(dim=3).abs().mean()
    down = difference.diff(dim=2).abs().mean()
    return difference.abs().mean() + squared + 0.5 * (across + down), squared


def _decibel(squared_error: float) -> float:
    """Return the peak signal-to-noise ratio of pictures from -1 to 1, in dB."""
    return float(10 * np.log10(4 / max(squared_error, 1e-12)))


@torch.no_grad()
def latents_of(autoencoder: AutoencoderKL, pictures: NDArray[np.uint8]) -> Tensor:
    """Encode (B, H, W, 3) bytes to unscaled mean latents, (B, 8, H / 8, W / 8), fp32."""
    with torch.autocast("cpu", torch.bfloat16):
        moments = cast("Any", autoencoder).quant_conv(autoencoder.encoder(pixels_to_tensor(pictures)))
    return moments.float().chunk(2, dim=1)[0]


@torch.no_grad()
def whiten(autoencoder: AutoencoderKL, pictures: NDArray[np.uint8]) -> None:
    """Fold a whitening of the latents into the quant convolutions, in place.

    Afterwards `latents * scaling_factor` has mean 0 and covariance 1 over all places where half
    the weight lies on edges. A plain ground fills most of a picture, so without the weight the
    directions that tell shapes apart would be faint, and the noise would hide them longest.
    """
    samples = [latents_of(autoencoder, pictures[i : i + 32]) for i in range(0, len(pictures), 32)]
    latents = torch.cat(samples).double()
    steps = functional.pad(latents.diff(dim=3).abs().sum(1), (0, 1)) + functional.pad(
        latents.diff(dim=2).abs().sum(1), (0, 0, 0, 1)
    )
    edges = (steps > steps.mean()).flatten()
    values = latents.permute(0, 2, 3, 1).flatten(0, 2)
    weight = torch.where(edges, 0.5 / edges.sum(), 0.5 / (~edges).sum())[:, None]
    mean = (weight * values).sum(0)
    centered = values - mean
    variances, axes = torch.linalg.eigh(centered.T @ (weight * centered))
    # ZCA: of all whitenings the one that leaves the channels closest to what they were.
    forward = axes @ torch.diag(variances.clamp_min(1e-8).rsqrt()) @ axes.T / SCALING_FACTOR
    backward = torch.linalg.inv(forward)
    channels = latents.shape[1]
    before, after = cast("Any", autoencoder.quant_conv), cast("Any", autoencoder.post_quant_conv)
    kernel = before.weight[:channels, :, 0, 0].double()
    before.weight[:channels, :, 0, 0] = (forward @ kernel).to(before.weight.dtype)
    bias = before.bias[:channels].double()
    before.bias[:channels] = (forward @ (bias - mean)).to(before.bias.dtype)
    kernel = after.weight[:, :, 0, 0].double()
    after.bias += (kernel @ mean).to(after.bias.dtype)
    after.weight[:, :, 0, 0] = (kernel @ backward).to(after.weight.dtype)
