"""One image in the making: its latents, its own scheduler, seed, guidance and place in its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch

from shared.generation import GenerationParams
from worker.engine.events import RowId
from worker.engine.model import Model
from worker.engine.noise import cpu_generator, first_noise
from worker.engine.prompts import Conditioning
from worker.engine.schedulers import DiffusersScheduler, make_scheduler, step_arguments


class GroupKey(NamedTuple):
    """Rows with the same key fit one UNet forward."""

    height: int
    """In latents, as the width."""
    width: int
    sequence_length: int
    adapter: str | None
    """Which of the model's UNets."""
    is_alone: bool
    """Its rows are alike, and yet go one at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The UNet's latest word on a row, kept for previews: three references, nothing computed yet."""

    model_input: torch.Tensor
    """(1, C, h, w): the latents at the scale that the UNet saw."""
    model_output: torch.Tensor
    """(1, C, h, w): after guidance."""
    timestep: torch.Tensor


class Row:
    """Walks from noise to latents of a picture, as `StableDiffusionXLPipeline.__call__` of diffusers 0.42 does."""

    def __init__(
        self, row_id: RowId, params: GenerationParams, index: int, *, model: Model, conditioning: Conditioning
    ) -> None:
        self.id = row_id
        self.params = params
        self.unet = model.unet_of(params.adapter)
        self.conditioning = conditioning
        self.step = 0
        self.was_alone = True
        """True as long as it shared no forward."""
        self.prediction: Prediction | None = None
        self._scheduler: DiffusersScheduler = make_scheduler(
            params.scheduler, model.scheduler_config, params.num_inference_steps
        )
        generator = cpu_generator(params.seed_of(index))
        self._step_arguments = step_arguments(self._scheduler, generator)
        height, width = params.height, params.width
        shape = (1, model.latent_channels, height // model.vae_scale_factor, width // model.vae_scale_factor)
        dtype = conditioning.prompt_embeds.dtype
        noise = first_noise(params, index, shape, generator, dtype).to(model.device)
        self.latents: torch.Tensor = noise * self._scheduler.init_noise_sigma
        copies = 2 if conditioning.is_guided else 1
        time_ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=dtype)
        self.time_ids = time_ids.repeat(copies, 1).to(model.device)
        """(1 or 2, 6): original size, crop corner, target size (SDXL paper, section 2.2)."""

    @property
    def is_guided(self) -> bool:
        """True if the next step is guided."""
        return self.params.is_guided_at(self.step)

    @property
    def samples(self) -> int:
        """What its next step adds to a batch: 2 if it is guided, else 1."""
        return 2 if self.is_guided else 1

    @property
    def key(self) -> GroupKey:
        """What a row must share with others to take its next step with them."""
        return GroupKey(
            self.latents.shape[-2],
            self.latents.shape[-1],
            self.conditioning.prompt_embeds.shape[1],
            self.params.adapter,
            self.params.deterministic,
        )

    @property
    def num_steps(self) -> int:
        """Steps in all, as the scheduler counts them."""
        return len(self._scheduler.timesteps)

    @property
    def is_denoised(self) -> bool:
        """True once no step is left."""
        return self.step >= self.num_steps

    @property
    def timestep(self) -> torch.Tensor:
        """Where the row stands on the noise schedule: () on the CPU."""
        return self._scheduler.timesteps[self.step]

    def model_input(self) -> torch.Tensor:
        """(1, C, h, w): the latents at the UNet's scale. Changes nothing: a forward may be tried again."""
        return self._scheduler.scale_model_input(self.latents, self.timestep)

    def advance(self, model_input: torch.Tensor, noise_pred: torch.Tensor) -> None:
        """Guide and take one scheduler step.

        `noise_pred` is (2, C, h, w), negative first, if the step is guided, else (1, C, h, w). The guidance
        scale stays a Python number: as a tensor it would be rounded to fp16 first.
        """
        if self.is_guided:
            unconditional, text = noise_pred.chunk(2)
            noise_pred = unconditional + self.params.guidance_scale * (text - unconditional)
        self.prediction = Prediction(model_input, noise_pred, self.timestep)
        self.latents = self._scheduler.step(
            noise_pred, self.timestep, self.latents, **self._step_arguments, return_dict=False
        )[0]
        self.step += 1

    @torch.inference_mode()
    def estimate(self, seen: Prediction) -> torch.Tensor:
        """(1, C, h, w): the clean latents that one of its predictions points at; in any thread.

        Every scheduler here hands the UNet x = sqrt(a) x0 + sqrt(1 - a) noise, with a from
        `alphas_cumprod`, so one formula serves all (DDPM, equation 4; v as in Salimans and Ho 2022).
        """
        scheduler = self._scheduler
        alpha = scheduler.alphas_cumprod[round(float(seen.timestep))].item()
        signal, noise = alpha**0.5, (1 - alpha) ** 0.5
        prediction_type = scheduler.config.prediction_type
        if prediction_type == "v_prediction":
            return signal * seen.model_input - noise * seen.model_output
        if prediction_type == "sample":
            return seen.model_output
        return (seen.model_input - noise * seen.model_output) / max(signal, 1e-3)


def predict_noise(model: Model, rows: list[Row]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Run one UNet forward for rows of one key: each row's model input and its noise prediction.

    In the batch the negatives of the guided rows come first, then all prompts, as in the stock pipeline. Timesteps are
    a row's own: (B,) float32 for B samples. Past its guidance cut-off a row leaves its negative out.
    """
    guided = [row for row in rows if row.is_guided]
    inputs = {row: row.model_input() for row in rows}
    timesteps = torch.stack([row.timestep for row in (*guided, *rows)]).to(torch.float32)

    def side_by_side(tensor_of: Callable[[Row], torch.Tensor]) -> torch.Tensor:
        """Put the (1 or 2, ...) of each row together as (B, ...)."""
        if len(rows) == 1:
            return tensor_of(rows[0])[-rows[0].samples :]
        return torch.cat([tensor_of(row)[:1] for row in guided] + [tensor_of(row)[-1:] for row in rows])

    noise = cast("Any", rows[0].unet)(
        torch.cat([inputs[row] for row in (*guided, *rows)]),
        timesteps.to(model.device, non_blocking=True),
        encoder_hidden_states=side_by_side(lambda row: row.conditioning.prompt_embeds),
        added_cond_kwargs={
            "text_embeds": side_by_side(lambda row: row.conditioning.pooled),
            "time_ids": side_by_side(lambda row: row.time_ids),
        },
        return_dict=False,
    )[0]
    negatives = {row: noise[at : at + 1] for at, row in enumerate(guided)}
    prompts = {row: noise[len(guided) + at : len(guided) + at + 1] for at, row in enumerate(rows)}
    return [
        (inputs[row], torch.cat([negatives[row], prompts[row]]) if row in negatives else prompts[row]) for row in rows
    ]
