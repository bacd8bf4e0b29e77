"""A model whose networks take as long as they are told: sleeping stands in for the UNet and, for its time, the VAE.

Everything else of a worker stays what it is. A forward takes `BENCH_STEP_MS` for a row of 64x64 pixels (two rows with
guidance), in proportion to rows and pixels, give or take a little: a device that is full, where a batch gains nothing.
A picture's decoding takes as long as three such rows. Like a worker on a GPU, this one hardly needs the processor.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final, cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

import worker.app
from worker.engine.model import Model

STEP_S: Final = float(os.environ.get("BENCH_STEP_MS", "100")) / 1000
DECODING_STEPS: Final = 3
SPREAD: Final = 0.03
LATENTS: Final = 8 * 8
"""Of 64x64 pixels."""


def serve(load: Callable[..., Model]) -> None:
    """Have this process' worker load its model by `load`. Exits if the worker no longer loads where it did."""
    if not hasattr(worker.app, "load_model"):
        sys.exit("worker.app has no load_model any more: tell bench/paced.py where a worker loads its model now.")
    worker.app.load_model = load


def pace(model: Model) -> Model:
    """Put the stand-ins into a model; returns the same one."""
    unet, vae = cast("Any", model.unet), cast("Any", model.vae)
    decode = vae.decode

    def forward(sample: torch.Tensor, *_: object, return_dict: bool = True, **__: object) -> object:
        _sleep_until(time.monotonic() + _took_s(sample))
        noise = torch.zeros_like(sample)
        return UNet2DConditionOutput(sample=noise) if return_dict else (noise,)

    def paced_decode(latents: torch.Tensor, *args: object, **kwargs: object) -> object:
        until = time.monotonic() + DECODING_STEPS * _took_s(latents)
        image = decode(latents, *args, **kwargs)
        _sleep_until(until)
        return image

    unet.forward = forward
    vae.decode = paced_decode
    return model


def _took_s(latents: torch.Tensor) -> float:
    """How long one forward takes for (B, C, h, w) latents."""
    rows, _, height, width = latents.shape
    return STEP_S * rows * height * width / LATENTS * random.gauss(1, SPREAD)


def _sleep_until(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))
