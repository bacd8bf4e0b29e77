"""Which of torch's kernels computes attention: the choice is the process', so the engine's threads take turns with it.

The UNet may be told one (`DARKROOM_ATTENTION`) that the VAE, decoding in another thread, can't use: its one head is 512
wide. Nobody waits while nothing is chosen.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from torch.nn.attention import SDPBackend, sdpa_kernel

_turn: Final = threading.Lock()


@contextmanager
def attending(kernel: SDPBackend | None) -> Generator[None]:
    """Have attention computed by this kernel; None: by torch's own choice, or whatever is chosen around this."""
    if kernel is None:
        yield
        return
    with _turn, cast("Any", sdpa_kernel)(kernel):
        yield


@contextmanager
def torchs_choice() -> Generator[None]:
    """Have attention computed as torch chooses, whatever another thread wants."""
    with _turn:
        yield
