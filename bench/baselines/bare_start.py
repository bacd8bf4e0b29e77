"""What row 7 compares a worker's start with: import, load, move to the device, say so, and wait to be ended.

python -m bench.baselines.bare_start CHECKPOINT
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from bench.baselines.stock import Stock

if __name__ == "__main__":
    stock = Stock(Path(sys.argv[1]))
    print("loaded", flush=True)
    signal.pause()
