"""Which Darkroom this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """The installed version, or `0+source` where the tree runs without being installed."""
    try:
        return version("darkroom")
    except PackageNotFoundError:
        return "0+source"
