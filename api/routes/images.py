"""`/v1/jobs/{id}/images/{n}` and `/preview`: the pictures, through the gateway or from the store itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from api.deps import TheGateway, TheJobId, TheTenant
from api.openapi import header, problems
from shared.errors import ImageNotFound, InvalidRequest, JobNotFound, QueueUnavailable, StoreUnavailable
from shared.jobs import Image, Job, image_file_name
from shared.scripts import preview

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["Pictures"])

CACHE_CONTROL: Final = "private, max-age=31536000, immutable"
URL_LIFE_S: Final = 300
"""Of a redirect's presigned URL: long enough to follow it on a slow line."""

_FILE = {"schema": {"type": "string", "format": "binary"}}

_KEPT = {
    "ETag": header("The file's SHA-256, in quotes.", {"type": "string", "pattern": '^"[0-9a-f]{64}"$'}),
    "Cache-Control": header("A picture never changes.", {"const": CACHE_CONTROL}),
    "Content-Disposition": header("The file's name, and whether to show or to save it."),
}

PICTURE_RESPONSES = {
    **problems(JobNotFound, ImageNotFound, InvalidRequest, QueueUnavailable, StoreUnavailable),
    200: {
        "description": "The picture's file.",
        "headers": {**_KEPT, "Content-Length": header("Bytes.", {"type": "integer", "minimum": 0})},
        "content": {"image/png": _FILE, "image/jpeg": _FILE, "image/webp": _FILE},
    },
    304: {"description": "The picture is the one that you have (`If-None-Match`).", "headers": _KEPT},
    307: {
        "description": "Where the store hands it out itself; only if the operator gave it a public address.",
        "headers": {"Location": header("The file's address, for five minutes.", {"type": "string", "format": "uri"})},
    },
}


@router.get("/images/{index}", summary="Fetch a picture", response_class=Response, responses=PICTURE_RESPONSES)
@router.head("/images/{index}", include_in_schema=False)
async def fetch_image(
    request: Request,
    gateway: TheGateway,
    tenant: TheTenant,
    job_id: TheJobId,
    *,
    index: Annotated[int, Path(ge=0, le=1000, description="Which of the job's pictures, from 0.")],
    if_none_match: Annotated[
        str, Header(description="The `ETag` that you have, or several: 304 if the picture is one of them.")
    ] = "",
    download: Annotated[bool, Query(description="Ask browsers to save the file rather than show it.")] = False,
    redirect: Annotated[bool, Query(description="False: the file itself, never the store's address.")] = True,
) -> Response:
    """Fetch a finished picture. It never changes, so caches may keep it; its ETag is the file's SHA-256."""
    job = await gateway.read(job_id, tenant)
    image = _image_of(job, index)
    media_type = image.output_format.media_type
    kind = "attachment" if download else "inline"
    disposition = f'{kind}; filename="{image_file_name(job.id, index, image.output_format)}"'
    headers = {"ETag": f'"{image.sha256}"', "Cache-Control": CACHE_CONTROL, "Content-Disposition": disposition}
    if _has(if_none_match, image.sha256):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if request.method == "HEAD":  # before the redirect, whose URL is signed for GET alone
        return Response(headers={**headers, "Content-Length": str(image.num_bytes)}, media_type=media_type)
    if redirect and gateway.settings.s3_public_endpoint:
        url = gateway.storage.presigned_url(
            image.key, media_type=media_type, disposition=disposition, expires_s=URL_LIFE_S
        )
        return RedirectResponse(url, HTTPStatus.TEMPORARY_REDIRECT, {"Cache-Control": "no-store"})
    begun = await gateway.storage.open(image.key)
    headers["Content-Length"] = str(image.num_bytes if begun.num_bytes is None else begun.num_bytes)
    return StreamingResponse(gateway.storage.stream(begun), HTTPStatus.OK, headers, media_type)


@router.get(
    "/preview",
    summary="Fetch a running job's preview",
    response_class=Response,
    responses={
        **problems(JobNotFound, ImageNotFound, QueueUnavailable),
        200: {"description": "A small JPEG.", "content": {"image/jpeg": _FILE}},
    },
)
async def fetch_preview(job_id: TheJobId, gateway: TheGateway, tenant: TheTenant) -> Response:
    """Fetch the latest sketch of a picture in the making: a JPEG of at most 256 pixels a side."""
    jpeg = await gateway.run(preview(job_id, tenant))
    if jpeg is None:
        raise ImageNotFound("The job has no preview now: it waits, has just begun, or has ended.")
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _image_of(job: Job, index: int) -> Image:
    for image in job.images:
        if image.index == index:
            return image
    if index >= job.params.num_images:
        last = job.params.num_images - 1
        raise ImageNotFound(
            f"The job has no picture {index}: its pictures are 0 to {last}."
            if last
            else f"The job has no picture {index}: its only picture is 0."
        )
    if job.status.is_terminal:
        raise ImageNotFound(f"The job ended as {job.status} before picture {index} was drawn.")
    raise ImageNotFound(f"Picture {index} is not finished yet: the job is {job.status}.")


def _has(if_none_match: str, sha256: str) -> bool:
    """RFC 9110, 13.1.2: `*` or a list of tags, compared weakly."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return bool(tags & {"*", f'"{sha256}"'})
