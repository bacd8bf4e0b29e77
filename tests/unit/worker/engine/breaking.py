"""A UNet that fails as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from worker.engine.model import Model

Raises = Callable[[torch.Tensor], Exception | None]


def break_unet(monkeypatch: pytest.MonkeyPatch, model: Model, raises: Raises) -> list[int]:
    """Let the UNet raise what `raises` returns for its input; collects the batch sizes of whole forwards."""
    unet = cast("Any", model.unet)
    forward = unet.forward
    batches: list[int] = []

    def guarded(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        error = raises(sample)
        if error is not None:
            raise error
        batches.append(len(sample))
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(unet, "forward", guarded)
    return batches


def no_room() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
