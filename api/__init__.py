"""The gateway: HTTP in, jobs into the queue, pictures out. `python -m api` serves it."""
