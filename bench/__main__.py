"""Everything that is measured in minutes: `make bench`. `bench/README.md` has the last tables."""

from __future__ import annotations

from bench import engine, estimate, queue

engine.main(pairs=20)
queue.main()
estimate.main([])
