"""`python -m worker`: serve one model until told to stop. Settings come from the environment."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys

from pydantic import ValidationError

from shared.errors import DarkroomError
from shared.settings import Settings, Telemetry, wrong_settings
from worker.logs import configure_logging, take_over_libraries


def main() -> int:
    """Run a worker; the process' exit code."""
    argparse.ArgumentParser(prog="python -m worker", description=__doc__).parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"The worker does not start:\n{wrong_settings(error)}\n")
        return 2
    configure_logging("worker", settings)
    gc.disable()  # it would go through the libraries' objects again and again: a sixth of the start
    from shared.connection import refusal  # noqa: PLC0415 (so late that nothing is gone through)

    if wrong := refusal(settings):
        sys.stderr.write(f"The worker does not start: {wrong}\n")
        return 2
    from shared.tracing import start_tracing  # noqa: PLC0415
    from worker.app import Worker  # noqa: PLC0415 (torch takes seconds to import)

    tracing = start_tracing("worker", Telemetry())
    take_over_libraries()
    gc.freeze()  # what was imported stays, so no later collection need look at it
    gc.enable()
    try:
        worker = Worker(settings, tracing)
    except DarkroomError as error:
        logging.getLogger("worker").critical("%s", error)
        return 1
    return worker.run()


if __name__ == "__main__":
    exit_code = main()
    logging.shutdown()
    sys.stdout.flush()
    # All is handed back by now. An upload that hangs in its socket must not keep the process.
    os._exit(exit_code)
