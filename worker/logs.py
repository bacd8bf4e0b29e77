"""How a worker's process logs: to stderr, one line an event."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any, cast

from celery import signals  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from celery.platforms import SecurityWarning  # pyright: ignore[reportMissingTypeStubs]


def configure_logging(level: str) -> None:
    """Log to stderr, one line an event, times in UTC; keep Celery from setting its own."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)-8s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
    # Celery warns a worker of root's that pickles could take over the machine: we accept JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    for name in ("celery", "kombu"):  # a line for each wake-up says nothing
        logging.getLogger(name).setLevel(logging.WARNING)
    # When diffusers imports it, it warns that it will read pictures without torchvision: a worker reads none.
    logging.getLogger("transformers.utils.import_utils").setLevel(logging.ERROR)
    cast("Any", signals).setup_logging.connect(_keep_logging, weak=False)


def _keep_logging(**_: object) -> None:
    """Celery configures logging only when nobody listens to this signal."""
