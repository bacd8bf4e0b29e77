"""`/v1/jobs`: submit, read, list, cancel, try again, delete."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Annotated

from anyio import move_on_after
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from api.acceptance import accept_again, accept_body, accepted_before, headers_of
from api.deps import Gateway, TheCursor, TheGateway, TheJobId, TheKey, TheLimit, ThePrincipal, TheSubmitter, TheTenant
from api.digests import once_to_retry
from api.intake import read_json
from api.openapi import JOB_REQUEST_BODY, accepted, problems
from api.retention import DELETE_WITHIN_S, clear
from api.waiting import APPLIED, MOST_WAIT_S, TheWait, Wait, leaves
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
from shared.jobs import Job, JobStatus, Submission, Submitted
from shared.scripts import cancel, erase, page

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

REFUSED = (InvalidRequest, IdempotencyMismatch, QueueFull, TenantQueueFull, QueueUnavailable, StoreUnavailable, NoModel)


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
    responses={**problems(*REFUSED), **accepted("The job was accepted.")},
    openapi_extra=JOB_REQUEST_BODY,
)
async def submit_job(
    request: Request, response: Response, gateway: TheGateway, tenant: TheSubmitter, *, key: TheKey, wait: TheWait
) -> JobBody:
    """Accept a job and answer at once; read it again until it has ended, or wait for that with `Prefer: wait=30`.

    Only `prompt` is needed: what is absent comes from the model's defaults (`GET /v1/models`). A seed
    that is absent is drawn here and reported in `params`. Every wrong field is named in one answer.
    """
    submitted = await accept_body(gateway, tenant, await read_json(request), key)
    return await _accepted(gateway, submitted, request, response, wait)


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Try a job again",
    responses={
        **problems(JobNotFound, NotRetryable, *REFUSED),
        **accepted("A new job was accepted."),
    },
)
async def retry_job(
    job_id: TheJobId,
    request: Request,
    response: Response,
    gateway: TheGateway,
    tenant: TheSubmitter,
    *,
    key: TheKey,
    wait: TheWait,
) -> JobBody:
    """Submit a job that failed, expired or was canceled as a new one: same parameters and seed, metadata and lane.

    A deadline is not taken over: the new job waits as long as it takes.
    """
    once = None if key is None else once_to_retry(key, job_id)
    before = await accepted_before(gateway, tenant, once)
    if before is not None:
        return await _accepted(gateway, Submitted(before, Submission.REPEATED), request, response, wait)
    old = await gateway.read(job_id, tenant)
    if not old.status.is_terminal or old.status is JobStatus.SUCCEEDED:
        raise NotRetryable(
            f"The status of job {old.id} is {old.status}: only what failed, expired or was canceled can be tried again."
        )
    submitted = await accept_again(gateway, old, once=once)
    return await _accepted(gateway, submitted, request, response, wait)


@router.get("/{job_id}", summary="Read a job", responses=problems(JobNotFound, InvalidRequest, QueueUnavailable))
async def read_job(
    request: Request,
    job_id: TheJobId,
    gateway: TheGateway,
    tenant: TheTenant,
    *,
    principal: ThePrincipal,
    hold: Annotated[Hold, Query()],
) -> JobBody:
    """Read a job: its status, place in the queue, progress, pictures, and why it failed if it did.

    With `wait` the answer comes when the job has ended, or has moved on from `version`, and after that many seconds
    as it stands then.
    """

    async def look() -> Job:
        return await gateway.read(job_id, tenant)

    if not hold.wait:
        return await gateway.outlooks.body(await look())
    async with gateway.stays.begin(principal) as stay:
        left = leaves(request, stay)
        job = await gateway.changes.awaited(job_id, look, is_due=hold.is_over, within_s=hold.wait, leaves=left)
        stay.require()
    return await gateway.outlooks.body(job)


@router.get("", summary="List jobs", responses=problems(InvalidRequest, QueueUnavailable))
async def list_jobs(
    gateway: TheGateway,
    tenant: TheTenant,
    cursor: TheCursor = None,
    limit: TheLimit = 20,
) -> JobPage:
    """List your jobs, newest first, a page at a time."""
    found = await gateway.run(page(tenant, cursor=cursor, limit=limit))
    return JobPage(data=await gateway.outlooks.bodies(found.jobs), next_cursor=found.next_cursor)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses=problems(JobNotFound, QueueUnavailable),
)
async def cancel_job(job_id: TheJobId, gateway: TheGateway, tenant: TheSubmitter) -> JobBody:
    """End a job that waits or runs. One that has ended stays as it is, so a second cancel is harmless."""
    return await gateway.outlooks.body(await gateway.run(cancel(job_id, tenant)))


@router.delete(
    "/{job_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete a job and its pictures",
    responses=problems(JobNotFound, QueueUnavailable),
)
async def delete_job(job_id: TheJobId, gateway: TheGateway, tenant: TheSubmitter) -> None:
    """Forget a job, its pictures and its preview at once; one that waits or runs is canceled first.

    Pictures that another job of yours shows too stay until that one is deleted.
    """
    objects = await gateway.run(erase(job_id, tenant))
    # Nobody finds the pictures any more; a store or a queue that is away just now is asked again by the upkeep.
    with move_on_after(DELETE_WITHIN_S), suppress(QueueUnavailable):
        await clear(gateway.redis, gateway.storage, objects)


async def _accepted(
    gateway: Gateway, submitted: Submitted, request: Request, response: Response, wait: Wait | None
) -> JobBody:
    """Answer with the job: at once or, where the caller would rather wait, when it has ended or their time is over."""
    job = submitted.job
    if wait is not None:
        job = await _awaited(gateway, job, request, wait)
        response.headers[APPLIED] = f"wait={wait.seconds}"
        if job.status.is_terminal:
            response.status_code = HTTPStatus.OK
    body = await gateway.outlooks.body(job)
    response.headers.update(headers_of(submitted, body))
    return body


async def _awaited(gateway: Gateway, job: Job, request: Request, wait: Wait) -> Job:
    """Wait for a job's end; the job as it was last seen if queue or key go away meanwhile: it is accepted."""
    seen = job

    async def look() -> Job:
        nonlocal seen
        seen = await gateway.read(job.id, job.tenant)
        return seen

    with suppress(QueueUnavailable):
        await gateway.changes.awaited(
            job.id,
            look,
            is_due=lambda now: now.status.is_terminal,
            within_s=wait.seconds,
            leaves=leaves(request, wait.stay),
        )
    return seen
