# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Much of torch, diffusers and transformers has no complete types.
"""Writing the trained parts as a checkpoint folder in SSD-1B's layout."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from worker.demo_model.architecture import build_scheduler
from worker.demo_model.autoencoder import finished_autoencoder, trained_autoencoder
from worker.demo_model.checkpoint import save_checkpoint
from worker.demo_model.denoiser import earlier_learner, trained_learner
from worker.demo_model.text import finished_text_encoders

_INDEX: Final[dict[str, Any]] = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": diffusers.__version__,
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def export_checkpoint(work: Path, folder: Path) -> None:
    """Write what was trained in `work` to `folder`, fp16, replacing what lies there."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    learner = trained_learner(work)
    _write_part(learner.denoiser, folder / "unet", "diffusion_pytorch_model")
    _write_part(trained_autoencoder(work), folder / "vae", "diffusion_pytorch_model")
    _write_part(learner.encoders.one, folder / "text_encoder", "model")
    _write_part(learner.encoders.two, folder / "text_encoder_2", "model")
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(work / "text" / name, folder / name)
    build_scheduler().save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n")


def _write_part(part: ModelMixin | PreTrainedModel, folder: Path, name: str) -> None:
    """Write one network's configuration and its weights as an fp16 variant."""
    folder.mkdir()
    if isinstance(part, ModelMixin):
        part.save_config(folder)
    else:
        part.config.dtype = torch.float16
        part.config.save_pretrained(folder)
    weights = folder / f"{name}.fp16.safetensors"
    save_file(_halves(part), weights, metadata={"format": "pt"})
    # safetensors writes files that only their owner may read.
    weights.chmod(0o644)


def _halves(part: nn.Module) -> dict[str, Tensor]:
    return {name: value.half().contiguous() for name, value in part.state_dict().items()}


def begin_from(folder: Path, work: Path) -> None:
    """Let a new training run go on from an exported folder.

    The autoencoder and the text encoders then count as finished, and the denoiser begins from the
    folder's weights, with a new optimizer. Raises FileExistsError where `work` has these already.
    """
    for path in (finished_autoencoder(work), finished_text_encoders(work), earlier_learner(work)):
        if path.exists():
            raise FileExistsError(f"{path} is there: give --begin-from with a new --work only")
    pipeline = load_pipeline(folder)
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(folder / name, work / "text" / name, dirs_exist_ok=True)
    parts = {"encoders.one": pipeline.text_encoder, "encoders.two": pipeline.text_encoder_2}
    encoders = {
        f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()
    }
    denoiser = {f"denoiser.{name}": value for name, value in pipeline.unet.state_dict().items()}
    save_checkpoint(finished_autoencoder(work), {"model": pipeline.vae.state_dict()})
    alone = {name.removeprefix("encoders."): value for name, value in encoders.items()}
    save_checkpoint(finished_text_encoders(work), {"model": alone})
    save_checkpoint(earlier_learner(work), {"model": {**encoders, **denoiser}})


def load_pipeline(folder: Path, *, dtype: torch.dtype = torch.float32) -> StableDiffusionXLPipeline:
    """Load an exported folder on the CPU the way a worker does, without its progress bar."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        folder, variant="fp16", use_safetensors=True, dtype=dtype, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
