"""What can be asked of batches: path, body and answer of each verb, as a flow. `Client` says what each does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import httpx2
from pydantic_core import to_json

from shared.batches import BatchBody, BatchPage, ResultBody
from shared.client import following, http
from shared.client.patience import Patience
from shared.client.steps import Emit, Emitting, Flow, Open, Pause, Send, next_chunk
from shared.contract import IDEMPOTENCY_KEY, JobRequest
from shared.errors import BatchNotFound, FieldError, GatewayUnavailable, InvalidRequest, RateLimited, Unavailable

BATCHES: Final = "/v1/batches"
JSON_LINES: Final = "application/jsonl"
COUNTS_S: Final = 1.0
"""How often a batch's counts are looked at."""


def lines_of(requests: Path | Iterable[str | JobRequest]) -> bytes:
    """Say requests in JSON Lines; what a `JobRequest` does not name is left to the gateway.

    Raises OSError for a file that can't be read, InvalidRequest for a string: its characters are no prompts.
    """
    if isinstance(requests, Path):
        return requests.read_bytes()
    if isinstance(requests, str):
        raise InvalidRequest(
            (FieldError("requests", "Is one string. Send a list of prompts, or the `Path` of a file."),)
        )
    return b"".join(_line(one) + b"\n" for one in requests)


def _line(request: str | JobRequest) -> bytes:
    # Not with its defaults: in a batch an unnamed lane is another than elsewhere.
    named = (
        {"prompt": request} if isinstance(request, str) else request.model_dump(exclude_unset=True, exclude_none=True)
    )
    return to_json(named)


def submit(lines: bytes, name: str, idempotency_key: str) -> Flow[BatchBody]:
    """Ask for the pictures of many requests."""
    headers = {"Content-Type": JSON_LINES, IDEMPOTENCY_KEY: idempotency_key}
    query = {"name": name} if name else None
    return http.read(BatchBody, (yield from http.post_once(Send("POST", BATCHES, query, lines, headers))))


def batch(batch_id: str) -> Flow[BatchBody]:
    """Read a batch."""
    return http.read(BatchBody, (yield from http.get(_batch(batch_id))))


def batches(cursor: str | None, limit: int | None) -> Flow[BatchPage]:
    """Read a page of batches."""
    return http.read(BatchPage, (yield from http.get(BATCHES, http.said(cursor=cursor, limit=limit))))


def wait(
    batch_id: str,
    *,
    client_timeout: httpx2.Timeout,
    timeout_s: float | None,
    on_progress: Callable[[BatchBody], object] | None,
    poll_s: float,
) -> Flow[BatchBody]:
    """Wait until a batch has ended."""
    return following.wait(
        following.batch(_batch(batch_id), batch_id),
        client_timeout=client_timeout,
        timeout_s=timeout_s,
        on_progress=on_progress,
        poll_s=poll_s,
    )


def cancel(batch_id: str) -> Flow[BatchBody]:
    """End a batch."""
    return http.read(BatchBody, (yield from http.post(f"{_batch(batch_id)}/cancel", None)))


def delete(batch_id: str) -> Flow[None]:
    """Delete a batch, its jobs and their pictures."""
    yield from http.delete(_batch(batch_id))


def results(batch_id: str, *, unended: bool, client_timeout: httpx2.Timeout) -> Emitting[ResultBody]:
    """Emit what became of the lines; `Client.batch_results` says the rest."""
    step = Open(
        f"{_batch(batch_id)}/results", {"all": "true"} if unended else {}, {}, client_timeout, is_of_events=False
    )
    patience, told = Patience(f"Batch {batch_id}"), 0
    while True:
        try:
            response = http.checked((yield from http.send(step)))
            patience.renew()
            rest = b""
            while (chunk := (yield from _next())) is not None:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    result = http.parsed(ResultBody, line, response)
                    if result.line > told:  # else it was told before the answer broke off
                        told = result.line
                        yield Emit(result)
        except (GatewayUnavailable, Unavailable, RateLimited) as error:
            yield Pause(patience.bear(error, COUNTS_S))
        else:
            return


def archive(batch_id: str, *, client_timeout: httpx2.Timeout) -> Emitting[bytes]:
    """Emit the archive's bytes; `Client.save_batch` says the rest."""
    step = Open(f"{_batch(batch_id)}/results.zip", {}, {}, client_timeout, is_of_events=False)
    http.checked((yield from http.send(step, http.RETRY_DELAYS_S)))
    while (chunk := (yield from _next())) is not None:
        yield Emit(chunk)


def _next() -> Flow[bytes | None]:
    try:
        return (yield from next_chunk())
    except httpx2.HTTPError as error:
        raise http.unreachable(error) from error


def _batch(batch_id: str) -> str:
    """Where a batch is. Keeps what is no id from reaching another route."""
    if not batch_id.isalnum() or not batch_id.isascii():
        raise BatchNotFound(batch_id)
    return f"{BATCHES}/{batch_id}"
