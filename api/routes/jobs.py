"""`/v1/jobs`: submit, read, list, cancel, try again, delete."""

from __future__ import annotations

import secrets
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Final

from anyio import move_on_after
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from api.acceptance import accept, accepted_before
from api.catalog import card_for
from api.deps import Gateway, TheGateway, TheJobId, TheKey, TheTenant
from api.digests import once_to_retry, once_to_submit
from api.intake import draft, read_json
from api.openapi import JOB_REQUEST_BODY, REPLAYED, accepted, problems
from api.retention import clear
from api.terms import too_costly
from shared.contract import JobBody, JobPage
from shared.errors import (
    IdempotencyMismatch,
    InvalidRequest,
    JobNotFound,
    NoModel,
    NotRetryable,
    QueueFull,
    QueueUnavailable,
    StoreUnavailable,
    TenantQueueFull,
)
from shared.generation import MAX_SEED
from shared.jobs import Job, JobStatus, NewJob, Submission, new_job_id
from shared.scripts import cancel, erase, fleet, page, read

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

READ_ANY_TYPE = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.FORBIDDEN)
REFUSED = (InvalidRequest, IdempotencyMismatch, QueueFull, TenantQueueFull, QueueUnavailable, StoreUnavailable, NoModel)

MOST_WAIT_S: Final = 60.0
"""Proxies commonly give up an answer that takes longer."""
DELETE_WITHIN_S: Final = 5.0
"""How long a deletion waits for the store; what is left is deleted later."""


class Hold(BaseModel):
    """How long the answer may be held."""

    wait: float = Field(0, ge=0, le=MOST_WAIT_S, description="Seconds to hold the answer until the job has ended.")
    version: int | None = Field(
        None, ge=0, description="With `wait`: answer as soon as the job's version is another than this."
    )

    def is_over(self, job: Job) -> bool:
        """True for what is answered at once."""
        return job.status.is_terminal or self.version not in {None, job.version}


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Ask for pictures",
    responses={**problems(*REFUSED, statuses=READ_ANY_TYPE), **accepted("The job was accepted.")},
    openapi_extra=JOB_REQUEST_BODY,
)
async def submit_job(
    request: Request, response: Response, gateway: TheGateway, tenant: TheTenant, key: TheKey
) -> JobBody:
    """Accept a job and answer at once; read it again until it has ended.

    Only `prompt` is needed: what is absent comes from the model's defaults (`GET /v1/models`). A seed
    that is absent is drawn here and reported in `params`. Every wrong field is named in one answer.
    """
    asked = draft(await read_json(request))
    once = None if key is None else once_to_submit(key, asked.request)
    # A request that is wrong was not accepted before either.
    before = None if asked.wrong else await accepted_before(gateway, tenant, once)
    if before is not None:
        return await _accepted(gateway, before, response, is_replayed=True)
    served = await gateway.run(fleet())
    card, params = asked.complete(
        served, drawn_seed=secrets.randbelow(MAX_SEED + 1), max_cost=gateway.settings.max_job_cost
    )
    new = NewJob(
        new_job_id(),
        tenant,
        card.id,
        params,
        asked.request.metadata,
        lane=asked.request.lane,
        cancel_after_s=asked.request.cancel_after,
    )
    submitted = await accept(gateway, new, card, served, once=once, may_reuse=asked.request.reuse)
    return await _accepted(gateway, submitted.job, response, is_replayed=submitted.how is Submission.REPEATED)


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Try a job again",
    responses={
        **problems(JobNotFound, NotRetryable, *REFUSED, statuses=(HTTPStatus.FORBIDDEN,)),
        **accepted("A new job was accepted."),
    },
)
async def retry_job(
    job_id: TheJobId, response: Response, gateway: TheGateway, tenant: TheTenant, key: TheKey
) -> JobBody:
    """Submit a job that failed, expired or was canceled as a new one: same parameters and seed, metadata and lane.

    A deadline is not taken over: the new job waits as long as it takes.
    """
    once = None if key is None else once_to_retry(key, job_id)
    before = await accepted_before(gateway, tenant, once)
    if before is not None:
        return await _accepted(gateway, before, response, is_replayed=True)
    old = await gateway.run(read(job_id, tenant))
    if not old.status.is_terminal or old.status is JobStatus.SUCCEEDED:
        raise NotRetryable(
            f"Job {old.id} is {old.status}: only one that failed, expired or was canceled can be tried again."
        )
    served = await gateway.run(fleet())
    card = card_for(served, old.model)
    if wrong := too_costly(old.params, gateway.settings.max_job_cost):
        raise InvalidRequest(wrong)
    new = NewJob(new_job_id(), tenant, card.id, old.params, old.metadata, lane=old.lane, retry_of=old.id)
    submitted = await accept(gateway, new, card, served, once=once, may_reuse=old.may_reuse)
    return await _accepted(gateway, submitted.job, response, is_replayed=submitted.how is Submission.REPEATED)


@router.get("/{job_id}", summary="Read a job", responses=problems(JobNotFound, InvalidRequest, QueueUnavailable))
async def read_job(
    request: Request,
    job_id: TheJobId,
    gateway: TheGateway,
    tenant: TheTenant,
    hold: Annotated[Hold, Query()],
) -> JobBody:
    """Read a job: its status, place in the queue, progress, pictures, and why it failed if it did.

    With `wait` the answer comes when the job has ended, or has moved on from `version`, and after that many seconds
    as it stands then.
    """

    async def look() -> Job:
        return await gateway.run(read(job_id, tenant))

    if not hold.wait:
        return await gateway.outlooks.body(await look())
    job = await gateway.changes.awaited(job_id, look, is_due=hold.is_over, within_s=hold.wait, leaves=_leaves(request))
    return await gateway.outlooks.body(job)


@router.get("", summary="List jobs", responses=problems(InvalidRequest, QueueUnavailable))
async def list_jobs(
    gateway: TheGateway,
    tenant: TheTenant,
    cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Jobs a page, at most.")] = 20,
) -> JobPage:
    """List your jobs, newest first, a page at a time."""
    found = await gateway.run(page(tenant, cursor=cursor, limit=limit))
    return JobPage(data=await gateway.outlooks.bodies(found.jobs), next_cursor=found.next_cursor)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses=problems(JobNotFound, QueueUnavailable, statuses=(HTTPStatus.FORBIDDEN,)),
)
async def cancel_job(job_id: TheJobId, gateway: TheGateway, tenant: TheTenant) -> JobBody:
    """End a job that waits or runs. One that has ended stays as it is, so a second cancel is harmless."""
    return await gateway.outlooks.body(await gateway.run(cancel(job_id, tenant)))


@router.delete(
    "/{job_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete a job and its pictures",
    responses=problems(JobNotFound, QueueUnavailable, statuses=(HTTPStatus.FORBIDDEN,)),
)
async def delete_job(job_id: TheJobId, gateway: TheGateway, tenant: TheTenant) -> None:
    """Forget a job, its pictures and its preview at once; one that waits or runs is canceled first.

    Pictures that another job of yours shows too stay until that one is deleted.
    """
    objects = await gateway.run(erase(job_id, tenant))
    # Nobody finds the pictures any more; a store or a queue that is away just now is asked again by the upkeep.
    with move_on_after(DELETE_WITHIN_S), suppress(QueueUnavailable):
        await clear(gateway.redis, gateway.storage, objects)


async def _leaves(request: Request) -> None:
    """Return when the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _accepted(gateway: Gateway, job: Job, response: Response, *, is_replayed: bool) -> JobBody:
    body = await gateway.outlooks.body(job)
    response.headers["Location"] = body.urls.get
    if is_replayed:
        response.headers[REPLAYED] = "true"
    return body
