"""Everything that is measured in minutes: `make bench`. `bench/README.md` has the last tables."""

from __future__ import annotations

from bench import engine

engine.main(pairs=20)
