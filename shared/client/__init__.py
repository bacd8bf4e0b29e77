"""The Python client of the gateway: submit, watch, fetch. Needs httpx2 and pydantic only.

    with Client("http://127.0.0.1:8000") as client:
        client.generate("a lighthouse in a storm", seed=7).save("lighthouse.png")

    async with AsyncClient("http://127.0.0.1:8000") as client:
        (await client.generate("a lighthouse in a storm", seed=7)).save("lighthouse.png")

What the gateway refuses comes back as the same classes of `shared.errors` that it raised. One `Client`
serves many threads, one `AsyncClient` many tasks. Reading is tried again when a connection breaks, and so are `submit`
and `retry`: the idempotency key that they send keeps them from making two jobs.

Each verb is a flow (`steps`), which knows no I/O; `drivers` take its steps by blocking or by awaiting.
"""

from shared.client.async_client import AsyncClient
from shared.client.client import DEFAULT_URL, Client
from shared.client.patience import OUTAGE_S
from shared.client.result import Picture, Result, failure_of
from shared.client.verbs import Order, Params

__all__ = [
    "DEFAULT_URL",
    "OUTAGE_S",
    "AsyncClient",
    "Client",
    "Order",
    "Params",
    "Picture",
    "Result",
    "failure_of",
]
