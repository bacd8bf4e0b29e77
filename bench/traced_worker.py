"""A real worker that notes when it did what: a line of JSON for each span, into the file `BENCH_TRACE`.

    BENCH_TRACE=trace.jsonl python -m bench.traced_worker

Reads the clock before and after the functions named in `POINTS` and changes nothing else: some microseconds a span. A
point that the worker no longer has is named in the file, so that a picture of the timeline says what it doesn't show.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from bench.spans import MEMORY, MISSING, Span

POINTS: Final = {
    "step": ("worker.engine.engine", "Engine.step"),
    "decode": ("worker.engine.pictures", "decode"),
    "preview": ("worker.engine.engine", "Engine.preview"),
    "encode": ("worker.delivery", "encode_image"),
    "upload": ("worker.storage", "Storage.put"),
    "record": ("worker.delivery", "Delivery._record"),
    "claim": ("worker.counter", "Counter.claim"),
}
"""By the name of the span: the module where the worker looks the function up, and its name there."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The file; for many threads: each line is one write."""

    file: int

    def write(self, line: dict[str, object]) -> None:
        """Append a line."""
        os.write(self.file, (json.dumps(line) + "\n").encode())

    def around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Have calls of `work` noted."""

        @functools.wraps(work)
        def noted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (whatever it takes and gives)
            begun_s = time.time()
            result = None
            try:
                result = work(*args, **kwargs)
                return result
            finally:
                if name != "claim" or result is not None:  # an empty queue is asked often
                    whose = _jobs_in(args, result)
                    self.write(asdict(Span(name, begun_s, time.time(), threading.current_thread().name, whose)))
                if name == "record":
                    self.write({MEMORY: _cuda_peak()})

        return noted


def install(trace: Trace) -> None:
    """Put the clock around every point."""
    for name, (module_name, path) in POINTS.items():
        owner: Any = _module(module_name)
        *outer, last = path.split(".")
        for part in outer:
            owner = getattr(owner, part, None)
        work = getattr(owner, last, None)
        if work is None:
            trace.write({MISSING: name})
        else:
            setattr(owner, last, trace.around(name, work))


def _module(name: str) -> object:
    """Import a module of the worker's; None if it has none of that name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        return None


def _jobs_in(args: tuple[Any, ...], result: object) -> tuple[str, ...]:
    """Find whose work it was by arguments and result: a row, events of a step, a lease, a key of the store."""
    found: dict[str, None] = {}
    results: list[object] = cast("list[object]", result) if isinstance(result, list) else [result]
    for thing in (*args, *results):
        row_id, lease = getattr(thing, "row_id", None), getattr(thing, "lease", thing)
        job_id = getattr(lease, "job_id", None)
        if isinstance(row_id, str):
            found[row_id.rpartition("/")[0]] = None
        elif isinstance(job_id, str):
            found[job_id] = None
        elif isinstance(thing, str) and thing.startswith("images/") and thing.count("/") > 1:
            found[thing.split("/")[2]] = None
        elif isinstance(thing, str) and thing.rpartition("/")[2].isdigit():
            found[thing.rpartition("/")[0]] = None
    return tuple(found)


def _cuda_peak() -> int:
    """Bytes that torch had allocated at most on the device; 0 without one."""
    import torch  # noqa: PLC0415 (seconds)

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def main() -> None:
    """Run a worker with the clock in place."""
    from worker.__main__ import main as work  # noqa: PLC0415

    file = os.open(Path(os.environ["BENCH_TRACE"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    install(Trace(file))
    exit_code = work()
    sys.stdout.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
