"""`python -m worker`: serve one model until told to stop. Settings come from the environment."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import time
import warnings
from typing import Any, cast

from celery import signals  # pyright: ignore[reportMissingTypeStubs]: celery ships no types
from celery.platforms import SecurityWarning  # pyright: ignore[reportMissingTypeStubs]
from pydantic import ValidationError

from shared.errors import DarkroomError
from shared.settings import Settings, wrong_settings


def main() -> int:
    """Run a worker; the process' exit code."""
    argparse.ArgumentParser(prog="python -m worker", description=__doc__).parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"The worker does not start:\n{wrong_settings(error)}\n")
        return 2
    configure_logging(settings.log_level)
    gc.disable()  # it would go through the libraries' objects again and again: a sixth of the start
    from worker.app import Worker  # noqa: PLC0415 (torch takes seconds to import)

    gc.freeze()  # what was imported stays, so no later collection need look at it
    gc.enable()
    try:
        worker = Worker(settings)
    except DarkroomError as error:
        logging.getLogger("worker").critical("%s", error)
        return 1
    return worker.run()


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


if __name__ == "__main__":
    exit_code = main()
    logging.shutdown()
    sys.stdout.flush()
    # All is handed back by now. An upload that hangs in its socket must not keep the process.
    os._exit(exit_code)
