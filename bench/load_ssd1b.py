"""Load SSD-1B's full layout, random weights, on the CPU: our loader beside a bare `from_pretrained`.

    python -m bench.load_ssd1b [--dtype float32] [--side 256]

Builds a checkpoint folder with all of SSD-1B's parts, file names and sizes (4.5 GB, fp16) in a
temporary folder, part by part, so that no more than the UNet is in memory at once. Then, each in a
process of its own, loads it and takes one guided denoising step. Prints seconds (by the clock, and
of the CPU: the fairer figure on a busy machine), peak memory and the ratio of ours to the bare
library's within this run.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors import torch as safetensors_torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from shared.generation import GenerationParams, Scheduler
from worker.engine.card import card_of
from worker.engine.events import RowId
from worker.engine.model import load_model
from worker.engine.prompts import PromptEncoder
from worker.engine.row import Row, predict_noise
from worker.engine.source import choose_source, fetch

CONFIG: Final = Path(__file__).parents[1] / "tests" / "ssd_1b_config"
VOCABULARY: Final = 49_408
GIB: Final = 2**30
PROMPT: Final = "a red circle"


@dataclass(frozen=True, slots=True)
class Measured:
    """One process' figures."""

    load_s: float
    load_cpu_s: float
    step_s: float
    step_cpu_s: float
    peak_gib: float
    latents_sum: float
    """Both ways must give the same picture."""


def build(folder: Path) -> None:
    """Write the folder: SSD-1B's configuration and file names, random weights, invented merges."""
    shutil.copytree(CONFIG, folder, dirs_exist_ok=True)
    parts: dict[str, tuple[str, Callable[[dict[str, Any]], torch.nn.Module]]] = {
        "unet": ("diffusion_pytorch_model", cast("Any", UNet2DConditionModel).from_config),
        "vae": ("diffusion_pytorch_model", cast("Any", AutoencoderKL).from_config),
        "text_encoder": ("model", lambda config: CLIPTextModel(CLIPTextConfig(**config))),
        "text_encoder_2": ("model", lambda config: CLIPTextModelWithProjection(CLIPTextConfig(**config))),
    }
    for part, (name, make) in parts.items():
        config = json.loads((CONFIG / part / "config.json").read_text("utf-8"))
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in make(config).state_dict().items()}
        state = {key: _random(key, shape) for key, shape in shapes.items()}
        file = folder / part / f"{name}.fp16.safetensors"
        cast("Any", safetensors_torch).save_file(state, file, metadata={"format": "pt"})
    for part in ("tokenizer", "tokenizer_2"):
        _write_vocabulary(folder / part)


_BLOCK: Final = torch.randn(2**22, generator=torch.Generator().manual_seed(0)).half()


def _random(name: str, shape: torch.Size) -> torch.Tensor:
    """Weights that keep signals at their size, so that a step's numbers stay finite."""
    if len(shape) <= 1:
        return (torch.ones if "norm" in name and name.endswith("weight") else torch.zeros)(shape, dtype=torch.float16)
    repeats = -(-shape.numel() // len(_BLOCK))
    return _BLOCK.repeat(repeats)[: shape.numel()].reshape(shape) * (0.5 * (shape.numel() / shape[0]) ** -0.5)


def _write_vocabulary(folder: Path) -> None:
    """As many entries as CLIP's: 512 letters, merges of two letters, the two markers."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + at) for at in range(256 - len(printable))]
    pairs = list(product(letters, letters))[: VOCABULARY - 514]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(f"{one}{two}</w>" for one, two in pairs)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(f"{one} {two}</w>" for one, two in pairs)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")


def measure_ours(folder: Path, dtype: torch.dtype, side: int) -> Measured:
    """Load and step as a worker does."""
    begun = _Clock.now()
    source = choose_source(str(folder), cuda=False)
    model = load_model(fetch(source), card_of(source), device=torch.device("cpu"), dtype=dtype)
    loaded = _Clock.now()
    params = GenerationParams(
        prompt=PROMPT,
        width=side,
        height=side,
        num_inference_steps=1,
        guidance_scale=9.0,
        seed=0,
        scheduler=Scheduler.EULER,
    )
    with torch.inference_mode():
        row = Row(RowId("row"), params, 0, model=model, conditioning=PromptEncoder(model).condition(params))
        row.advance(*predict_noise(model, [row])[0])
    return _measured(begun, loaded, row.latents)


def measure_bare(folder: Path, dtype: torch.dtype, side: int) -> Measured:
    """Load and step as the library's own example does."""
    begun = _Clock.now()
    pipeline = cast("Any", StableDiffusionXLPipeline).from_pretrained(
        folder, variant="fp16", use_safetensors=True, add_watermarker=False, dtype=dtype
    )
    loaded = _Clock.now()
    latents = pipeline(
        prompt=PROMPT,
        width=side,
        height=side,
        num_inference_steps=1,
        guidance_scale=9.0,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="latent",
    ).images
    return _measured(begun, loaded, latents)


@dataclass(frozen=True, slots=True)
class _Clock:
    """A moment, by the clock and in the CPU seconds of this process."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> _Clock:
        return cls(time.perf_counter(), time.process_time())


def _measured(begun: _Clock, loaded: _Clock, latents: torch.Tensor) -> Measured:
    stepped = _Clock.now()
    return Measured(
        load_s=loaded.wall_s - begun.wall_s,
        load_cpu_s=loaded.cpu_s - begun.cpu_s,
        step_s=stepped.wall_s - loaded.wall_s,
        step_cpu_s=stepped.cpu_s - loaded.cpu_s,
        peak_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
        latents_sum=float(latents.double().sum()),
    )


def in_own_process(way: str, folder: Path, dtype: str, side: int) -> Measured:
    """Run one measurement where nothing else was loaded before."""
    command = [sys.executable, "-m", "bench.load_ssd1b", "--folder", str(folder), "--way", way]
    command += ["--dtype", dtype, "--side", str(side)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Measured(**json.loads(out.splitlines()[-1]))


def compare(dtype: str, side: int) -> tuple[Measured, Measured]:
    """Build the folder and measure ours and the bare library's; the folder goes afterwards."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "ssd-1b"
        build(folder)
        return in_own_process("ours", folder, dtype, side), in_own_process("bare", folder, dtype, side)


def table(ours: Measured, bare: Measured) -> str:
    """The figures as Markdown."""
    rows = [
        ("load", "s", ours.load_s, bare.load_s),
        ("load, CPU", "s", ours.load_cpu_s, bare.load_cpu_s),
        ("encode and one step", "s", ours.step_s, bare.step_s),
        ("encode and one step, CPU", "s", ours.step_cpu_s, bare.step_cpu_s),
        ("peak memory", "GiB", ours.peak_gib, bare.peak_gib),
    ]
    lines = ["| | ours | bare `from_pretrained` | ratio |", "|---|---|---|---|"]
    lines += [f"| {name} | {mine:.1f} {unit} | {its:.1f} {unit} | {mine / its:.2f} |" for name, unit, mine, its in rows]
    return "\n".join(lines)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--way", choices=["ours", "bare"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        measure = measure_ours if given.way == "ours" else measure_bare
        print(json.dumps(asdict(measure(given.folder, getattr(torch, given.dtype), given.side))))
        return
    ours, bare = compare(given.dtype, given.side)
    print(table(ours, bare))
    print("\nthe same latents" if ours.latents_sum == bare.latents_sum else "\nNOT the same latents")


if __name__ == "__main__":
    main()
