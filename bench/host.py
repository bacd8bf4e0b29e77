"""How much of the processor a virtual machine's host gave to others: what the kernel counts as `steal`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_STAT: Final = Path("/proc/stat")
_STEAL: Final = 8


@dataclass(frozen=True, slots=True)
class Stolen:
    """A reading; later ones tell what was taken since."""

    at_s: float
    total_s: float
    """Of all cores, since the start of the machine; 0 where the kernel does not count it."""

    @classmethod
    def now(cls) -> Self:
        """Read the kernel's count, which advances by hundredths of a second."""
        words = _STAT.read_text("ascii").partition("\n")[0].split() if _STAT.exists() else []
        ticks = int(words[_STEAL]) if len(words) > _STEAL else 0
        return cls(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"))

    def share_since(self) -> float:
        """The share of the machine's processor time that was taken since this reading, 0 to 1."""
        now = Stolen.now()
        return (now.total_s - self.total_s) / ((now.at_s - self.at_s) * (os.cpu_count() or 1))
