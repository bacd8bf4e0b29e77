"""How a tenant speaks to the service: over HTTP, or, while the gateway has no keys, past it to the queue.

Everything of the system that chaos has to know by name, apart from its processes, stands here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar, final

import httpx2

from shared import scripts
from shared.call import Call
from shared.client import Client
from shared.connection import connect, run
from shared.contract import JobBody
from shared.errors import GatewayUnavailable
from shared.generation import GenerationRequest, ModelCard
from shared.jobs import LOCAL_TENANT, Job, JobId, NewJob, Submitted, Tenant, Terms, image_key, new_job_id
from shared.settings import Settings
from tests.chaos.ledger import Order, Sighting, Stored

T = TypeVar("T")

PAGE: Final = 100
ORDER: Final = "order"
"""The metadata's key for the order's number."""
TIMEOUT: Final = httpx2.Timeout(10.0, connect=1.0)


class Door(Protocol):
    """One tenant's way in. Every method raises a DarkroomError; for many threads."""

    @property
    def tenant(self) -> str:
        """Whose door it is."""
        ...

    def submit(self, order: Order) -> Sighting:
        """Place an order; returning is a promise."""
        ...

    def cancel(self, job_id: str) -> Sighting:
        """Cancel a job; the answer shows how it stands then."""
        ...

    def look(self, job_id: str) -> Sighting:
        """Read a job."""
        ...

    def look_at_all(self) -> Iterator[Sighting]:
        """Read all of the tenant's jobs."""
        ...

    def close(self) -> None:
        """Give up the connections."""
        ...


@final
class GatewayDoor:
    """The tenant `local`, over HTTP, at several gateways in turn."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.tenant: str = LOCAL_TENANT
        self._clients = [Client(url, timeout=TIMEOUT) for url in urls]
        self._turn = itertools.count()

    def submit(self, order: Order) -> Sighting:
        job = self._next().submit(
            "chaos",
            num_inference_steps=order.steps,
            num_images=order.num_images,
            seed=order.seed,
            metadata={ORDER: str(order.number)},
        )
        return self._seen(job)

    def cancel(self, job_id: str) -> Sighting:
        return self._seen(self._any(lambda client: client.cancel(job_id)))

    def look(self, job_id: str) -> Sighting:
        return self._seen(self._any(lambda client: client.job(job_id)))

    def look_at_all(self) -> Iterator[Sighting]:
        cursor: str | None = None
        while True:
            page = self._any(lambda client, cursor=cursor: client.jobs(cursor=cursor, limit=PAGE))
            yield from map(self._seen, page.data)
            cursor = page.next_cursor
            if cursor is None:
                return

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _next(self) -> Client:
        return self._clients[next(self._turn) % len(self._clients)]

    def _any(self, ask: Callable[[Client], T]) -> T:
        """Ask the gateways in turn until one is there; for questions that may be asked twice."""
        for _ in self._clients[1:]:
            try:
                return ask(self._next())
            except GatewayUnavailable:
                continue
        return ask(self._next())

    def _seen(self, job: JobBody) -> Sighting:
        keys = (image_key(LOCAL_TENANT, job.id, image.index, image.output_format) for image in job.images)
        return Sighting(
            job_id=job.id,
            tenant=self.tenant,
            order=int(job.metadata[ORDER]),
            status=job.status,
            version=job.version,
            attempt=job.attempt,
            num_images=job.params.num_images,
            pictures=tuple(Stored(key, image.sha256) for key, image in zip(keys, job.images, strict=True)),
            error=None if job.error is None else job.error.code,
        )


@final
class QueueDoor:
    """Another tenant, by the queue's own scripts. Sends no wake-ups: the sweeps do."""

    def __init__(self, settings: Settings, tenant: str, card: ModelCard) -> None:
        self.tenant = tenant
        self._owner = Tenant(tenant)
        self._settings = settings
        self._card = card
        self._redis = connect(settings)

    def submit(self, order: Order) -> Sighting:
        return _seen(run(self._redis, submit_call(self._settings, self._owner, self._card, order)).job)

    def cancel(self, job_id: str) -> Sighting:
        return self._run(scripts.cancel(JobId(job_id), self._owner))

    def look(self, job_id: str) -> Sighting:
        return self._run(scripts.read(JobId(job_id), self._owner))

    def look_at_all(self) -> Iterator[Sighting]:
        cursor: str | None = None
        while True:
            page = run(self._redis, scripts.page(self._owner, cursor=cursor, limit=PAGE))
            yield from map(_seen, page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                return

    def close(self) -> None:
        self._redis.close()

    def _run(self, call: Call[Job]) -> Sighting:
        return _seen(run(self._redis, call))


def submit_call(settings: Settings, tenant: Tenant, card: ModelCard, order: Order) -> Call[Submitted]:
    """Submit an order as the gateway does."""
    request = GenerationRequest(
        prompt="chaos", num_inference_steps=order.steps, num_images=order.num_images, seed=order.seed
    )
    params = request.resolve(card, drawn_seed=order.seed)
    new = NewJob(new_job_id(), tenant, card.id, params, {ORDER: str(order.number)})
    return scripts.submit(new, Terms(keep_s=settings.keep_finished_s, max_waiting=settings.max_waiting))


def _seen(job: Job) -> Sighting:
    return Sighting(
        job_id=job.id,
        tenant=job.tenant,
        order=int(job.metadata[ORDER]),
        status=job.status,
        version=job.version,
        attempt=job.attempt,
        num_images=job.params.num_images,
        pictures=tuple(Stored(image.key, image.sha256) for image in job.images),
        error=None if job.error is None else job.error.code,
    )
