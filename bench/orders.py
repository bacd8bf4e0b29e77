"""What is drawn: the same lists of pictures for every way, drawn by lot from a seed.

Everything is said, so that no way's default decides: each scheduler is the checkpoint's own, which is Euler.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from bench.subject import Subject
from shared.contract import JobRequest
from shared.generation import Scheduler
from shared.lanes import Lane

_ONLY_WITH_SEED: Final = "deterministic"


@dataclass(frozen=True, slots=True)
class Order:
    """One picture."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int

    def request(self, *, lane: Lane = Lane.INTERACTIVE, alone: bool = True) -> JobRequest:
        """Say it as a job that is drawn even if it was drawn before.

        With `alone` as a job with a seed is by default: bit for bit the stock pipeline's picture. Without, it may share
        forwards with others, if the product lets a job say so.
        """
        freed = {} if alone or _ONLY_WITH_SEED not in JobRequest.model_fields else {_ONLY_WITH_SEED: False}
        return JobRequest.model_validate(
            {**asdict(self), "scheduler": Scheduler.EULER, "lane": lane, "reuse": False, **freed}
        )


def like_default(subject: Subject, count: int, *, seed: int = 0) -> list[Order]:
    """Pictures with the model's own steps and guidance."""
    card, defaults = subject.card, subject.card.defaults
    return [
        Order(
            prompt=card.example_prompts[at % len(card.example_prompts)],
            negative_prompt=defaults.negative_prompt,
            width=subject.size.width,
            height=subject.size.height,
            num_inference_steps=defaults.num_inference_steps,
            guidance_scale=defaults.guidance_scale,
            seed=seed + at,
        )
        for at in range(count)
    ]


def mixed(subject: Subject, count: int, *, seed: int = 0) -> list[Order]:
    """Pictures of half to one and a half times the model's steps, one in four without guidance."""
    dice = random.Random(seed)
    defaults = subject.card.defaults
    choices = tuple(max(1, round(defaults.num_inference_steps * part)) for part in (0.5, 0.75, 1.0, 1.5))
    guidance = defaults.guidance_scale
    scales = (guidance, 0.75 * guidance, 1.25 * guidance, 1.0)
    return [
        replace(order, num_inference_steps=dice.choice(choices), guidance_scale=dice.choice(scales))
        for order in like_default(subject, count, seed=seed)
    ]


def short(subject: Subject, count: int, *, steps: int = 2, seed: int = 0) -> list[Order]:
    """Pictures of few steps: for counting jobs, not for looking at."""
    return [replace(order, num_inference_steps=steps) for order in like_default(subject, count, seed=seed)]


def to_line(orders: Iterable[Order]) -> str:
    """Write them as one line of JSON."""
    return json.dumps([asdict(order) for order in orders])


def from_line(line: str) -> Sequence[Order]:
    """Read what `to_line` wrote."""
    return [Order(**order) for order in json.loads(line)]
