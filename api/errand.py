"""An errand: a job whose caller waits for the pictures and is told of no job.

The dialects' way through the gateway. The job is one of `/v1/jobs` like any other. If its caller leaves before it has
ended, it is canceled, since nobody could ask for it again: who hangs up wants to pay no more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final, Self, TypeVar, final

from anyio import CancelScope
from starlette.requests import Request

from api.acceptance import accept_request
from api.deps import Gateway
from api.errors import STATUSES
from api.intake import Draft
from api.stays import Stay
from api.streams import Stream
from api.telling import Event, Sign
from api.waiting import leaves
from shared.contract import JobBody, JobRequest
from shared.errors import GatewayStopping, JobCanceled, JobNotFound, ModelError, QueueUnavailable, leaf_of
from shared.events import Gone, Pictured
from shared.jobs import Image, Job, JobStatus, Tenant
from shared.scripts import Fleet, cancel

T = TypeVar("T")

OUTAGE_S: Final = 30.0
"""For so long a queue that does not answer is asked again."""
AGAIN_S: Final = 0.5


@final
class Errand:
    """A job under way for one open connection. Use it as a context, or close it: else an abandoned job is drawn."""

    def __init__(self, gateway: Gateway, job: Job) -> None:
        self._gateway = gateway
        self.job = job
        """As it was last seen."""

    @classmethod
    async def begin(cls, gateway: Gateway, tenant: Tenant, request: JobRequest, served: Fleet) -> Self:
        """Submit the job. Raises what `accept_request` does."""
        submitted = await accept_request(gateway, tenant, Draft(request, ()), served)
        return cls(gateway, submitted.job)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel the job unless it has ended."""
        if self.job.status.is_terminal:
            return
        job = self.job
        with CancelScope(shield=True), suppress(JobNotFound):
            try:
                self.job = await self._gateway.run(cancel(job.id, job.tenant))
            except QueueUnavailable:
                self._gateway.unanswered.add(job.id, job.tenant)  # taken back once the queue answers

    async def look(self) -> Job:
        """Read the job.

        Raises JobNotFound once somebody has deleted it, QueueUnavailable after `OUTAGE_S`, and GatewayStopping if the
        gateway stops meanwhile.
        """
        self.job = await self._patiently(lambda: self._gateway.read(self.job.id, self.job.tenant))
        return self.job

    async def wait(self, request: Request, stay: Stay) -> None:
        """Wait until the job has ended, for as long as the caller does.

        Raises what it ended with if that is not success, KeyRefused once the stay is over, GatewayStopping, and what
        `look` does.
        """
        await self._gateway.changes.awaited(
            self.job.id, self.look, is_due=_has_ended, within_s=math.inf, leaves=leaves(request, stay)
        )
        stay.require()
        if not self.job.status.is_terminal:
            # If the caller has left, nobody but the log hears of it.
            raise GatewayStopping if self._gateway.changes.is_closed else JobCanceled
        self.require_success()

    async def events(self, stay: Stay) -> AsyncGenerator[Event | Sign]:
        """Follow the job to its end, with sketches; `job` is up to date with each picture, and with the end.

        Raises KeyRefused once the stay is over, GatewayStopping, and what `look` does.
        """

        async def opened() -> tuple[Event | Sign, Stream]:
            stream = self._gateway.streams.of_job(
                self.job.id, self.job.tenant, stay=stay, previews=True, outage_s=OUTAGE_S
            )
            return await anext(stream), stream

        sign, stream = await self._patiently(opened)
        yield sign
        async with aclosing(stream):
            async for event in stream:
                if isinstance(event, Event) and isinstance(event.body, Pictured | JobBody | Gone):
                    await self.look()
                yield event
        stay.require()
        if not self.job.status.is_terminal:
            raise GatewayStopping

    def require_success(self) -> None:
        """Raise what the ended job ended with, unless it has succeeded."""
        job = self.job
        if job.status is JobStatus.SUCCEEDED:
            return
        if job.error is None:
            raise JobCanceled(f"Job {job.id} was {job.status} before it was done.")
        leaf = leaf_of(job.error.code)
        raise (leaf if leaf and leaf in STATUSES else ModelError).quoted(job.error.message)

    async def pictures(self) -> tuple[bytes, ...]:
        """Fetch the files of all pictures, in their order. Raises StoreUnavailable, ImageNotFound."""
        return tuple(await asyncio.gather(*(self.picture(image) for image in self.job.images)))

    async def picture(self, image: Image) -> bytes:
        """Fetch a picture's file. Raises StoreUnavailable, ImageNotFound."""
        storage = self._gateway.storage
        return b"".join([chunk async for chunk in storage.stream(await storage.open(image.key))])

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the queue again and again while it is away for a moment. Raises what `look` does."""
        until = time.monotonic() + OUTAGE_S
        while True:
            try:
                return await ask()
            except QueueUnavailable:
                if self._gateway.changes.is_closed:
                    raise GatewayStopping from None
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(AGAIN_S)


def _has_ended(job: Job) -> bool:
    return job.status.is_terminal
