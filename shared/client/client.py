"""The client that blocks: its verbs, typed and told. How each goes stands in `verbs`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from copy import copy
from pathlib import Path
from typing import Final, Self, Unpack

import httpx2

from shared.access import Scope
from shared.batches import BatchBody, BatchPage, ResultBody
from shared.checks import Checks
from shared.client import batches, http, verbs, webhooks
from shared.client.batches import COUNTS_S
from shared.client.drivers import Driver
from shared.client.following import POLL_S
from shared.client.http import TIMEOUT
from shared.client.result import Result
from shared.client.verbs import Order, Params
from shared.contract import JobBody, JobPage, JobRequest, ModelBody, Readiness, TokensBody
from shared.events import EventBody
from shared.keyring import KeyBody, LimitsBody, Me, NewKeyBody, TenantBody
from shared.oversight import FailedList, HistoryBody, QueueBody, RetriedJob, SetAsideList, WorkerBody, WorkerList
from shared.webhooks import DeliveryBody, DeliveryPage, WebhookBody, WebhookEvent, WebhookWithSecret

DEFAULT_URL: Final = "http://127.0.0.1:8000"


class Client:
    """A gateway's client. Every method raises GatewayUnavailable if nothing answers at `base_url`.

    Where the gateway asks for keys, `api_key` is one, and every method raises KeyRequired, KeyRefused, ScopeMissing and
    RateLimited as well. With `visitor` a key that has the scope `visit` acts for that visitor of its owner's.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        visitor: str | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._ask_through(Driver.to(base_url, timeout, transport).asking_as(api_key, visitor))

    def _ask_through(self, driver: Driver) -> None:
        self._driver = driver
        self._run = driver.run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def acting(self, *, api_key: str | None = None, visitor: str | None = None, must_know: bool = False) -> Self:
        """Give a client over the same connections that asks with another key, or for a visitor of this one's owner.

        So a web application acts for each of its own people. Closing either client closes both. Raises InvalidRequest
        for what no header can hold.

        A gateway that needs no keys takes one that is none of ours for none, and whoever sends it for whoever has none.
        With `must_know` it is refused there too, as KeyRefused: so ask with a key that somebody else has brought.
        """
        other = copy(self)
        other._ask_through(self._driver.asking_as(api_key, visitor, must_know=must_know))  # noqa: SLF001 one of us
        return other

    def submit(
        self, prompt: str | JobRequest, *, idempotency_key: str | None = None, **params: Unpack[Params]
    ) -> JobBody:
        """Ask for pictures; returns at once with the queued job.

        A lost connection or a short outage is tried again: the request carries an idempotency key, drawn anew for each
        call, so there will be one job all the same. Who wants to call again himself gives one.

        Raises InvalidRequest with every wrong field, QueueFull, TenantQueueFull, IdempotencyMismatch, or a subclass of
        Unavailable; the job was not accepted then. After GatewayUnavailable it may have been.
        """
        return self._run(verbs.submit(prompt, idempotency_key, params))

    def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobBody:
        """Submit a job that failed, expired or was canceled once more; returns the new job.

        Raises JobNotFound, NotRetryable, and what `submit` raises.
        """
        return self._run(verbs.retry(job_id, idempotency_key))

    def job(self, job_id: str) -> JobBody:
        """Read a job; raise JobNotFound if there is none."""
        return self._run(verbs.job(job_id))

    def jobs(self, *, cursor: str | None = None, limit: int | None = None) -> JobPage:
        """Read a page of jobs, newest first; `cursor` is the last page's `next_cursor`."""
        return self._run(verbs.jobs(cursor, limit))

    def cancel(self, job_id: str) -> JobBody:
        """Cancel a job unless it has ended; returns it as it stands then."""
        return self._run(verbs.cancel(job_id))

    def delete(self, job_id: str) -> None:
        """Delete a job and its pictures, canceled first if it has not ended; raise JobNotFound if there is none."""
        self._run(verbs.delete(job_id))

    def image(self, job_id: str, index: int, *, redirect: bool = True) -> bytes:
        """Read a finished picture's file; raise ImageNotFound if there is none (yet).

        Without `redirect` it comes through the gateway, also where the store has a public address.
        """
        return self._run(verbs.image(job_id, index, redirect=redirect))

    def preview(self, job_id: str) -> bytes | None:
        """Read the latest preview of a running job, a small JPEG; None if there is none."""
        return self._run(verbs.preview(job_id))

    def models(self) -> tuple[ModelBody, ...]:
        """Read what is served: limits, sizes, schedulers, defaults; empty if no worker has started yet."""
        return self._run(verbs.models())

    def count_tokens(self, prompt: str, *, negative_prompt: str | None = None, model: str | None = None) -> TokensBody:
        """Ask how a model (None: the default one) would read a prompt: tokens, windows, weights, and what would be cut.

        A job with these texts says the same of its `reading`. Raises InvalidRequest for texts that are too long or a
        model that there is not, NoModel, and NoVocabulary while no worker of the model has loaded it.
        """
        return self._run(verbs.count_tokens(prompt, negative_prompt, model))

    def ready(self) -> Readiness:
        """Ask whether the service can draw now; `checks` says what is missing."""
        return self._run(verbs.ready())

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
        return self._run(
            verbs.wait(
                job_id, client_timeout=self._timeout, timeout_s=timeout_s, on_progress=on_progress, poll_s=poll_s
            )
        )

    def follow(self, job_id: str, *, previews: bool = False) -> Generator[EventBody]:
        """Iterate over what happens to a job, as it happens, from how it stands now to its end.

        A stream that breaks off is opened again where it was: no picture and no end is missed. An outage is borne as
        `wait` bears it. Raises JobNotFound if there is no such job.
        """
        return self._driver.each(verbs.follow(job_id, client_timeout=self._timeout, previews=previews))

    def result(self, job: JobBody) -> Result:
        """Fetch the pictures of a job that has ended; raise a subclass of GenerationFailed if it has none."""
        return self._run(verbs.result(job))

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
        return self._run(
            verbs.generate(prompt, params, client_timeout=self._timeout, timeout_s=timeout_s, on_progress=on_progress)
        )

    def submit_batch(
        self, requests: Path | Iterable[str | JobRequest], *, name: str = "", idempotency_key: str | None = None
    ) -> BatchBody:
        """Ask for the pictures of many requests: prompts, requests, or a file of JSON Lines of what a request is.

        Accepted whole or not at all, and tried again as `submit` is. Raises InvalidRequest with what is wrong by line,
        IdempotencyMismatch, or a subclass of Unavailable; and OSError if the file can't be read.
        """
        return self._run(batches.submit(batches.lines_of(requests), name, http.once(idempotency_key)))

    def batch(self, batch_id: str) -> BatchBody:
        """Read a batch: how many of its lines wait, are under way, have ended; raise BatchNotFound if there is none."""
        return self._run(batches.batch(batch_id))

    def batches(self, *, cursor: str | None = None, limit: int | None = None) -> BatchPage:
        """Read a page of batches, newest first; `cursor` is the last page's `next_cursor`."""
        return self._run(batches.batches(cursor, limit))

    def wait_batch(
        self,
        batch_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[BatchBody], object] | None = None,
        poll_s: float = COUNTS_S,
    ) -> BatchBody:
        """Wait until each line of a batch has ended, or the batch was canceled, and return it.

        The gateway tells the moment it has. `on_progress` is called with each change of its counts that is seen, which
        is looked for every `poll_s`, and with the end. Outages and `timeout_s` are borne as `wait` bears them.
        """
        return self._run(
            batches.wait(
                batch_id, client_timeout=self._timeout, timeout_s=timeout_s, on_progress=on_progress, poll_s=poll_s
            )
        )

    def batch_results(self, batch_id: str, *, unended: bool = False) -> Generator[ResultBody]:
        """Iterate over the lines that have ended, in their order, and what became of each; `unended`: over all lines.

        They are read as they are taken. An answer that breaks off is asked for again and goes on with the next line;
        an outage is borne as `wait` bears it. Raises BatchNotFound.
        """
        return self._driver.each(batches.results(batch_id, unended=unended, client_timeout=self._timeout))

    def save_batch(self, batch_id: str, path: str | Path) -> Path:
        """Write the pictures of all lines that have ended to a ZIP archive, with a manifest, and say where.

        It is written as it comes, and `path` is there, or another file than before, once it is whole. Raises
        BatchNotFound, GatewayUnavailable if it breaks off, OSError if it can't be written.
        """
        return self._driver.save(batches.archive(batch_id, client_timeout=self._timeout), Path(path))

    def cancel_batch(self, batch_id: str) -> BatchBody:
        """Cancel a batch unless it has ended, with its jobs and open lines; returns it as it stands then."""
        return self._run(batches.cancel(batch_id))

    def delete_batch(self, batch_id: str) -> None:
        """Delete a batch, its jobs and their pictures, canceled first if it goes on. Raises BatchNotFound."""
        self._run(batches.delete(batch_id))

    def create_webhook(
        self, url: str, *, events: Iterable[WebhookEvent | str] | None = None, description: str = ""
    ) -> WebhookWithSecret:
        """Have ends told to an address: those of jobs, or the `events` named. Only this answer tells the secret.

        It is sent once: after GatewayUnavailable the webhook may be there all the same. Raises InvalidRequest.
        """
        return self._run(webhooks.create(url, events, description))

    def webhooks(self) -> tuple[WebhookBody, ...]:
        """List the webhooks, the oldest first."""
        return self._run(webhooks.webhooks())

    def webhook(self, webhook_id: str) -> WebhookBody:
        """Read a webhook; raise WebhookNotFound if there is none."""
        return self._run(webhooks.webhook(webhook_id))

    def change_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Iterable[WebhookEvent | str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> WebhookBody:
        """Change what is named; `enabled` switches it off and on. Raises WebhookNotFound, InvalidRequest."""
        return self._run(webhooks.change(webhook_id, url=url, events=events, description=description, enabled=enabled))

    def delete_webhook(self, webhook_id: str) -> None:
        """Forget a webhook and what waits for it; raise WebhookNotFound if there is none."""
        self._run(webhooks.delete(webhook_id))

    def renew_webhook_secret(self, webhook_id: str) -> WebhookWithSecret:
        """Give a webhook another secret, which only this answer tells; for a day messages are signed by both."""
        return self._run(webhooks.renew_secret(webhook_id))

    def test_webhook(self, webhook_id: str) -> DeliveryBody:
        """Send a webhook a test; `deliveries` tells what came of it. Raises WebhookNotFound, WebhookOff."""
        return self._run(webhooks.test(webhook_id))

    def deliveries(self, webhook_id: str, *, cursor: str | None = None, limit: int | None = None) -> DeliveryPage:
        """Read a page of what a webhook was told and is to be told, latest first, with each try."""
        return self._run(webhooks.deliveries(webhook_id, cursor, limit))

    def replay_delivery(self, webhook_id: str, delivery_id: str) -> DeliveryBody:
        """Send a delivery again, now. Raises WebhookNotFound, DeliveryNotFound, WebhookOff."""
        return self._run(webhooks.replay(webhook_id, delivery_id))

    def workers(self) -> WorkerList:
        """List the living workers: what each serves, holds and shall do. For operators."""
        return self._run(verbs.workers())

    def queue(self) -> QueueBody:
        """Tell what waits and runs for each model. For operators."""
        return self._run(verbs.queue())

    def set_aside(self, *, limit: int | None = None) -> SetAsideList:
        """List the jobs that were given up as `worker_lost`, latest first. For operators."""
        return self._run(verbs.set_aside(limit))

    def failed(self, *, limit: int | None = None) -> FailedList:
        """List the jobs of all tenants that failed, latest first, without their texts. For operators."""
        return self._run(verbs.failed(limit))

    def retry_failed(self, job_id: str) -> RetriedJob:
        """Send a failed job again, for its tenant; a second time tells of the same new job. For operators.

        Raises JobNotFound if none of this id is among the failed ones.
        """
        return self._run(verbs.retry_failed(job_id))

    def history(self, *, minutes: int | None = None) -> HistoryBody:
        """Tell how jobs ended within so many minutes (60), and how long they waited. For operators."""
        return self._run(verbs.history(minutes))

    def checks(self) -> Checks:
        """Tell how the gateway finds its deployment: itself, Redis, the object store and the fleet. For operators."""
        return self._run(verbs.checks())

    def direct_all(self, order: Order) -> QueueBody:
        """Tell all workers to pause, resume or drain, those too that come later. For operators."""
        return self._run(verbs.direct_all(order))

    def direct_worker(self, order: Order, worker_id: str) -> WorkerBody:
        """Tell one worker to pause, resume or drain; raise WorkerNotFound if it doesn't live. For operators."""
        return self._run(verbs.direct_worker(order, worker_id))

    def create_key(
        self,
        name: str,
        tenant: str,
        *,
        scopes: Iterable[Scope | str] | None = None,
        expires_after_s: int | None = None,
    ) -> NewKeyBody:
        """Make a key; `key` of what is returned is in no other answer. Without `scopes` it may submit and read.

        Sent once: after GatewayUnavailable look for a key of this name and revoke it. For operators.
        """
        return self._run(verbs.create_key(name, tenant, scopes, expires_after_s))

    def keys(self) -> tuple[KeyBody, ...]:
        """List the keys, newest first, without their secrets. For operators."""
        return self._run(verbs.keys())

    def revoke_key(self, key_id: str) -> None:
        """Forget a key; raise KeyNotFound if there is none. For operators."""
        self._run(verbs.revoke_key(key_id))

    def tenants(self) -> tuple[TenantBody, ...]:
        """List the tenants that have had a key or limits. For operators."""
        return self._run(verbs.tenants())

    def limit_tenant(self, name: str, limits: LimitsBody) -> TenantBody:
        """Set all of a tenant's limits; what is None is as for everybody. For operators."""
        return self._run(verbs.limit_tenant(name, limits))

    def me(self) -> Me:
        """Tell who asks, and what that opens."""
        return self._run(verbs.me())
