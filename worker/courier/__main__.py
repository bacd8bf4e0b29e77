"""`python -m worker.courier`: tell webhooks of jobs' ends until told to stop. Settings come from the environment."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from shared.connection import refusal
from shared.settings import Settings, Telemetry, wrong_settings
from shared.tracing import start_tracing
from worker.courier.app import Courier
from worker.logs import configure_logging


def main() -> int:
    """Run a courier; the process' exit code."""
    argparse.ArgumentParser(prog="python -m worker.courier", description=__doc__).parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(f"The courier does not start:\n{wrong_settings(error)}\n")
        return 2
    configure_logging("courier", settings)
    if wrong := refusal(settings):
        sys.stderr.write(f"The courier does not start: {wrong}\n")
        return 2
    tracing = start_tracing("courier", Telemetry())
    try:
        return Courier(settings, tracing).run()
    finally:
        tracing.close()


if __name__ == "__main__":
    sys.exit(main())
