"""The client's verbs, typed."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Self, TypedDict, Unpack
from uuid import uuid4

import httpx2

from shared.client.http import TIMEOUT, Http, checked, problem_of, read
from shared.client.result import Picture, Result, failure_of
from shared.contract import JobBody, JobPage, JobRequest, ModelBody, ModelList, Readiness, checked_key
from shared.errors import GatewayUnavailable, JobNotFound, Unavailable, WaitTimeout
from shared.generation import OutputFormat, Scheduler, Size
from shared.jobs import JobStatus
from shared.lanes import Lane

DEFAULT_URL: Final = "http://127.0.0.1:8000"
OUTAGE_S: Final = 30.0
"""How long `wait` and `generate` bear a gateway, queue or store that is away: a restart takes less."""
ANSWER_S: Final = 5.0
"""How long after the end of its hold an answer may come; then its connection is taken for dead."""
LAST_LOOK_S: Final = 1.0
"""What `wait` grants its last look beyond its own time."""
POLL_S: Final = 0.25
"""How often a job's progress is looked at."""


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
    deterministic: bool


class Client:
    """A gateway's client. Every method raises GatewayUnavailable if nothing answers at `base_url`."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        timeout: httpx2.Timeout = TIMEOUT,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._http = Http(base_url, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self, prompt: str | JobRequest, *, idempotency_key: str | None = None, **params: Unpack[Params]
    ) -> JobBody:
        """Ask for pictures; returns at once with the queued job.

        A lost connection or a short outage is tried again: the request carries an idempotency key, drawn anew for each
        call, so there will be one job all the same. Who wants to call again himself gives one.

        Raises InvalidRequest with every wrong field, QueueFull, TenantQueueFull, IdempotencyMismatch, or a subclass of
        Unavailable; the job was not accepted then. After GatewayUnavailable it may have been.
        """
        if isinstance(prompt, JobRequest):
            body: dict[str, object] = {**prompt.model_dump(exclude_none=True), **params}
        else:
            body = {"prompt": prompt, **params}
        return read(JobBody, self._http.post("/v1/jobs", body, key=_key(idempotency_key)))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobBody:
        """Submit a job that failed, expired or was canceled once more; returns the new job.

        Raises JobNotFound, NotRetryable, and what `submit` raises.
        """
        path = f"/v1/jobs/{_segment(job_id)}/retry"
        return read(JobBody, self._http.post(path, None, key=_key(idempotency_key)))

    def job(self, job_id: str) -> JobBody:
        """Read a job; raise JobNotFound if there is none."""
        return read(JobBody, self._http.get(f"/v1/jobs/{_segment(job_id)}"))

    def jobs(self, *, cursor: str | None = None, limit: int | None = None) -> JobPage:
        """Read a page of jobs, newest first; `cursor` is the last page's `next_cursor`."""
        said = {"cursor": cursor, "limit": limit}
        query = {key: value for key, value in said.items() if value is not None}
        return read(JobPage, self._http.get("/v1/jobs", query))

    def cancel(self, job_id: str) -> JobBody:
        """Cancel a job unless it has ended; returns it as it stands then."""
        return read(JobBody, self._http.post(f"/v1/jobs/{_segment(job_id)}/cancel", None))

    def delete(self, job_id: str) -> None:
        """Delete a job and its pictures, canceled first if it has not ended; raise JobNotFound if there is none."""
        self._http.delete(f"/v1/jobs/{_segment(job_id)}")

    def image(self, job_id: str, index: int, *, redirect: bool = True) -> bytes:
        """Read a finished picture's file; raise ImageNotFound if there is none (yet).

        Without `redirect` it comes through the gateway, also where the store has a public address.
        """
        query: dict[str, str | int] | None = None if redirect else {"redirect": "false"}
        return self._http.get(f"/v1/jobs/{_segment(job_id)}/images/{index}", query).content

    def preview(self, job_id: str) -> bytes | None:
        """Read the latest preview of a running job, a small JPEG; None if there is none."""
        response = self._http.get_any(f"/v1/jobs/{_segment(job_id)}/preview")
        if response.status_code == HTTPStatus.NOT_FOUND and problem_of(response).code != JobNotFound.code:
            return None
        return checked(response).content

    def models(self) -> tuple[ModelBody, ...]:
        """Read what is served: limits, sizes, schedulers, defaults; empty if no worker has started yet."""
        return read(ModelList, self._http.get("/v1/models")).data

    def ready(self) -> Readiness:
        """Ask whether the service can draw now; `checks` says what is missing."""
        return read(Readiness, self._http.get_any("/readyz"))

    def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[JobBody], object] | None = None,
        poll_s: float = POLL_S,
    ) -> JobBody:
        """Wait until the job has ended, however it ended, and return it.

        The gateway tells the moment it has. `on_progress` is called with each change, the end included: a move at once,
        what happens between moves at most `poll_s` later. An outage of up to `OUTAGE_S` seconds is waited out; the
        error of a longer one names the job. Raises WaitTimeout after `timeout_s`, or up to `LAST_LOOK_S` later if
        nothing answers; the job goes on then.
        """
        deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        patience, last = _Patience(job_id), None
        while True:
            asked_at = time.monotonic()
            left_s = max(0.0, deadline - asked_at)
            # Who follows the progress hears of each move, who doesn't of the end alone.
            longest_s = self._http.longest_hold_s
            hold_s = longest_s if on_progress is None else min(poll_s, longest_s) if last else 0.0
            version = last.version if last and on_progress is not None else None
            try:
                job = self._look(job_id, hold_s=min(hold_s, left_s), version=version, left_s=left_s)
            except (GatewayUnavailable, Unavailable) as error:
                patience.bear(error)
                next_at = time.monotonic() + poll_s
            else:
                patience.renew()
                is_news = last is None or _seen_of(job) != _seen_of(last)
                if on_progress is not None and is_news:
                    on_progress(job)
                if job.status.is_terminal:
                    return job
                last = job
                # An answer that was not held and is no news: the gateway stops, or can't hold any.
                next_at = 0.0 if is_news else asked_at + min(poll_s, hold_s)
            now = time.monotonic()
            if now >= deadline:
                raise WaitTimeout(f"Job {job_id} was not done after {timeout_s:g} s. It goes on.")
            if next_at > now:
                time.sleep(min(next_at, deadline) - now)

    def generate(
        self,
        prompt: str | JobRequest,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[JobBody], object] | None = None,
        **params: Unpack[Params],
    ) -> Result:
        """Submit, wait for up to `timeout_s`, and fetch the pictures.

        Raises what `submit` and `wait` raise, and a subclass of GenerationFailed if the job ended
        without its pictures.
        """
        job = self.submit(prompt, **params)
        job = self.wait(job.id, timeout_s=timeout_s, on_progress=on_progress)
        if job.status is not JobStatus.SUCCEEDED:
            raise failure_of(job)
        return Result(job, tuple(Picture(job.id, info, self._fetch(job.id, info.index)) for info in job.images))

    def _look(self, job_id: str, *, hold_s: float, version: int | None, left_s: float) -> JobBody:
        """Read a job, once: who waits looks again anyway. The gateway may hold its answer for `hold_s`."""
        query: dict[str, str | int] = {} if hold_s == 0 else {"wait": f"{hold_s:.3f}"}
        if query and version is not None:
            query["version"] = version
        within_s = min(hold_s + ANSWER_S, left_s + LAST_LOOK_S)
        return read(JobBody, self._http.get_once(f"/v1/jobs/{_segment(job_id)}", query, within_s=within_s))

    def _fetch(self, job_id: str, index: int) -> bytes:
        """Read a finished picture's file, and wait out an outage as `wait` does."""
        patience = _Patience(job_id)
        while True:
            try:
                return self.image(job_id, index)
            except (GatewayUnavailable, Unavailable) as error:
                patience.bear(error)
            time.sleep(POLL_S)


class _Patience:
    """With a gateway that is away while a job is followed."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._away_since: float | None = None

    def renew(self) -> None:
        """Note an answer."""
        self._away_since = None

    def bear(self, error: GatewayUnavailable | Unavailable) -> None:
        """Return while the outage is short; else raise the error with the job's id, so that it is not drawn twice."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > OUTAGE_S:
            raise type(error).quoted(f"{error} Job {self._job_id} was accepted: wait for it by its id.") from error


def _seen_of(job: JobBody) -> tuple[object, ...]:
    """What makes it another job to look at."""
    return job.version, job.position, job.progress


def _key(said: str | None) -> str:
    return uuid4().hex if said is None else checked_key(said)


def _segment(job_id: str) -> str:
    """Keep what is no id from reaching another route."""
    if not job_id.isalnum() or not job_id.isascii():
        raise JobNotFound(job_id)
    return job_id
