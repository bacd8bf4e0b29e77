"""Which diffusers class draws for which sampler name. A scheduler keeps state: one object a row."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias, cast

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from shared.generation import Scheduler

SchedulerConfig: TypeAlias = Mapping[str, Any]
"""A checkpoint's `scheduler_config.json`: betas, spacing, prediction type."""


class DiffusersScheduler(Protocol):
    """The part of diffusers' schedulers that a row uses."""

    timesteps: torch.Tensor
    init_noise_sigma: float | torch.Tensor
    alphas_cumprod: torch.Tensor
    config: Any

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Lay out the steps."""
        ...

    def scale_model_input(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Bring latents to the scale that the UNet was trained on."""
        ...

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor,
        sample: torch.Tensor,
        **kwargs: Any,  # noqa: ANN401 - eta, generator, return_dict: each class takes others
    ) -> tuple[torch.Tensor, ...]:
        """Take one step; latents of the next."""
        ...


_LCM_TEACHER_STEPS: Final = 50
"""LCM picks its steps from the schedule of its teacher, so it can't take more than that has."""

_CLASSES: Final[Mapping[Scheduler, tuple[type[Any], Mapping[str, Any]]]] = {
    Scheduler.EULER: (EulerDiscreteScheduler, {}),
    Scheduler.EULER_ANCESTRAL: (EulerAncestralDiscreteScheduler, {}),
    Scheduler.DPMPP_2M_KARRAS: (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
    ),
    Scheduler.UNIPC: (UniPCMultistepScheduler, {}),
    # Latents aren't pictures in [-1, 1]: diffusers' own default of clipping them would ruin them.
    Scheduler.DDIM: (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    Scheduler.LCM: (LCMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
}


def make_scheduler(name: Scheduler, config: SchedulerConfig, num_inference_steps: int) -> DiffusersScheduler:
    """Make a fresh scheduler from the checkpoint's own configuration, its timesteps set.

    Timesteps and sigmas stay on the CPU, so that looking at them never waits for a GPU.
    """
    scheduler_class, overrides = _CLASSES[name]
    extra = dict(overrides)
    if name is Scheduler.LCM:
        extra["original_inference_steps"] = max(_LCM_TEACHER_STEPS, num_inference_steps)
    scheduler = cast("Any", scheduler_class).from_config(_quiet(config), **extra)
    scheduler.set_timesteps(num_inference_steps, device="cpu")
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return cast("DiffusersScheduler", scheduler)


def _quiet(config: SchedulerConfig) -> dict[str, Any]:
    """Leave out what diffusers' older classes wrote and no class here reads, but warns of."""
    return {name: value for name, value in config.items() if name != "skip_prk_steps"}


def step_arguments(scheduler: DiffusersScheduler, generator: torch.Generator) -> dict[str, Any]:
    """Choose what this scheduler's `step` takes beside the usual (diffusers `prepare_extra_step_kwargs`)."""
    accepted = inspect.signature(scheduler.step).parameters
    offered = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in offered.items() if name in accepted}
