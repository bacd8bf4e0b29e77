"""Which Darkroom this is. pyproject.toml reads it from here, so that it is known in a container too."""

from typing import Final

VERSION: Final = "0.1.0"
