"""`/v1/jobs`: submit, read, list, cancel."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import TheGateway, TheJobId, TheTenant
from api.estimate import expected_ms
from api.intake import draft, read_json
from api.openapi import JOB_REQUEST_BODY, problems
from shared.contract import JobBody, JobPage
from shared.errors import InvalidRequest, JobNotFound, NoModel, QueueFull, QueueUnavailable, StoreUnavailable
from shared.generation import MAX_SEED
from shared.jobs import NewJob, Terms, new_job_id
from shared.scripts import cancel, fleet, page, read, submit

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

READ_ANY_TYPE = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.FORBIDDEN)


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Ask for pictures",
    responses={
        **problems(InvalidRequest, QueueFull, QueueUnavailable, StoreUnavailable, NoModel, statuses=READ_ANY_TYPE),
        int(HTTPStatus.ACCEPTED): {
            "description": "The job was accepted and waits.",
            "headers": {"Location": {"description": "Where to read the job.", "schema": {"type": "string"}}},
        },
    },
    openapi_extra=JOB_REQUEST_BODY,
)
async def submit_job(request: Request, response: Response, gateway: TheGateway, tenant: TheTenant) -> JobBody:
    """Accept a job and answer at once; read it again until it has ended.

    Only `prompt` is needed: what is absent comes from the model's defaults (`GET /v1/models`). A seed
    that is absent is drawn here and reported in `params`. Every wrong field is named in one answer.
    """
    asked = draft(await read_json(request))
    served = await gateway.run(fleet())
    card, params = asked.complete(served, drawn_seed=secrets.randbelow(MAX_SEED + 1))
    # A picture that could not be stored is work for nothing.
    await gateway.storage.require()
    workers = [worker for worker in served.workers if worker.model == card.id]
    new = NewJob(
        new_job_id(),
        tenant,
        card.id,
        params,
        asked.request.metadata,
        asked.request.lane,
        expected_ms(params, workers),
        asked.request.cancel_after,
    )
    settings = gateway.settings
    try:
        job = (await gateway.run(submit(new, Terms(keep_s=settings.keep_finished_s)))).job
    except QueueUnavailable:
        gateway.unanswered.add(new.id, tenant)  # it may have been accepted all the same
        raise
    gateway.waker.wake(job.model)
    body = await gateway.outlooks.body(job)
    response.headers["Location"] = body.urls.get
    return body


@router.get("/{job_id}", summary="Read a job", responses=problems(JobNotFound, QueueUnavailable))
async def read_job(job_id: TheJobId, gateway: TheGateway, tenant: TheTenant) -> JobBody:
    """Read a job: its status, place in the queue, progress, pictures, and why it failed if it did."""
    return await gateway.outlooks.body(await gateway.run(read(job_id, tenant)))


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
