"""A worker without an engine that draws real files: steps, sketches, pictures with their parameters inside."""

from __future__ import annotations

import io
import secrets
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import numpy as np
from PIL import Image

from shared.connection import run
from shared.errors import LeaseLost
from shared.generation import AspectRatio, Defaults, GenerationParams, ModelCard, Preset, Scheduler, Size, SizeRule
from shared.jobs import LeaseToken
from shared.provenance import Provenance
from shared.scripts import Claimed, claim
from shared.version import VERSION
from tests.integration.serving import LEASE_S, Hand
from worker.images import encode_image

SQUARE: Final = Size(width=64, height=64)

STUDIO_CARD: Final = ModelCard(
    id="test/studio",
    title="Studio",
    revision="0123456789abcdef",
    description="For tests.",
    aspect_ratios=(
        AspectRatio(name="Square 1:1", size=SQUARE),
        AspectRatio(name="Landscape 3:2", size=Size(width=96, height=64)),
    ),
    custom_sizes=SizeRule(min_side=32, max_side=128, multiple_of=8, max_pixels=128 * 128),
    schedulers=(Scheduler.EULER, Scheduler.EULER_ANCESTRAL, Scheduler.DPMPP_2M_KARRAS),
    defaults=Defaults(
        size=SQUARE,
        num_inference_steps=8,
        guidance_scale=2.0,
        scheduler=Scheduler.EULER,
        preset="quality",
    ),
    max_steps=50,
    presets=tuple(
        Preset(
            name=name,
            title=name,
            description="",
            num_inference_steps=steps,
            guidance_scale=2.0,
            scheduler=Scheduler.EULER,
        )
        for name, steps in (("quality", 8), ("draft", 2), ("fast", 4))
    ),
)


def file_of(params: GenerationParams, index: int) -> bytes:
    """Make the file of a job's picture: plain, of a color that its seed chooses."""
    color = np.random.default_rng(params.variation_seed_of(index) or params.seed_of(index)).integers(
        0, 255, 3, dtype=np.uint8
    )
    pixels = np.broadcast_to(color, (params.height, params.width, 3)).copy()
    card = STUDIO_CARD
    software = f"Darkroom {VERSION}"
    provenance = Provenance.of(params, index, model=card.id, model_revision=card.revision, software=software)
    return encode_image(pixels, provenance).data


def sketch_of(step: int) -> bytes:
    """Make a JPEG, another one for each step."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (step * 20 % 256, 0, 0)).save(file, "JPEG")
    return file.getvalue()


class Artist(threading.Thread):
    """Works off whatever comes until the block ends."""

    def __init__(self, hand: Hand, *, step_s: float = 0.0, fails: tuple[str, str] | None = None) -> None:
        super().__init__(name="artist")
        self._hand = hand
        self._step_s = step_s
        self._fails = fails
        self._is_over = threading.Event()
        self.may_go_on = threading.Event()
        """Clear it to hold a job after its first step."""
        self.may_go_on.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        self.may_go_on.set()
        self.join(20)
        assert not self.is_alive()

    def run(self) -> None:
        hand = self._hand
        while not self._is_over.is_set():
            token = LeaseToken(secrets.token_hex(8))
            taken = run(hand.redis, claim(hand.card.id, hand.worker, token, lease_s=LEASE_S))
            if taken is None:
                time.sleep(0.01)
            else:
                with suppress(LeaseLost):  # canceled
                    self._work(taken)

    def _work(self, taken: Claimed) -> None:
        params = taken.job.params
        for step in range(1, taken.job.steps + 1):
            self._hand.show(taken, step, sketch_of(step))
            time.sleep(self._step_s)
            self.may_go_on.wait()
        if self._fails:
            self._hand.fail(taken, *self._fails)
            return
        for index in range(params.num_images):
            self._hand.draw(taken, index, file_of(params, index))
        self._hand.finish(taken)
