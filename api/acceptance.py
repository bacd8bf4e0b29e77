"""How a job is accepted: once, however often it is sent, and not at all if its pictures could not be stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from api.catalog import ready_workers
from api.deps import Gateway
from api.digests import result_of
from api.estimate import expected_ms
from api.terms import room_in_s, terms_of
from shared.errors import QueueUnavailable, TooMuch
from shared.generation import ModelCard
from shared.jobs import Job, NewJob, Once, Submission, Submitted, Tenant
from shared.scripts import Fleet, outlook, recall, submit

AWAKE: Final = frozenset({Submission.REPEATED, Submission.JOINED, Submission.REUSED})
"""What needs no worker, or has called one before."""


async def accepted_before(gateway: Gateway, tenant: Tenant, once: Once | None) -> Job | None:
    """Find the job of a request that is sent again, before anything is asked that only a new job needs.

    Raises IdempotencyMismatch, QueueUnavailable.
    """
    return None if once is None else await gateway.run(recall(tenant, once))


async def accept(
    gateway: Gateway, new: NewJob, card: ModelCard, served: Fleet, *, once: Once | None, may_reuse: bool
) -> Submitted:
    """Take a job into the queue and wake a worker for it.

    Raises StoreUnavailable, QueueUnavailable, QueueFull and TenantQueueFull; of those only QueueUnavailable may be
    wrong in that nothing was accepted, and is put right later. Raises IdempotencyMismatch too.
    """
    # A picture that could not be stored is work for nothing.
    await gateway.storage.require()
    settings = gateway.settings
    new = replace(
        new, work_ms=expected_ms(new.params, [worker for worker in served.workers if worker.model == card.id])
    )
    result = result_of(card, new.params) if may_reuse and settings.reuse_results else None
    try:
        submitted = await gateway.run(submit(new, terms_of(settings), once=once, result=result))
    except QueueUnavailable:
        gateway.unanswered.add(new.id, new.tenant)  # it may have been accepted all the same
        raise
    except TooMuch as error:
        room = room_in_s(await gateway.run(outlook(card.id)), ready_workers(served, card))
        raise type(error)(error.waiting, room) from None
    if submitted.how not in AWAKE:
        await gateway.waker.wake(new.model)
    return submitted
