"""What can be asked of the gateway: path, body and answer of each verb, as a flow. `Client` says what each does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, Literal, TypedDict

import httpx2

from shared.access import TENANT_PATTERN, Scope, is_key_id
from shared.checks import Checks, unknown
from shared.client import following, http
from shared.client.following import POLL_S
from shared.client.patience import Patience
from shared.client.result import Picture, Result, failure_of
from shared.client.steps import Emitting, Flow, Pause
from shared.contract import JobBody, JobPage, JobRequest, ModelBody, ModelList, Readiness, TokensBody
from shared.errors import (
    FieldError,
    GatewayUnavailable,
    InvalidRequest,
    JobNotFound,
    KeyNotFound,
    RateLimited,
    Unavailable,
    WorkerNotFound,
)
from shared.events import EventBody
from shared.generation import OutputFormat, Scheduler, Size
from shared.jobs import JobStatus
from shared.keyring import KeyBody, KeyList, LimitsBody, Me, NewKeyBody, TenantBody, TenantList
from shared.lanes import Lane
from shared.oversight import FailedList, HistoryBody, QueueBody, RetriedJob, SetAsideList, WorkerBody, WorkerList

Order = Literal["pause", "resume", "drain"]
"""What an operator says: begin nothing more; work; begin nothing more and hand back what takes long."""

_WORKER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Params(TypedDict, total=False):
    """What may be said beside the prompt; what is left out is the model's default."""

    negative_prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    num_images: int
    scheduler: Scheduler | str
    output_format: OutputFormat | str
    output_size: Size
    model: str
    metadata: dict[str, str]
    lane: Lane | str
    cancel_after: int
    reuse: bool
    preset: str
    guidance_cutoff: float
    variation_seed: int
    variation_strength: float
    deterministic: bool


def submit(prompt: str | JobRequest, idempotency_key: str | None, params: Params) -> Flow[JobBody]:
    """Ask for pictures."""
    said = prompt.model_dump(exclude_none=True) if isinstance(prompt, JobRequest) else {"prompt": prompt}
    answer = yield from http.post("/v1/jobs", {**said, **params}, key=http.once(idempotency_key))
    return http.read(JobBody, answer)


def retry(job_id: str, idempotency_key: str | None) -> Flow[JobBody]:
    """Try a job again as a new one."""
    return http.read(JobBody, (yield from http.post(f"{_job(job_id)}/retry", None, key=http.once(idempotency_key))))


def job(job_id: str) -> Flow[JobBody]:
    """Read a job."""
    return http.read(JobBody, (yield from http.get(_job(job_id))))


def jobs(cursor: str | None, limit: int | None) -> Flow[JobPage]:
    """Read a page of jobs."""
    return http.read(JobPage, (yield from http.get("/v1/jobs", http.said(cursor=cursor, limit=limit))))


def cancel(job_id: str) -> Flow[JobBody]:
    """End a job."""
    return http.read(JobBody, (yield from http.post(f"{_job(job_id)}/cancel", None)))


def delete(job_id: str) -> Flow[None]:
    """Delete a job and its pictures."""
    yield from http.delete(_job(job_id))


def image(job_id: str, index: int, *, redirect: bool = True) -> Flow[bytes]:
    """Read a picture's file."""
    query = None if redirect else {"redirect": "false"}
    return (yield from http.get(f"{_job(job_id)}/images/{index}", query)).content


def preview(job_id: str) -> Flow[bytes | None]:
    """Read the latest preview."""
    response = yield from http.get_any(f"{_job(job_id)}/preview")
    if response.status_code == HTTPStatus.NOT_FOUND and http.problem_of(response).code != JobNotFound.code:
        return None
    return http.checked(response).content


def models() -> Flow[tuple[ModelBody, ...]]:
    """Read what is served."""
    return http.read(ModelList, (yield from http.get("/v1/models"))).data


def count_tokens(prompt: str, negative_prompt: str | None, model: str | None) -> Flow[TokensBody]:
    """Ask how texts would be read."""
    said = http.said(prompt=prompt, negative_prompt=negative_prompt, model=model)
    return http.read(TokensBody, (yield from http.ask("/v1/tokens", said)))


def ready() -> Flow[Readiness]:
    """Ask whether the service can draw now."""
    return http.read(Readiness, (yield from http.get_any("/readyz")))


def wait(
    job_id: str,
    *,
    client_timeout: httpx2.Timeout,
    timeout_s: float | None,
    on_progress: Callable[[JobBody], object] | None,
    poll_s: float = POLL_S,
) -> Flow[JobBody]:
    """Wait until a job has ended."""
    return following.wait(
        following.job(_job(job_id), job_id),
        client_timeout=client_timeout,
        timeout_s=timeout_s,
        on_progress=on_progress,
        poll_s=poll_s,
    )


def follow(job_id: str, *, client_timeout: httpx2.Timeout, previews: bool) -> Emitting[EventBody]:
    """Emit a job's events until its end."""
    return following.follow(f"{_job(job_id)}/events", job_id, client_timeout=client_timeout, previews=previews)


def generate(
    prompt: str | JobRequest,
    params: Params,
    *,
    client_timeout: httpx2.Timeout,
    timeout_s: float | None,
    on_progress: Callable[[JobBody], object] | None,
) -> Flow[Result]:
    """Submit, wait and fetch."""
    job = yield from submit(prompt, None, params)
    ended = yield from wait(job.id, client_timeout=client_timeout, timeout_s=timeout_s, on_progress=on_progress)
    return (yield from result(ended))


def result(job: JobBody) -> Flow[Result]:
    """Fetch the pictures of a job that has ended; raise why there are none."""
    if job.status is not JobStatus.SUCCEEDED:
        raise failure_of(job)
    files: list[bytes] = []
    for info in job.images:
        files += [(yield from _fetched(job.id, info.index))]
    return Result(job, tuple(Picture(job.id, info, data) for info, data in zip(job.images, files, strict=True)))


def workers() -> Flow[WorkerList]:
    """List the living workers."""
    return http.read(WorkerList, (yield from http.get("/v1/workers")))


def queue() -> Flow[QueueBody]:
    """Tell what waits."""
    return http.read(QueueBody, (yield from http.get("/v1/queue")))


def set_aside(limit: int | None) -> Flow[SetAsideList]:
    """List the jobs that were given up."""
    return http.read(SetAsideList, (yield from http.get("/v1/queue/set-aside", http.said(limit=limit))))


def failed(limit: int | None) -> Flow[FailedList]:
    """List the jobs that failed."""
    return http.read(FailedList, (yield from http.get("/v1/queue/failed", http.said(limit=limit))))


def retry_failed(job_id: str) -> Flow[RetriedJob]:
    """Send a failed job again."""
    return http.read(RetriedJob, (yield from http.post(f"/v1/queue/failed/{_id(job_id)}/retry", None)))


def history(minutes: int | None) -> Flow[HistoryBody]:
    """Tell how jobs ended lately."""
    return http.read(HistoryBody, (yield from http.get("/v1/queue/history", http.said(minutes=minutes))))


def checks() -> Flow[Checks]:
    """Tell how the gateway finds its deployment; one of before this could be asked is told as such."""
    answer = yield from http.get_any("/v1/checks")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return Checks(data=(unknown("deployment", "The gateway is older, and does not look at its deployment."),))
    return http.read(Checks, http.checked(answer))


def direct_all(order: Order) -> Flow[QueueBody]:
    """Tell all workers what to do."""
    return http.read(QueueBody, (yield from http.post(f"/v1/queue/{order}", None)))


def direct_worker(order: Order, worker_id: str) -> Flow[WorkerBody]:
    """Tell one worker what to do."""
    if not _WORKER_ID.fullmatch(worker_id):
        raise WorkerNotFound(worker_id)
    return http.read(WorkerBody, (yield from http.post(f"/v1/workers/{worker_id}/{order}", None)))


def create_key(
    name: str, tenant: str, scopes: Iterable[Scope | str] | None, expires_after_s: int | None
) -> Flow[NewKeyBody]:
    """Make a key."""
    said = {
        "name": name,
        "tenant": tenant,
        "scopes": None if scopes is None else sorted(scopes),
        "expires_after": expires_after_s,
    }
    body = {field: value for field, value in said.items() if value is not None}
    return http.read(NewKeyBody, (yield from http.post("/v1/keys", body)))


def keys() -> Flow[tuple[KeyBody, ...]]:
    """List the keys."""
    return http.read(KeyList, (yield from http.get("/v1/keys"))).data


def revoke_key(key_id: str) -> Flow[None]:
    """Forget a key."""
    if not is_key_id(key_id):
        raise KeyNotFound(key_id)
    yield from http.delete(f"/v1/keys/{key_id}")


def tenants() -> Flow[tuple[TenantBody, ...]]:
    """List the tenants."""
    return http.read(TenantList, (yield from http.get("/v1/tenants"))).data


def limit_tenant(name: str, limits: LimitsBody) -> Flow[TenantBody]:
    """Set a tenant's limits."""
    if not re.fullmatch(TENANT_PATTERN, name):
        raise InvalidRequest((FieldError("name", f"{name!r} is no tenant's name."),))
    answer = yield from http.put(f"/v1/tenants/{name}", limits.model_dump(exclude_none=True))
    return http.read(TenantBody, answer)


def me() -> Flow[Me]:
    """Tell who asks."""
    return http.read(Me, (yield from http.get("/v1/me")))


def _fetched(job_id: str, index: int) -> Flow[bytes]:
    """Read a finished picture's file, and wait out an outage as `wait` does."""
    patience = Patience(f"Job {job_id}")
    while True:
        try:
            return (yield from image(job_id, index))
        except (GatewayUnavailable, Unavailable, RateLimited) as error:
            yield Pause(patience.bear(error, POLL_S))


def _job(job_id: str) -> str:
    """Where a job is."""
    return f"/v1/jobs/{_id(job_id)}"


def _id(job_id: str) -> str:
    """Keep what is no id from reaching another route."""
    if not job_id.isalnum() or not job_id.isascii():
        raise JobNotFound(job_id)
    return job_id
