"""To see a job through: `wait` by held answers, `follow` by its stream of events. Flows, without I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Generic

import httpx2
from pydantic import ValidationError

from shared.batches import BatchBody
from shared.client.http import BodyT, checked, read, send, shortened, unreachable
from shared.client.patience import Patience
from shared.client.steps import Emit, Emitting, Flow, Open, Pause, Send, next_event
from shared.contract import JobBody
from shared.errors import GatewayUnavailable, RateLimited, Unavailable, UnexpectedAnswer, WaitTimeout
from shared.events import EVENTS, LAST_EVENT_ID, EventBody, Gone
from shared.words import newer_words

HOLD_S: Final = 15.0
"""How long the gateway may hold an answer: less than proxies bear."""
ANSWER_S: Final = 5.0
"""How long after the end of its hold an answer may come; then its connection is taken for dead."""
LAST_LOOK_S: Final = 1.0
"""What `wait` grants its last look beyond its own time."""
POLL_S: Final = 0.25
"""How often a job's progress is looked at."""
SILENCE_S: Final = 40.0
"""A stream that is silent for so long is taken for dead: the gateway sends a comment every 15 s."""
REOPEN_S: Final = 1.0
"""Before a stream that broke off is opened again, unless the gateway says another time."""


@dataclass(frozen=True, slots=True)
class Awaited(Generic[BodyT]):
    """What is waited for: a job or a batch."""

    path: str
    name: str
    """Such as `Job 5r0z9k2m4c7q8x1t6w3v0h2j9n`."""
    body: type[BodyT]
    has_ended: Callable[[BodyT], bool]
    seen: Callable[[BodyT], object]
    """What makes it another one to look at."""
    version: Callable[[BodyT], int | None]
    """By which the gateway tells what is news; None if it has none, and is asked again and again."""


def job(path: str, job_id: str) -> Awaited[JobBody]:
    """A job, to be waited for."""
    return Awaited(
        path,
        f"Job {job_id}",
        JobBody,
        has_ended=lambda job: job.has_ended,
        seen=lambda job: (job.version, job.position, job.progress),
        version=lambda job: job.version,
    )


def batch(path: str, batch_id: str) -> Awaited[BatchBody]:
    """A batch, to be waited for."""
    return Awaited(
        path,
        f"Batch {batch_id}",
        BatchBody,
        has_ended=lambda batch: batch.has_ended,
        seen=lambda batch: (batch.status, batch.counts),
        version=lambda _: None,
    )


def wait(
    awaited: Awaited[BodyT],
    *,
    client_timeout: httpx2.Timeout,
    timeout_s: float | None,
    on_progress: Callable[[BodyT], object] | None,
    poll_s: float,
) -> Flow[BodyT]:
    """Wait until it has ended; `Client.wait` says the rest."""
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    read_s = client_timeout.read
    # How long the gateway may hold an answer: well below the time-out.
    longest_s = HOLD_S if read_s is None else min(HOLD_S, read_s / 2)
    patience, last = Patience(awaited.name), None
    while True:
        asked_at = time.monotonic()
        left_s = max(0.0, deadline - asked_at)
        # Who follows the progress hears of each move, who doesn't of the end alone.
        hold_s = longest_s if on_progress is None else min(poll_s, longest_s) if last else 0.0
        hold_s = min(hold_s, left_s)
        version = awaited.version(last) if last and on_progress is not None else None
        within = shortened(client_timeout, min(hold_s + ANSWER_S, left_s + LAST_LOOK_S))
        try:
            # Once: who waits looks again anyway.
            response = yield from send(Send("GET", awaited.path, _hold(hold_s, version), timeout=within))
            now_is = read(awaited.body, checked(response))
        except (GatewayUnavailable, Unavailable, RateLimited) as error:
            next_at = time.monotonic() + patience.bear(error, poll_s)
        else:
            patience.renew()
            is_news = last is None or awaited.seen(now_is) != awaited.seen(last)
            if on_progress is not None and is_news:
                on_progress(now_is)
            if awaited.has_ended(now_is):
                return now_is
            last = now_is
            # An answer that was not held and is no news: the gateway stops, or can't hold any.
            next_at = 0.0 if is_news else asked_at + min(poll_s, hold_s)
        now = time.monotonic()
        if now >= deadline:
            raise WaitTimeout(f"{awaited.name} was not done after {timeout_s:g} s. It goes on.")
        if next_at > now:
            yield Pause(min(next_at, deadline) - now)


def follow(path: str, job_id: str, *, client_timeout: httpx2.Timeout, previews: bool) -> Emitting[EventBody]:
    """Emit a job's events until its end; `Client.follow` says the rest."""
    patience, seen, pause_s = Patience(f"Job {job_id}"), "", REOPEN_S
    timeout = httpx2.Timeout(**{**client_timeout.as_dict(), "read": SILENCE_S})
    query: dict[str, str | int] = {"previews": "true"} if previews else {}
    while True:
        try:
            headers = {"Accept": "text/event-stream"} | ({LAST_EVENT_ID: seen} if seen else {})
            response = checked((yield from send(Open(path, query, headers, timeout))))
            if response.status_code == HTTPStatus.NO_CONTENT:  # the end was seen
                return
            patience.renew()
            while (said := (yield from _next())) is not None:
                seen, pause_s = said.id or seen, pause_s if said.retry is None else said.retry / 1000
                event = _parsed(said)
                if event is not None:
                    yield Emit(event)
                    if isinstance(event, JobBody | Gone):
                        return
        except (GatewayUnavailable, Unavailable, RateLimited) as error:
            yield Pause(patience.bear(error, pause_s))
        else:
            yield Pause(pause_s)


def _next() -> Flow[httpx2.ServerSentEvent | None]:
    try:
        return (yield from next_event())
    except httpx2.SSEError as error:
        raise UnexpectedAnswer(f"{error.request.url} answered with no stream of events. Check the address.") from error
    except httpx2.HTTPError as error:
        raise unreachable(error) from error


def _hold(hold_s: float, version: int | None) -> dict[str, str | int]:
    """Ask the gateway to hold its answer."""
    if hold_s == 0:
        return {}
    return {"wait": f"{hold_s:.3f}"} | ({} if version is None else {"version": version})


def _parsed(said: httpx2.ServerSentEvent) -> EventBody | None:
    """Read an event; None for a kind that this version doesn't know."""
    body = EVENTS.get(said.event)
    try:
        with newer_words():
            return None if body is None else body.model_validate_json(said.data)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"The gateway sent an event {said.event!r} that this client can't read. "
            "Check that client and gateway are of the same version."
        ) from error
