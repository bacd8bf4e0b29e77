"""Pictures on their way: rows that are denoised become pixels beside the steps of the others.

One thread of its own decodes, on CUDA in a stream of its own, so that no step waits for the VAE or for a copy: the
GPU gets the next step while pixels are rounded on the device and cross the bus, a quarter of the bytes of floats.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import final

import torch

from shared.errors import GenerationFailed, OutOfMemory
from worker.engine.decode import decode
from worker.engine.events import DeviceLost, Picture, Pixels
from worker.engine.failures import attempt
from worker.engine.model import Model


@final
class Decoder:
    """Turns latents into pictures, one after another, while the engine goes on."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._stream = torch.cuda.Stream(model.device) if model.device.type == "cuda" else None
        self._lost: BaseException | None = None

    def decode(self, latents: torch.Tensor) -> Picture:
        """Take (1, C, h, w) latents, finished or still being computed on the caller's stream; returns at once."""
        computed = None
        if self._stream is not None:
            computed = torch.cuda.Event()
            computed.record()
            latents.record_stream(self._stream)
        return _Decoding(self._thread.submit(self._work, latents, computed))

    def check(self) -> None:
        """Raise what took the device away, if that happened here."""
        if self._lost is not None:
            raise self._lost

    def _work(self, latents: torch.Tensor, computed: torch.cuda.Event | None) -> Pixels:
        def whole() -> Pixels:
            return decode(self._model, latents)

        def in_tiles() -> Pixels:
            return decode(self._model, latents, tiled=True)

        try:
            with self._on_stream(computed):
                outcome = attempt(whole)
                if isinstance(outcome, OutOfMemory):
                    outcome = attempt(in_tiles)
        except BaseException as error:
            self._lost = error
            raise DeviceLost from error
        if isinstance(outcome, GenerationFailed):
            raise outcome
        return outcome

    @contextmanager
    def _on_stream(self, computed: torch.cuda.Event | None) -> Generator[None]:
        """Work on this thread's stream once the latents are there. Not yet measured on a GPU."""
        if self._stream is None or computed is None:
            yield
            return
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(computed)
            yield


@final
class _Decoding:
    """A picture that this thread pool has, or is about to have."""

    def __init__(self, future: Future[Pixels]) -> None:
        self._future = future

    def pixels(self) -> Pixels:
        return self._future.result()


@final
class Glance:
    """A picture that is computed when somebody looks, in that one's thread."""

    def __init__(self, look: Callable[[], Pixels]) -> None:
        self._look = look

    def pixels(self) -> Pixels:
        """Compute it. Raises GenerationFailed."""
        outcome = attempt(self._look)
        if isinstance(outcome, GenerationFailed):
            raise outcome
        return outcome
