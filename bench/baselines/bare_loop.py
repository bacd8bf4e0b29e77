"""Way 1: a loop over the stock pipeline, one picture after another, kept in memory: no queue, no file, no store.

    python -m bench.baselines.bare_loop CHECKPOINT

Reads lists of orders from stdin, a line each; answers each with a line: when each picture was begun and done (Unix
seconds) and a digest of its pixels, taken when the clock has stopped. Ends when stdin does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image

from bench.baselines.stock import Stock
from bench.orders import from_line
from bench.pictures import digest


def main() -> None:
    """Load, say so, then draw list after list."""
    stock = Stock(Path(sys.argv[1]))
    print(json.dumps({"threads": torch.get_num_threads(), "device": stock.device}), flush=True)
    for line in sys.stdin:
        times: list[float] = [time.time()]
        pictures: list[Image.Image] = []
        for order in from_line(line):
            pictures.append(stock.draw(order))
            times.append(time.time())
        print(json.dumps({"times": times, "digests": [digest(picture) for picture in pictures]}), flush=True)


if __name__ == "__main__":
    main()
