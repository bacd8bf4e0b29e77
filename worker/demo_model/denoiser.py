# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""Training the denoiser, and the text encoders on with it.

Owns the objective, the sampling of time-steps and what is shown when; knows nothing of drawing.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import trange

from worker.demo_model.architecture import build_denoiser, build_scheduler
from worker.demo_model.captions import caption
from worker.demo_model.checkpoint import learning_rate, load_checkpoint, save_checkpoint
from worker.demo_model.data import Canvas, DataPlan
from worker.demo_model.fastpath import use_fast_norms
from worker.demo_model.latents import EDGE, OBJECT, LatentSet, open_latents
from worker.demo_model.team import Team
from worker.demo_model.text import TextEncoders, load_text_encoders

_ALPHAS: Final = build_scheduler().alphas_cumprod

_ODD_ORIGINALS: Final = 0.1
"""Share of pictures said to come from another original size, so that a caller's does no harm."""


@dataclass(frozen=True, slots=True)
class DenoiserPlan:
    """How the denoiser is trained. Lengths are in steps; shares are 0 to 1."""

    steps: int = 5500
    batch: int = 64
    draws: int = 2
    """Noises that each picture of a batch is shown with; its caption is then encoded once."""
    peak_rate: float = 1.2e-3
    text_rate: float = 0.3
    """The text encoders' rate over the denoiser's."""
    text_until: float = 0.5
    """Share of the steps after which the text encoders stay as they are."""
    pairs_begin: float = 0.10
    pairs_end: float = 0.30
    """Share of scenes with two objects, at the beginning and from half of the steps on."""
    middle: float = 0.75
    """Share of time-steps drawn from 250 to 900, where shapes are decided."""
    zeroed: float = 0.06
    """Share of captions replaced by zeros, the pipeline's way for a missing negative prompt."""
    emptied: float = 0.04
    """Share of captions replaced by the empty text."""
    object_weight: float = 2.0
    edge_weight: float = 5.0
    """Weight of the error on objects and on their edges; the plain ground's is 1."""
    average: float = 0.997
    seed: int = 3
    save_every: int = 250


class Learner(nn.Module):
    """The denoiser and the text encoders as one model to be trained."""

    def __init__(self, encoders: TextEncoders) -> None:
        super().__init__()
        self.encoders = encoders
        self.denoiser: UNet2DConditionModel = build_denoiser()

    def forward(self, batch: "Batch", timesteps: Tensor, noisy: Tensor) -> Tensor:
        """Predict the velocity of noisy latents, (draws * B, 8, h, w), for B captions."""
        embeddings, pooled = self.encoders(*batch.tokens)
        keep = ~batch.zeroed
        draws = len(noisy) // len(batch.latents)
        conditions = {
            "text_embeds": (pooled * keep[:, None]).repeat(draws, 1),
            "time_ids": batch.time_ids.repeat(draws, 1),
        }
        embeddings = (embeddings * keep[:, None, None]).repeat(draws, 1, 1)
        return self.denoiser(noisy, timesteps, embeddings, added_cond_kwargs=conditions).sample


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: scaled latents, their places' weights, captions as tokens, and sizes."""

    latents: Tensor
    weights: Tensor
    tokens: tuple[Tensor, Tensor]
    zeroed: Tensor
    time_ids: Tensor


class Lessons:
    """Chooses what is shown at each step, the same for the same seed, step and process."""

    def __init__(self, plan: DenoiserPlan, data: DataPlan, sets: list[LatentSet], encoders: TextEncoders) -> None:
        self._plan, self._data, self._sets, self._encoders = plan, data, sets, encoders
        self._by_count: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for part in sets:
            scenes = (data.scene(part.canvas, index) for index in range(len(part.latents)))
            paired = np.array([scene.relation is not None for scene in scenes])
            self._by_count.append((np.flatnonzero(~paired), np.flatnonzero(paired)))

    def at(self, step: int, team: Team) -> Batch:
        """Make the batch of one step for one process."""
        plan = self._plan
        # The picture size is every process's, so that none waits for a slower one.
        number = random.Random(f"{plan.seed}/{step}").choices(range(len(self._sets)), (3, 1, 1))[0]
        part = self._sets[number]
        rng = random.Random(f"{plan.seed}/{step}/{team.rank}")
        ramp = min(1.0, 2 * step / plan.steps)
        pairs = plan.pairs_begin + ramp * (plan.pairs_end - plan.pairs_begin)
        singles, doubles = self._by_count[number]
        chosen = [
            int(rng.choice(doubles if len(doubles) and rng.random() < pairs else singles))
            for _ in range(max(1, team.share(plan.batch) // plan.draws))
        ]
        texts = [caption(self._data.scene(part.canvas, index), rng) for index in chosen]
        fates = [rng.random() for _ in chosen]
        texts = [
            "" if plan.zeroed < fate < plan.zeroed + plan.emptied else text
            for text, fate in zip(texts, fates, strict=True)
        ]
        latents, importance = part.batch(np.array(chosen))
        weights = torch.ones(importance.shape)
        weights[importance == OBJECT] = plan.object_weight
        weights[importance == EDGE] = plan.edge_weight
        return Batch(
            latents=latents,
            weights=weights,
            tokens=self._encoders.tokenize(texts),
            zeroed=torch.tensor([fate < plan.zeroed for fate in fates]),
            time_ids=torch.tensor([_time_ids(part.canvas, rng) for _ in chosen]),
        )


def _time_ids(canvas: Canvas, rng: random.Random) -> list[float]:
    """Return SDXL's six numbers: original height, width, crop top, left, target height, width."""
    width, height = (float(pixels) for pixels in canvas)
    original = [height, width]
    if rng.random() < _ODD_ORIGINALS:
        original = [float(rng.randrange(64, 1025, 8)), float(rng.randrange(64, 1025, 8))]
    return [*original, 0.0, 0.0, height, width]


def velocity_loss(learner: Learner, batch: Batch, plan: DenoiserPlan) -> Tensor:
    """Return the weighted squared error of the velocity.

    Velocity: Salimans and Ho 2022 (https://arxiv.org/abs/2202.00512), appendix D. Weight over
    time-steps: min-SNR with gamma 5 (https://arxiv.org/abs/2303.09556), moved by one for velocity.
    """
    clean = batch.latents.repeat(plan.draws, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    weights = batch.weights.repeat(plan.draws, 1, 1)
    count = len(clean)
    timesteps = torch.randint(0, 1000, (count,))
    middle = torch.rand(count) < plan.middle
    timesteps = torch.where(middle, torch.randint(250, 900, (count,)), timesteps)
    kept = _ALPHAS[timesteps].view(-1, 1, 1, 1)
    noise = torch.randn_like(clean)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    with torch.autocast("cpu", torch.bfloat16):
        predicted = learner(batch, timesteps, noisy)
    errors = (predicted.float() - velocity).square().mean(dim=1) * weights
    signal = (kept / (1 - kept)).flatten()
    over_time = (signal + 1).clamp_max(5) / (signal + 1)
    return (errors.mean(dim=(1, 2)) * over_time).mean() / weights.mean()


def build_learner(work: Path) -> Learner:
    """Build the learner: text encoders trained alone and a new denoiser, or an earlier learner."""
    encoders = load_text_encoders(work)
    torch.manual_seed(0)
    learner = Learner(encoders)
    earlier = load_checkpoint(earlier_learner(work))
    if earlier is not None:
        learner.load_state_dict(earlier["model"])
    cast("Any", learner.denoiser).to(memory_format=torch.channels_last)
    use_fast_norms(learner.denoiser)
    return learner


def train_denoiser(team: Team, plan: DenoiserPlan, data: DataPlan, work: Path) -> None:
    """Train the denoiser and the text encoders, going on from their checkpoint."""
    learner = build_learner(work)
    text_weights = list(learner.encoders.parameters())
    groups = [
        {"params": list(learner.denoiser.parameters()), "factor": 1.0},
        {"params": text_weights, "factor": plan.text_rate},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=1e-2, fused=True)
    averages = {name: weight.detach().clone() for name, weight in learner.named_parameters()}
    begin = 0
    state = load_checkpoint(denoiser_checkpoint(work))
    if state is not None:
        learner.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        averages, begin = state["average"], state["step"]
    lessons = Lessons(plan, data, open_latents(work), learner.encoders)
    trained = list(learner.parameters())
    bar = trange(begin, plan.steps, initial=begin, total=plan.steps, desc="denoiser", mininterval=9)
    bar.disable = not team.leads
    smooth = None
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(step, plan.steps, plan.peak_rate)
        learner.encoders.requires_grad_(step < plan.text_until * plan.steps)
        batch = lessons.at(step, team)
        torch.manual_seed((plan.seed * 1_000_003 + step) * 64 + team.rank)
        loss = velocity_loss(learner, batch, plan)
        loss.backward()
        team.average_gradients(trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _follow(averages, learner, min(plan.average, (1 + step) / (10 + step)))
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        bar.set_postfix(loss=f"{smooth:.4f}")
        if team.leads and ((step + 1) % plan.save_every == 0 or step + 1 == plan.steps):
            parts = {"model": learner.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(denoiser_checkpoint(work), {**parts, "average": averages, "step": step + 1})


@torch.no_grad()
def _follow(averages: dict[str, Tensor], learner: Learner, keep: float) -> None:
    """Move the averaged weights a little towards the learner's, in place."""
    for name, weight in learner.named_parameters():
        averages[name].lerp_(weight.detach(), 1 - keep)


def denoiser_checkpoint(work: Path) -> Path:
    """Return where the denoiser's checkpoint lies."""
    return work / "denoiser" / "learner.pt"


def earlier_learner(work: Path) -> Path:
    """Return where the weights lie that the denoiser's training begins from, if any."""
    return work / "denoiser" / "earlier.pt"


def trained_learner(work: Path) -> Learner:
    """Load the learner with its averaged weights."""
    state = load_checkpoint(denoiser_checkpoint(work))
    if state is None:
        raise FileNotFoundError("no trained denoiser yet: run the denoiser stage first")
    learner = build_learner(work)
    learner.load_state_dict(state["average"], strict=False)
    return learner.eval()
