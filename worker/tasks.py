"""The Celery tasks of a worker, thin: a wake-up starts a shift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from celery import Celery  # pyright: ignore[reportMissingTypeStubs]: celery ships no types

from shared.broker import SHIFT


def register(app: Celery, work_a_shift: Callable[[], None]) -> None:
    """Have wake-ups run `work_a_shift`, in the pool's only thread."""
    cast("Any", app).task(name=SHIFT)(work_a_shift)
