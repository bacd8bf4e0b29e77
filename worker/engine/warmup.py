"""The first forward is the slowest: kernels load, memory is reserved. Better before the first job."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import torch

from shared.errors import GenerationFailed
from shared.generation import GenerationParams, Size
from worker.engine.batches import keep, measure, recall, sizes_to_measure
from worker.engine.engine import Engine
from worker.engine.events import PromptRead, RowFailed, RowFinished, RowId, RowStepped
from worker.engine.failures import attempt
from worker.engine.model import Model
from worker.engine.prompts import PromptEncoder
from worker.engine.row import Row, predict_noise

T = TypeVar("T")

AGAIN_BELOW_S: Final = 20.0
"""Where the first picture took longer, a device is so slow that loading kernels is little of it."""


@dataclass(frozen=True, slots=True)
class Warmth:
    """A picture that was drawn with a warm engine: a first measure of its speed."""

    params: GenerationParams
    steps_ms: tuple[float, ...]
    """The first step with encoding the prompt, the last with decoding."""
    seconds: float
    """That warming took in all."""


def warm(engine: Engine, *, num_inference_steps: int = 3) -> Warmth:
    """Draw a picture of the default size and throw it away, then another to see how long that takes.

    On CUDA, where kernels are chosen and loaded by the shape of what they work on, also one of each other kind.

    Call it in the thread that will run the engine, before any row is admitted. Raises the
    GenerationFailed that a picture met: a worker that can't draw must not take jobs.
    """
    defaults = engine.model.card.defaults
    params = _params(engine.model, defaults.size, defaults.guidance_scale, num_inference_steps)
    begun = time.monotonic()
    steps_ms = _draw(engine, params)
    engine.prepare_previews()
    if sum(steps_ms) < 1000 * AGAIN_BELOW_S:
        steps_ms = _draw(engine, params)
    if engine.model.device.type == "cuda":
        warm_other_kinds(engine)
    return Warmth(params, steps_ms, time.monotonic() - begun)


def warm_other_kinds(engine: Engine) -> None:
    """Draw one step of each size that the card names, and with each adapter. Raises as `warm` does."""
    defaults = engine.model.card.defaults
    for ratio in engine.model.card.aspect_ratios:
        if ratio.size != defaults.size:
            _draw(engine, _params(engine.model, ratio.size, defaults.guidance_scale, 1))
    for adapter in engine.model.adapters:
        params = _params(engine.model, defaults.size, guidance_scale=0.0, num_inference_steps=1)
        _draw(engine, params.model_copy(update={"adapter": adapter}))


def settle_batches(engine: Engine, folder: Path, *, most: int) -> None:
    """Find how many rows of each size are worth drawing at once, at most `most`; remember it in `folder`.

    Measures only what no earlier start has, of this model on this device. In the engine's thread, while it is idle.
    Raises the GenerationFailed of a forward that fails for want of anything but memory.
    """
    model = engine.model
    file = folder / f"batches-{_digest_of(model)}.json"
    known = recall(file, most=most)
    if known is None:
        known = measure(sizes_to_measure(model.card) if most > 1 else (), _forwards_of(model), most=most)
        keep(file, known)
    engine.batches = known


def _forwards_of(model: Model) -> Callable[[Size, int], Callable[[], None]]:
    encoder = PromptEncoder(model)

    def made(size: Size, samples: int) -> list[Row]:
        params = _params(model, size, guidance_scale=0.0, num_inference_steps=1)
        conditioning = encoder.condition(params)
        return [Row(RowId(""), params, at, model=model, conditioning=conditioning) for at in range(samples)]

    def prepare(size: Size, samples: int) -> Callable[[], None]:
        rows = _done(lambda: made(size, samples))

        @torch.inference_mode()
        def forward() -> None:
            _done(lambda: predict_noise(model, rows))
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)

        return forward

    return prepare


def _done(work: Callable[[], T]) -> T:
    outcome = attempt(work)
    if isinstance(outcome, GenerationFailed):
        raise outcome
    return outcome


def _digest_of(model: Model) -> str:
    """Tell apart what takes another time."""
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else _processor()
    here = (device, torch.__version__, torch.get_num_threads(), model.tuning)
    facts = (model.card.id, model.card.revision, *here)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Name the processor as well as the system can: machines of the same architecture may share their notes."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join((platform.machine(), named[0] if named else platform.processor()))


def _params(model: Model, size: Size, guidance_scale: float, num_inference_steps: int) -> GenerationParams:
    defaults = model.card.defaults
    return GenerationParams(
        prompt="warm-up",
        negative_prompt=defaults.negative_prompt,
        width=size.width,
        height=size.height,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        seed=0,
        scheduler=defaults.scheduler,
    )


def _draw(engine: Engine, params: GenerationParams) -> tuple[float, ...]:
    """Draw a picture for nothing; how long each step took, in ms."""
    engine.admit(RowId("warm-up"), params, 0)
    steps_ms: list[float] = []
    while not engine.is_idle:
        for event in engine.step():
            match event:
                case RowFailed():
                    raise event.error
                case PromptRead():
                    pass  # its time is in the first step's
                case RowStepped():
                    steps_ms.append(1000 * event.seconds)
                case RowFinished():
                    begun = time.monotonic()
                    event.picture.pixels()
                    steps_ms[-1] += 1000 * (time.monotonic() - begun)
    return tuple(steps_ms)
