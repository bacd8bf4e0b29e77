"""How much of its device's memory is in use. Knows torch's devices and Linux' processes, nothing of jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import torch

from shared.contract import Memory

_STATM: Final = Path("/proc/self/statm")


def memory_now() -> Memory | None:
    """Tell what is in use of the GPU, or on a CPU by this process of the machine; None where that can't be told.

    Safe from any thread, though a GPU's driver may keep it waiting: a GPU that nobody has used yet is not woken.
    """
    if torch.cuda.is_available():
        if not torch.cuda.is_initialized():
            return None
        try:
            free, total = torch.cuda.mem_get_info(0)
        except torch.AcceleratorError:  # the device is lost, which the engine tells
            return None
        return Memory(used_bytes=total - free, total_bytes=total)
    try:
        resident_pages = int(_STATM.read_text("ascii").split()[1])
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    return Memory(used_bytes=resident_pages * page, total_bytes=pages * page)
