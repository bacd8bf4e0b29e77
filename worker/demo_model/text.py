# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""The text encoders: how captions become what the denoiser attends to, and their own training.

Owns the encoding, which is StableDiffusionXLPipeline's, and a first training by which the
encoders learn to tell from a caption what is in the scene.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from worker.demo_model.architecture import TEXT_WIDTHS, build_text_encoders
from worker.demo_model.captions import caption, every_wording
from worker.demo_model.checkpoint import learning_rate, load_checkpoint, save_checkpoint
from worker.demo_model.data import DataPlan
from worker.demo_model.scene import Scene
from worker.demo_model.team import Team
from worker.demo_model.tokenizer import END, MAX_LENGTH, read_tokenizer, write_tokenizer
from worker.demo_model.vocabulary import COLOURS, PICTURE_SIZES, PLACES, SHAPES, SIZES

_QUESTIONS: Final = {
    "ground": len(COLOURS),
    "size": len(SIZES),
    "place": len(PLACES) + 2,
    "first shape": len(SHAPES),
    "first colour": len(COLOURS),
    "second shape": len(SHAPES) + 1,
    "second colour": len(COLOURS) + 1,
}
"""What is asked of a caption and how many answers there are; one more where there may be none."""


class TextEncoders(nn.Module):
    """Both text encoders with their tokenizers, encoding as the pipeline does."""

    def __init__(self, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        first, second = cast("tuple[Any, Any]", tokenizers)
        one, two = build_text_encoders(
            len(first),
            start_token=first.bos_token_id,
            end_token=first.eos_token_id,
            pad_tokens=(first.pad_token_id, second.pad_token_id),
        )
        self.one: CLIPTextModel = one
        self.two: CLIPTextModelWithProjection = two

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Turn texts into token ids, (B, 77) for either encoder."""
        first, second = (
            tokenizer(
                texts,
                padding="max_length",
                max_length=MAX_LENGTH,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            for tokenizer in self.tokenizers
        )
        return first, second

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Encode token ids to prompt embeddings (B, 77, 160) and pooled ones (B, 96).

        Source: `encode_prompt` of diffusers 0.42.1's pipeline_stable_diffusion_xl.py.
        """
        one = self.one(first, output_hidden_states=True)
        two = self.two(second, output_hidden_states=True)
        embeddings = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        return embeddings, two.text_embeds


@dataclass(frozen=True, slots=True)
class TextPlan:
    """How the text encoders are trained alone. Lengths are in steps."""

    steps: int = 900
    batch: int = 64
    peak_rate: float = 2e-3
    seed: int = 2
    save_every: int = 250


def prepare_text_encoders(work: Path) -> TextEncoders:
    """Write the tokenizers if they are missing and build untrained encoders for them."""
    folders = work / "text" / "tokenizer", work / "text" / "tokenizer_2"
    for folder, pad in zip(folders, (END, "!"), strict=True):
        if not (folder / "special_tokens_map.json").exists():
            write_tokenizer(folder, every_wording(), pad_token=pad)
    torch.manual_seed(0)
    return TextEncoders((read_tokenizer(folders[0]), read_tokenizer(folders[1])))


def train_text_encoders(team: Team, plan: TextPlan, data: DataPlan, work: Path) -> None:
    """Train the encoders to answer questions about the scene, going on from their checkpoint."""
    finished = finished_text_encoders(work)
    if finished.exists():
        return
    encoders = prepare_text_encoders(work)
    width = sum(TEXT_WIDTHS) + TEXT_WIDTHS[1]
    heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in _QUESTIONS.items()})
    both = nn.ModuleList([encoders, heads])
    trained = list(both.parameters())
    optimizer = torch.optim.AdamW(trained, weight_decay=1e-2, fused=True)
    checkpoint = work / "text" / "encoders.pt"
    begin = 0
    state = load_checkpoint(checkpoint)
    if state is not None:
        both.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["step"]
    bar = trange(begin, plan.steps, initial=begin, total=plan.steps, desc="text", mininterval=5)
    bar.disable = not team.leads
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.steps, plan.peak_rate, warmup=100)
        scenes, texts = _captioned(plan, data, step, team)
        with torch.autocast("cpu", torch.bfloat16):
            answers = _answers(encoders, heads, texts)
        right = {name: torch.tensor([_truth(scene)[name] for scene in scenes]) for name in heads}
        losses = [functional.cross_entropy(answers[name].float(), right[name]) for name in heads]
        torch.stack(losses).sum().backward()
        team.average_gradients(trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            names = ("ground", "first shape", "first colour", "place")
            hits = {n: (answers[n].argmax(1) == right[n]).float().mean().item() for n in names}
            bar.set_postfix({name: f"{hit:.2f}" for name, hit in hits.items()})
        if team.leads and ((step + 1) % plan.save_every == 0 or step + 1 == plan.steps):
            weights = {"model": both.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(checkpoint, {**weights, "step": step + 1})
    if team.leads:
        save_checkpoint(finished, {"model": encoders.state_dict()})


def finished_text_encoders(work: Path) -> Path:
    """Return where the text encoders lie that were trained alone."""
    return work / "text" / "finished.pt"


def load_text_encoders(work: Path) -> TextEncoders:
    """Load the encoders that `train_text_encoders` finished."""
    state = load_checkpoint(finished_text_encoders(work))
    if state is None:
        raise FileNotFoundError("no trained text encoders yet: run the text stage first")
    encoders = prepare_text_encoders(work)
    encoders.load_state_dict(state["model"])
    return encoders


def _captioned(plan: TextPlan, data: DataPlan, step: int, team: Team) -> tuple[list[Scene], list[str]]:
    rng = random.Random(f"{plan.seed}/{step}/{team.rank}")
    canvas = rng.choice(PICTURE_SIZES)
    scenes = [data.scene(canvas, rng.randrange(data.count(canvas))) for _ in range(team.share(plan.batch))]
    return scenes, [caption(scene, rng) for scene in scenes]


def _answers(encoders: TextEncoders, heads: nn.ModuleDict, texts: list[str]) -> dict[str, Tensor]:
    """Read the answers off the end token's state and the pooled embedding, each (B, answers)."""
    first, second = encoders.tokenize(texts)
    embeddings, pooled = encoders(first, second)
    end = (first == cast("Any", encoders.tokenizers[0]).eos_token_id).int().argmax(dim=1)
    features = torch.cat([embeddings[torch.arange(len(texts)), end], pooled], dim=1)
    return {name: head(features) for name, head in heads.items()}


def _truth(scene: Scene) -> dict[str, int]:
    """Answer every question about a scene; of two objects the upper or left one is the first."""
    shapes, colours, places = list(SHAPES), list(COLOURS), list(PLACES)
    things = sorted(scene.objects, key=lambda thing: thing.x + thing.y)
    first, second = things[0], things[-1] if scene.relation is not None else None
    beside = scene.relation in {"left of", "right of"}
    alone = places.index(first.place) if first.place else len(places) + beside
    return {
        "ground": colours.index(scene.ground),
        "size": list(SIZES).index(first.size),
        "place": alone,
        "first shape": shapes.index(first.shape),
        "first colour": colours.index(first.colour),
        "second shape": len(shapes) if second is None else shapes.index(second.shape),
        "second colour": len(colours) if second is None else colours.index(second.colour),
    }
