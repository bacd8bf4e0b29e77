"""The Python client of the gateway: submit, watch, fetch. Needs httpx2 and pydantic only.

    with Client("http://127.0.0.1:8000") as client:
        client.generate("a lighthouse in a storm", seed=7).save("lighthouse.png")

What the gateway refuses comes back as the same classes of `shared.errors` that it raised. One client
serves many threads. Reading is tried again when a connection breaks, and so are `submit` and `retry`: the idempotency
key that they send keeps them from making two jobs.
"""

from shared.client.client import DEFAULT_URL, OUTAGE_S, Client, Params
from shared.client.result import Picture, Result, failure_of

__all__ = ["DEFAULT_URL", "OUTAGE_S", "Client", "Params", "Picture", "Result", "failure_of"]
