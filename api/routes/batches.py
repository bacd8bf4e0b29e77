"""`/v1/batches`: many jobs in one request, how far they are, their results together, and an end to all of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any, Final

from anyio import move_on_after
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from api.acceptance import accept_batch
from api.deps import TheCursor, TheGateway, TheKey, TheLimit, ThePrincipal, TheSubmitter, TheTenant
from api.digests import once_to_submit_batch
from api.edge import BATCHES
from api.intake import JSON, require_type
from api.lines import JSON_LINES, checked_lines
from api.openapi import REF, REPLAYED, header, problems
from api.results import archive, json_lines, pages_of
from api.retention import DELETE_WITHIN_S, clear_batch
from api.waiting import MOST_WAIT_S, leaves
from shared.batches import Batch, BatchBody, BatchId, BatchName, BatchPage, batch_body
from shared.errors import BatchNotFound, IdempotencyMismatch, InvalidRequest, NoModel, QueueUnavailable
from shared.jobs import ID_PATTERN, Submission
from shared.scripts import batches, cancel_batch, erase_batch, fleet, read_batch, recall_batch

router = APIRouter(prefix=BATCHES, tags=["Batches"])

TYPES: Final = (JSON, *JSON_LINES)
ADVICE: Final = "Send a JSON list as application/json, or JSON Lines as application/jsonl."

_EXAMPLE: Final = [{"prompt": "a lighthouse in a storm"}, {"prompt": "a fox in the snow", "seed": 7, "num_images": 2}]
_RESULTS: Final = """{"line": 1, "status": "deleted", "job_id": "5r0z9k2m4c7q8x1t6w3v0h2j9n", "job": null}
{"line": 2, "status": "waiting", "job_id": null, "job": null}
"""
"""Of lines without a job to show: one that was deleted, and one that is none yet."""
_REQUEST: Final[Mapping[str, Any]] = {"$ref": REF.format(model="JobRequest")}
_BODY: Final = {
    "requestBody": {
        "required": True,
        "description": "What `POST /v1/jobs` takes, once a line. A line without `lane` is `bulk`.",
        "content": {
            JSON: {
                "schema": {"type": "array", "items": _REQUEST, "minItems": 1, "maxItems": 10_000},
                "example": _EXAMPLE,
            },
            JSON_LINES[0]: {
                "schema": {"type": "string", "format": "binary"},
                "example": '{"prompt": "a lighthouse in a storm"}\n{"prompt": "a fox in the snow", "seed": 7}\n',
            },
        },
    }
}
_ACCEPTED: Final = {
    202: {
        "description": "The batch was accepted.",
        "headers": {
            "Location": header("Where to read the batch."),
            REPLAYED: {
                "description": "`true`: this Idempotency-Key came before, and this is the batch that it made.",
                "schema": {"const": "true"},
            },
        },
    }
}
_FILE: Final = {"schema": {"type": "string", "format": "binary"}}
_READING: Final = problems(BatchNotFound, InvalidRequest, QueueUnavailable)


async def batch_id(
    batch_id: Annotated[str, Path(description="A batch's id.", examples=["9k2m4c7q8x1t6w3v0h2j9n5r0z"])],
) -> BatchId:
    """The path's batch id. Raises BatchNotFound for what was never one: no key is made of it."""
    if not re.fullmatch(ID_PATTERN, batch_id):
        raise BatchNotFound(batch_id[:26])
    return BatchId(batch_id)


TheBatchId = Annotated[BatchId, Depends(batch_id)]


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Ask for the pictures of many requests",
    responses={**problems(InvalidRequest, IdempotencyMismatch, QueueUnavailable, NoModel), **_ACCEPTED},
    openapi_extra=_BODY,
)
async def submit_batch(
    request: Request,
    response: Response,
    gateway: TheGateway,
    tenant: TheSubmitter,
    *,
    key: TheKey,
    name: Annotated[BatchName, Query(description="Yours, to know it by; need not be unique.")] = "",
) -> BatchBody:
    """Accept a batch and answer at once: a JSON list, or JSON Lines, of what `POST /v1/jobs` takes.

    Each line is checked as a job is; one that is wrong, and nothing is accepted: `errors` names `lines.3.prompt`, the
    lines counted from 1. Lines become jobs in their order, some 200 at a time, so a batch never fills the queue;
    `cancel_after` counts from when its line does.
    """
    media_type = require_type(request, *TYPES, advice=ADVICE)
    body = await request.body()
    once = None if key is None else once_to_submit_batch(key, name, body)
    before = None if once is None else await gateway.run(recall_batch(tenant, once))
    if before is not None:
        return _accepted(before, response, is_replayed=True)
    served = await gateway.run(fleet())
    lines = await checked_lines(body, media_type, served, max_cost=gateway.settings.max_job_cost)
    sealed = await accept_batch(gateway, tenant, lines, name=name, once=once)
    return _accepted(sealed.batch, response, is_replayed=sealed.how is Submission.REPEATED)


@router.get("", summary="List batches", responses=problems(InvalidRequest, QueueUnavailable))
async def list_batches(
    gateway: TheGateway,
    tenant: TheTenant,
    cursor: TheCursor = None,
    limit: TheLimit = 20,
) -> BatchPage:
    """List your batches, newest first, a page at a time."""
    found = await gateway.run(batches(tenant, cursor=cursor, limit=limit))
    return BatchPage(data=tuple(map(batch_body, found.batches)), next_cursor=found.next_cursor)


@router.get("/{batch_id}", summary="Read a batch", responses=_READING)
async def show_batch(
    request: Request,
    batch_id: TheBatchId,
    gateway: TheGateway,
    tenant: TheTenant,
    *,
    principal: ThePrincipal,
    wait_s: Annotated[
        float,
        Query(
            alias="wait",
            ge=0,
            le=MOST_WAIT_S,
            description="Seconds to hold the answer until the batch has ended, or was canceled.",
        ),
    ] = 0,
) -> BatchBody:
    """Read a batch: how many of its lines wait, are under way and have ended, and how.

    With `wait` the answer comes when the batch has ended, or after that many seconds as it stands then.
    """

    async def look() -> Batch:
        return await gateway.run(read_batch(batch_id, tenant))

    if not wait_s:
        return batch_body(await look())
    async with gateway.stays.begin(principal) as stay:
        left = leaves(request, stay)
        batch = await gateway.changes.awaited(
            batch_id, look, is_due=lambda now: now.has_ended, within_s=wait_s, leaves=left
        )
        stay.require()
    return batch_body(batch)


@router.post("/{batch_id}/cancel", summary="Cancel a batch", responses=problems(BatchNotFound, QueueUnavailable))
async def call_batch_off(batch_id: TheBatchId, gateway: TheGateway, tenant: TheSubmitter) -> BatchBody:
    """End a batch at once: its jobs that wait or run, and its lines that are no jobs yet.

    One that has ended stays as it is, so a second cancel is harmless. Pictures that are done stay.
    """
    return batch_body(await gateway.run(cancel_batch(batch_id, tenant)))


@router.delete(
    "/{batch_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete a batch, its jobs and their pictures",
    responses=problems(BatchNotFound, QueueUnavailable),
)
async def delete_batch(batch_id: TheBatchId, gateway: TheGateway, tenant: TheSubmitter) -> None:
    """Forget a batch, its jobs, their pictures and previews at once; one that goes on is canceled first.

    Pictures that another job of yours shows too stay until that one is deleted.
    """
    await gateway.run(erase_batch(batch_id, tenant))
    # Nobody finds any of it any more; what is left of a large one, or while the store is away, is the upkeep's.
    with move_on_after(DELETE_WITHIN_S), suppress(QueueUnavailable):
        await clear_batch(gateway.redis, gateway.storage, batch_id)


@router.get(
    "/{batch_id}/results",
    summary="Fetch a batch's results",
    response_class=Response,
    responses={
        **_READING,
        200: {
            "description": "A JSON object a line, in the order of the batch.",
            "content": {JSON_LINES[0]: {"schema": {"type": "string", "format": "binary"}, "example": _RESULTS}},
        },
    },
)
async def fetch_results(
    batch_id: TheBatchId,
    gateway: TheGateway,
    tenant: TheTenant,
    unended: Annotated[bool, Query(alias="all", description="True: also lines that have not ended.")] = False,
) -> Response:
    """Fetch what became of the lines, as JSON Lines: `line`, `status`, `job_id`, and `job` as `/v1/jobs` has it.

    While the batch runs these are the lines that have ended so far, with `all=true` all. `status` is the job's,
    `waiting` if the line is no job yet, `deleted` if the job is gone.
    """
    pages = await pages_of(gateway, batch_id, tenant)
    return StreamingResponse(json_lines(pages, with_unended=unended), media_type=JSON_LINES[0])


@router.get(
    "/{batch_id}/results.zip",
    summary="Fetch a batch's pictures",
    response_class=Response,
    responses={
        **_READING,
        200: {
            "description": "A ZIP archive. It breaks off if the store or the queue goes away meanwhile.",
            "headers": {"Content-Disposition": header("The file's name.")},
            "content": {"application/zip": _FILE},
        },
    },
)
async def fetch_archive(batch_id: TheBatchId, gateway: TheGateway, tenant: TheTenant) -> Response:
    """Fetch the pictures of all lines that have ended so far in one ZIP archive, made while it is sent.

    A picture is named by its line and its place in the job, such as `00001-0.png`. `manifest.jsonl` comes last and says
    of each line what was asked for, what became of it, and its files' names, seeds and SHA-256.
    """
    pages = await pages_of(gateway, batch_id, tenant)
    headers = {"Content-Disposition": f'attachment; filename="darkroom-batch-{batch_id}.zip"'}
    return StreamingResponse(archive(gateway.storage, pages), HTTPStatus.OK, headers, "application/zip")


def _accepted(batch: Batch, response: Response, *, is_replayed: bool) -> BatchBody:
    body = batch_body(batch)
    response.headers["Location"] = body.urls.get
    if is_replayed:
        response.headers[REPLAYED] = "true"
    return body
