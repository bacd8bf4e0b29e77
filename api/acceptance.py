"""How jobs are accepted: once, however often they are sent, and not at all if their pictures could not be stored."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from api.catalog import card_for, models
from api.context import EXCHANGE, request_id
from api.deps import Gateway
from api.digests import once_to_submit, result_of
from api.intake import Draft, draft
from api.openapi import REPLAYED
from api.terms import room_in_s, terms_of, terms_of_line, too_costly
from shared.batches import Line, Place, new_batch_id
from shared.compatibility import CONTRACT
from shared.contract import JobBody
from shared.errors import FieldError, InvalidRequest, NoModel, QueueUnavailable, TooMuch
from shared.generation import SEED_BITS, ModelCard
from shared.jobs import Job, NewJob, Once, Submission, Submitted, Tenant, Terms, TraceParent, new_job_id
from shared.scripts import Fleet, Sealed, fill_batch, fleet, outlook, recall, seal_batch, submit, submit_line

AWAKE: Final = frozenset({Submission.REPEATED, Submission.JOINED, Submission.REUSED})
"""What needs no worker, or has called one before."""
LINES_A_CALL: Final = 250
"""Of a batch, put down in Redis at once: others are served between."""


async def accepted_before(gateway: Gateway, tenant: Tenant, once: Once | None) -> Job | None:
    """Find the job of a request that is sent again, before anything is asked that only a new job needs.

    Raises IdempotencyMismatch, QueueUnavailable.
    """
    return None if once is None else await gateway.run(recall(tenant, once))


async def accept_body(gateway: Gateway, tenant: Tenant, body: bytes, key: str | None) -> Submitted:
    """Make a job of `POST /v1/jobs`' body, once for an idempotency key. Raises what `accept_request` does."""
    asked = draft(body)
    once = None if key is None else once_to_submit(key, asked.request)
    # A request that is wrong was not accepted before either.
    before = None if asked.wrong else await accepted_before(gateway, tenant, once)
    if before is not None:
        gateway.traces.repeated(before)
        return Submitted(before, Submission.REPEATED)
    try:
        return await accept_request(gateway, tenant, asked, await gateway.outlooks.fleet(), once=once)
    except (NoModel, InvalidRequest):  # by what was known a moment ago: a worker may have come
        return await accept_request(gateway, tenant, asked, await gateway.run(fleet()), once=once)


def headers_of(submitted: Submitted, body: JobBody) -> dict[str, str]:
    """Say where an accepted job is to be read, and whether it was accepted before."""
    said = {"Location": body.urls.get}
    return said | {REPLAYED: "true"} if submitted.how is Submission.REPEATED else said


async def accept_request(
    gateway: Gateway, tenant: Tenant, asked: Draft, served: Fleet, *, once: Once | None = None
) -> Submitted:
    """Make a job of a request and take it into the queue. Raises InvalidRequest, NoModel and what `accept` does."""
    card, params = asked.complete(
        served, drawn_seed=secrets.randbits(SEED_BITS), max_cost=gateway.settings.max_job_cost
    )
    request = asked.request
    EXCHANGE.get().about.private = (params.prompt, params.negative_prompt)
    route = await gateway.routes.find(served, card.id, params, request.lane)
    new = NewJob(
        new_job_id(),
        tenant,
        route.pool,
        params,
        request.metadata,
        request.lane,
        route.work_ms,
        request.cancel_after,
        asked=request_id(),
        roams=route.roams,
    )
    return await accept(gateway, new, card, served, once=once, may_reuse=request.reuse)


async def accept(
    gateway: Gateway,
    new: NewJob,
    card: ModelCard,
    served: Fleet,
    *,
    once: Once | None,
    may_reuse: bool,
    again: TraceParent | None = None,
) -> Submitted:
    """Take a job into the queue and wake a worker for it; `again` is the trace of the job that it tries again.

    Raises StoreUnavailable, QueueUnavailable, QueueFull and TenantQueueFull; of those only QueueUnavailable may be
    wrong in that nothing was accepted, and is put right later. Raises IdempotencyMismatch too.
    """
    # A picture that could not be stored is work for nothing.
    await gateway.storage.require()
    result = _result(gateway, card, new, may_reuse=may_reuse)
    terms = await _terms(gateway, new.tenant)
    try:
        with gateway.traces.offered(new, again=again) as offer:
            submitted = await gateway.run(submit(offer.new, terms, once=once, result=result))
            offer.took(submitted)
    except QueueUnavailable:
        gateway.unanswered.add(new.id, new.tenant)  # it may have been accepted all the same
        raise
    except TooMuch as error:
        room = room_in_s(await gateway.run(outlook(new.pool)), _ready_in(served, new.pool))
        raise type(error)(error.waiting, room) from None
    EXCHANGE.get().about.job = submitted.job.id
    if submitted.how not in AWAKE and not submitted.all_called:
        await gateway.waker.wake(new.pool)
    return submitted


async def accept_again(gateway: Gateway, old: Job, *, once: Once | None) -> Submitted:
    """Take an ended job into the queue once more, as a new one of its tenant's; a deadline is not taken over.

    Raises InvalidRequest if it costs more than may be asked for by now, NoModel, and what `accept` does.
    """
    if old.needs > CONTRACT:  # this gateway has read its parameters without what it doesn't know
        raise InvalidRequest((FieldError("job", "A newer gateway made this job: ask that one, or ask anew."),))
    served = await gateway.run(fleet())
    card = card_for(served, old.pool if old.is_pinned else old.model)
    if wrong := too_costly(old.params, gateway.settings.max_job_cost):
        raise InvalidRequest(wrong)
    route = await gateway.routes.find(served, card.id, old.params, old.lane)
    new = NewJob(
        new_job_id(),
        old.tenant,
        route.pool,
        old.params,
        old.metadata,
        old.lane,
        route.work_ms,
        retry_of=old.id,
        asked=request_id(),
        roams=route.roams,
    )
    return await accept(gateway, new, card, served, once=once, may_reuse=old.may_reuse, again=old.trace)


async def accept_line(gateway: Gateway, tenant: Tenant, line: Line, place: Place, served: Fleet) -> Submitted | None:
    """Take the job of a batch's line into the queue; None if it is another line's turn. Wakes nobody.

    Raises StoreUnavailable, QueueUnavailable, QueueFull and TenantQueueFull. If the queue did not answer, the line may
    be a job: offered again, it is passed over.
    """
    await gateway.storage.require()
    route = await gateway.routes.find(served, line.model, line.params, line.lane)
    new = replace(line.job(tenant), pool=route.pool, work_ms=route.work_ms, roams=route.roams)
    card = next((card for card in (*models(served), *served.cards) if card.id == line.model), None)
    # None if nobody serves it any more, and has not for long.
    result = None if card is None else _result(gateway, card, new, may_reuse=line.may_reuse)
    terms = terms_of_line(await _terms(gateway, tenant))
    with gateway.traces.offered_line(new, batch=place.batch, line=place.line, request=line.trace) as offer:
        submitted = await gateway.run(submit_line(offer.new, terms, place, result=result))
        offer.took(submitted)
    return submitted


async def accept_batch(
    gateway: Gateway, tenant: Tenant, lines: Sequence[str], *, name: str, once: Once | None
) -> Sealed:
    """Take a batch, with its lines in JSON. It is accepted in the last of several calls, and not before.

    Raises IdempotencyMismatch, and QueueUnavailable, which may be wrong in that nothing was accepted, and is put right
    later.
    """
    batch = new_batch_id()
    for before in range(0, len(lines), LINES_A_CALL):
        await gateway.run(fill_batch(batch, lines[before : before + LINES_A_CALL], before=before))
    keep_s = gateway.settings.keep_finished_s
    try:
        return await gateway.run(seal_batch(batch, tenant, name=name, total=len(lines), keep_s=keep_s, once=once))
    except QueueUnavailable:
        gateway.unanswered.add_batch(batch, tenant)
        raise


async def _terms(gateway: Gateway, tenant: Tenant) -> Terms:
    return terms_of(gateway.settings, await gateway.access.limits(tenant))


def _ready_in(served: Fleet, pool: str) -> int:
    return sum(worker.state == "ready" and worker.pool == pool for worker in served.workers)


def _result(gateway: Gateway, card: ModelCard, new: NewJob, *, may_reuse: bool) -> str | None:
    return result_of(card, new.params) if may_reuse and gateway.settings.reuse_results else None
