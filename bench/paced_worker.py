"""A worker on the networks of `bench.paced`: real in all but the time of its forwards, which it sleeps away.

    BENCH_STEP_MS=100 python -m bench.paced_worker

So a busy machine disturbs a bench of the queue less. Serves any small model; noise that nobody predicted comes out.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from bench.paced import pace, serve
from worker.__main__ import main
from worker.engine.model import Model, load_model


def load_paced(*args: Any, **kwargs: Any) -> Model:  # noqa: ANN401 (whatever `load_model` takes)
    """Load as a worker does, and put the stand-ins in."""
    return pace(load_model(*args, **kwargs))


if __name__ == "__main__":
    serve(load_paced)
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)
