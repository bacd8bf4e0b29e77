"""Pictures on their way: rows that are denoised become pixels beside the steps of the others.

One thread of its own decodes, on CUDA in a stream of its own, so that no step waits for the VAE or for a copy: the
GPU gets the next step while pixels are rounded on the device and cross the bus, a quarter of the bytes of floats.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import final

import torch

from shared.errors import GenerationFailed, OutOfMemory
from worker.engine.decode import decode
from worker.engine.events import DeviceLost, Picture, Pixels
from worker.engine.failures import attempt
from worker.engine.lap import Lap
from worker.engine.model import Model


@final
class Decoder:
    """Turns latents into pictures, one after another, while the engine goes on."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._stream = torch.cuda.Stream(model.device) if model.device.type == "cuda" else None
        self._lost: BaseException | None = None
        self._last: Future[Pixels] | None = None
        self._worked: tuple[float, float | None] = (0.0, None)
        """Seconds, without the picture that it is at, and when that began; read by any thread, so written whole."""
        self._s_per_latent = 0.0
        # Who wants the device alone holds the first while it waits for the second: a lock alone would go to the
        # engine, which takes it step after step.
        self._turnstile = threading.Lock()
        self._device = threading.Lock()

    @property
    def busy_for_s(self) -> float:
        """Since when, in seconds, the picture that is being decoded is at it; 0 if none is."""
        _, begun_at = self._worked
        return 0.0 if begun_at is None else time.monotonic() - begun_at

    @property
    def in_all_s(self) -> float:
        """How long it has decoded in seconds: all pictures together, with the one that it is at."""
        done_s, begun_at = self._worked
        return done_s if begun_at is None else done_s + time.monotonic() - begun_at

    def expected_s(self, latents: torch.Tensor) -> float:
        """Seconds that decoding (1, C, h, w) latents will take, by what the last picture took; 0 before the first."""
        return self._s_per_latent * latents.shape[-2] * latents.shape[-1]

    @contextmanager
    def stepping(self) -> Generator[None]:
        """Have the device for a step: a picture that did not fit beside the steps may be decoded in between."""
        with self._turnstile:
            self._device.acquire()
        try:
            yield
        finally:
            self._device.release()

    def rest(self) -> bool:
        """Wait until no picture is being decoded, and its memory is free; False if that was so already."""
        if self._last is None or self._last.done():
            return False
        wait((self._last,))
        return True

    def decode(self, latents: torch.Tensor) -> Picture:
        """Take (1, C, h, w) latents, finished or still being computed on the caller's stream; returns at once."""
        computed = None
        if self._stream is not None:
            computed = torch.cuda.Event()
            computed.record()
            latents.record_stream(self._stream)
        lap = Lap(is_queued=self._stream is not None)
        self._last = self._thread.submit(self._work, latents, computed, lap)
        return _Decoding(self._last, lap)

    def check(self) -> None:
        """Raise what took the device away, if that happened here."""
        if self._lost is not None:
            raise self._lost

    def _work(self, latents: torch.Tensor, computed: torch.cuda.Event | None, lap: Lap) -> Pixels:
        def whole() -> Pixels:
            with lap.going():
                return decode(self._model, latents)

        def in_tiles() -> Pixels:
            with lap.going():
                return decode(self._model, latents, tiled=True)

        begun_at, done_s = time.monotonic(), self._worked[0]
        self._worked = (done_s, begun_at)
        try:
            with self._on_stream(computed):
                outcome = attempt(whole)
                if isinstance(outcome, OutOfMemory):
                    with self._device_alone():
                        outcome = attempt(whole)
                if isinstance(outcome, OutOfMemory):
                    outcome = attempt(in_tiles)
                took_s = lap.seconds
        except BaseException as error:
            self._lost = error
            raise DeviceLost from error
        finally:
            self._worked = (done_s + time.monotonic() - begun_at, None)
        if isinstance(outcome, GenerationFailed):
            raise outcome
        self._s_per_latent = took_s / (latents.shape[-2] * latents.shape[-1])
        return outcome

    @contextmanager
    def _device_alone(self) -> Generator[None]:
        """Wait for the step that is under way, and hold up the next."""
        with self._turnstile, self._device:
            if self._stream is not None:
                torch.cuda.synchronize(self._model.device)
                torch.cuda.empty_cache()
            yield

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

    def __init__(self, future: Future[Pixels], lap: Lap) -> None:
        self._future = future
        self._lap = lap

    def pixels(self) -> Pixels:
        return self._future.result()

    @property
    def lap(self) -> Lap | None:
        is_there = self._future.done() and self._future.exception() is None
        return self._lap if is_there else None


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

    @property
    def lap(self) -> None:
        """Nobody asks what it took."""
        return None
