"""`make chaos`: hundreds of jobs while everything fails at random; a table; exit code 1 if a promise was broken."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.course import Plan, run_chaos
from tests.chaos.report import table
from tests.tiny_checkpoint import make_tiny_checkpoint


def main() -> int:
    """Run as told on the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500, help="jobs to be accepted (%(default)s)")
    parser.add_argument("--seconds", type=float, default=180, help="how long faults go on (%(default)s)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="deals the same faults again")
    parser.add_argument("--workers", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--gateways", type=int, default=2, help="(%(default)s)")
    parser.add_argument(
        "--patience", type=float, default=300, help="how long the last job may take after that (%(default)s)"
    )
    parser.add_argument("--logs", type=Path, help="keep the logs, the queue and the pictures in this new folder")
    said = parser.parse_args()
    plan = Plan(
        said.jobs, said.seconds, said.seed, workers=said.workers, gateways=said.gateways, end_limit_s=said.patience
    )
    with tempfile.TemporaryDirectory(prefix="darkroom-chaos-") as scratch:
        folder = said.logs or Path(scratch)
        outcome = run_chaos(plan, folder, make_tiny_checkpoint(Path(scratch) / "tiny"), _say)
    _say(table(outcome))
    for line in (*outcome.alarms, *outcome.breaches, *outcome.late):
        _say(line)
    return 1 if outcome.breaches or outcome.late else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n" if "\n" not in line else f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
