"""How a worker or courier logs: as every part, and what Celery and the libraries that draw say goes that way too."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Final, cast

import celery.apps.worker  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from celery import signals  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from celery.platforms import SecurityWarning  # pyright: ignore[reportMissingTypeStubs]

from shared.logs import configure, take_over
from shared.settings import Settings

THAT_PRINT: Final = ("diffusers", "huggingface_hub", "torch", "transformers")
"""Libraries with handlers of their own."""


def configure_logging(part: str, settings: Settings) -> None:
    """Log as `part`, and keep Celery from setting its own."""
    configure(part, level=settings.log_level, form=settings.log_format)
    # Celery warns a worker of root's that pickles could take over the machine: we accept JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    for name in ("celery", "kombu"):  # a line for each wake-up says nothing
        logging.getLogger(name).setLevel(logging.WARNING)
    # When diffusers imports it, it warns that it will read pictures without torchvision: a worker reads none.
    logging.getLogger("transformers.utils.import_utils").setLevel(logging.ERROR)
    cast("Any", signals).setup_logging.connect(_keep_logging, weak=False)
    # It writes to the descriptor itself, from within a signal's handler, that it is told to stop.
    celery.apps.worker.safe_say = _say_nothing


def take_over_libraries() -> None:
    """Have what draws log as we do; to be called once it is imported."""
    take_over(*THAT_PRINT)


def _say_nothing(*_: object) -> None:
    """The worker's own lines say that it stops."""


def _keep_logging(**_: object) -> None:
    """Celery configures logging only when nobody listens to this signal."""
