"""Ask a real gateway thousands of things that its document allows or forbids: `make contract ARGS="--cases 20000"`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.contract.cases import SEED, Outcome, run_cases
from tests.contract.stage import stage
from tests.servers import RedisServer, S3Server

CASES: Final = 5000
AN_OPERATION: Final = 100
"""Cases that an operation is asked in a round."""


def main() -> int:
    """Run rounds, each with another seed, until enough cases have run; tell what they found."""
    parser = argparse.ArgumentParser(prog="make contract", description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help="at least (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the first round (%(default)s)")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    began = time.monotonic()
    rounds: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="darkroom-contract-") as folder:
        servers = RedisServer(Path(folder, "redis")), S3Server(Path(folder, "s3"))
        with servers[0] as redis, servers[1] as s3, stage(redis, s3) as gateway:
            while not rounds or sum(one.cases.total() for one in rounds) < asked.cases:
                outcome = run_cases(gateway.url, max_examples=AN_OPERATION, seed=asked.seed + len(rounds))
                print(outcome, flush=True)
                rounds.append(outcome)
                if outcome.failures or not outcome.is_complete:
                    break
    total, failures = sum(one.cases.total() for one in rounds), sum(len(one.failures) for one in rounds)
    print(f"\n{total} cases in {time.monotonic() - began:.0f} s, {failures} failures")
    return 0 if not failures and all(one.is_complete for one in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
