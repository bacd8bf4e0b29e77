"""Keeps the engine one step ahead of the device, not more: a row that comes must not wait behind steps in its queue."""

from __future__ import annotations

from typing import final

import torch


@final
class Throttle:
    """On CUDA, work is queued and done later; elsewhere it is done when a call returns. Not yet measured on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._is_queued = device.type == "cuda"
        self._before: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Having queued a step, wait until the one before it is done: the device has one to do meanwhile."""
        if not self._is_queued:
            return
        queued = torch.cuda.Event()
        queued.record()
        if self._before is not None:
            self._before.synchronize()
        self._before = queued
