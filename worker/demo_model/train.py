"""Train the demo model from nothing: `python -m worker.demo_model.train`.

Owns the order of the stages and the command line.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from worker.demo_model.autoencoder import AutoencoderPlan, train_autoencoder
from worker.demo_model.data import DataPlan, draw_pictures
from worker.demo_model.denoiser import DenoiserPlan, train_denoiser
from worker.demo_model.export import begin_from, export_checkpoint, folder_bytes
from worker.demo_model.latents import encode_pictures
from worker.demo_model.team import work_together
from worker.demo_model.text import TextPlan, prepare_text_encoders, train_text_encoders

WEIGHTS: Final = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Everything that decides what a training run makes."""

    data: DataPlan = field(default_factory=DataPlan)
    autoencoder: AutoencoderPlan = field(default_factory=AutoencoderPlan)
    text: TextPlan = field(default_factory=TextPlan)
    denoiser: DenoiserPlan = field(default_factory=DenoiserPlan)
    encoded: float = 0.5
    """Share of the drawn pictures that the denoiser is shown, 0 to 1."""
    processes: int = 2


def train(plan: TrainingPlan, work: Path, output: Path, stages: list[str]) -> None:
    """Run some stages in their order. Each goes on from where an earlier run stopped."""
    work.mkdir(parents=True, exist_ok=True)

    def text() -> None:
        prepare_text_encoders(work)
        work_together(plan.processes, train_text_encoders, plan.text, plan.data, work)

    def denoiser() -> None:
        work_together(plan.processes, encode_pictures, plan.encoded, work)
        work_together(plan.processes, train_denoiser, plan.denoiser, plan.data, work)

    runs: dict[str, Callable[[], None]] = {
        "data": lambda: draw_pictures(plan.data, work),
        "autoencoder": lambda: work_together(plan.processes, train_autoencoder, plan.autoencoder, work),
        "text": text,
        "denoiser": denoiser,
        "export": lambda: export_checkpoint(work, output),
    }
    for name, run in runs.items():
        if name in stages:
            run()
    if "export" in stages:
        print(f"{output}: {folder_bytes(output) / 1e6:.2f} MB")  # noqa: T201, the command's result


STAGES: Final = ("data", "autoencoder", "text", "denoiser", "export")


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    plan = TrainingPlan()
    parser = argparse.ArgumentParser(
        prog="python -m worker.demo_model.train",
        description="Train the demo model from nothing: draw pictures, train the autoencoder, the "
        "text encoders and the denoiser on them, and export a checkpoint folder. Stop it "
        "whenever you like: it goes on from the last checkpoint in --work. On two cores the "
        "whole takes about two hours.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--work", type=Path, default=Path("data/demo_model_training"), help="checkpoints' folder")
    add("--output", type=Path, default=WEIGHTS, help="folder of the exported checkpoint")
    add("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="stages to run")
    add("--begin-from", type=Path, help="exported folder whose weights a new --work begins with")
    add("--processes", type=int, default=plan.processes, help="processes, one for each core")
    add("--seed", type=int, default=0, help="seed of the drawn pictures and of the training")
    add("--pictures", type=int, default=plan.data.square, help="square pictures to draw")
    add("--oblong", type=int, default=plan.data.oblong, help="pictures of each oblong size")
    add("--encoded", type=float, default=plan.encoded, help="share of the pictures that the denoiser is shown")
    add("--crop-steps", type=int, default=plan.autoencoder.crop_steps, help="autoencoder's steps on crops")
    add("--picture-steps", type=int, default=plan.autoencoder.picture_steps, help="autoencoder's on pictures")
    add("--decoder-steps", type=int, default=plan.autoencoder.decoder_steps, help="decoder's alone")
    add("--text-steps", type=int, default=plan.text.steps, help="text encoders' alone")
    add("--denoiser-steps", type=int, default=plan.denoiser.steps, help="denoiser's steps")
    add("--batch", type=int, default=plan.denoiser.batch, help="pictures in a denoiser's step")
    return parser


def planned(given: argparse.Namespace) -> TrainingPlan:
    """Make the plan that a command line asks for."""
    plan = TrainingPlan()
    return replace(
        plan,
        processes=given.processes,
        encoded=given.encoded,
        data=replace(plan.data, square=given.pictures, oblong=given.oblong, seed=plan.data.seed + given.seed),
        autoencoder=replace(
            plan.autoencoder,
            crop_steps=given.crop_steps,
            picture_steps=given.picture_steps,
            decoder_steps=given.decoder_steps,
            seed=plan.autoencoder.seed + given.seed,
        ),
        text=replace(plan.text, steps=given.text_steps, seed=plan.text.seed + given.seed),
        denoiser=replace(
            plan.denoiser, steps=given.denoiser_steps, batch=given.batch, seed=plan.denoiser.seed + given.seed
        ),
    )


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    given = arguments().parse_args(words)
    if given.begin_from is not None:
        begin_from(given.begin_from, given.work)
    train(planned(given), given.work, given.output, given.stages)


if __name__ == "__main__":
    main()
