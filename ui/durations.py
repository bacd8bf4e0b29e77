"""Lengths of time as people say them."""

from __future__ import annotations

from typing import Final

_FEW: Final = 10
"""Seconds below which a second digit is said."""
_LONG: Final = 120
"""Seconds, or minutes, that are still said as such."""


def seconds(duration_s: float) -> str:
    """Say a length of time in one unit, or two."""
    if duration_s == 0:
        return "0 s"
    if duration_s < _FEW:
        return f"{duration_s:.2g} s"
    whole = round(duration_s)
    if whole < _LONG:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < _LONG:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
