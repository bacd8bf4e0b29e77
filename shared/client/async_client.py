"""The client that is awaited, a method for each of `Client`'s, which tells what it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from copy import copy
from pathlib import Path
from typing import Self, Unpack

import httpx2

from shared.access import Scope
from shared.batches import BatchBody, BatchPage, ResultBody
from shared.checks import Checks
from shared.client import batches, http, verbs, webhooks
from shared.client.batches import COUNTS_S
from shared.client.client import DEFAULT_URL
from shared.client.drivers import AsyncDriver
from shared.client.following import POLL_S
from shared.client.http import TIMEOUT
from shared.client.result import Result
from shared.client.verbs import Order, Params
from shared.contract import JobBody, JobPage, JobRequest, ModelBody, Readiness, TokensBody
from shared.events import EventBody
from shared.keyring import KeyBody, LimitsBody, Me, NewKeyBody, TenantBody
from shared.oversight import FailedList, HistoryBody, QueueBody, RetriedJob, SetAsideList, WorkerBody, WorkerList
from shared.webhooks import DeliveryBody, DeliveryPage, WebhookBody, WebhookEvent, WebhookWithSecret


class AsyncClient:
    """A gateway's client for one event loop."""

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        visitor: str | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._ask_through(AsyncDriver.to(base_url, timeout, transport).asking_as(api_key, visitor))

    def _ask_through(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self._run = driver.run

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()

    def acting(self, *, api_key: str | None = None, visitor: str | None = None, must_know: bool = False) -> Self:
        """As `Client.acting`."""
        other = copy(self)
        other._ask_through(self._driver.asking_as(api_key, visitor, must_know=must_know))  # noqa: SLF001 one of us
        return other

    async def submit(
        self, prompt: str | JobRequest, *, idempotency_key: str | None = None, **params: Unpack[Params]
    ) -> JobBody:
        """As `Client.submit`."""
        return await self._run(verbs.submit(prompt, idempotency_key, params))

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> JobBody:
        """As `Client.retry`."""
        return await self._run(verbs.retry(job_id, idempotency_key))

    async def job(self, job_id: str) -> JobBody:
        """As `Client.job`."""
        return await self._run(verbs.job(job_id))

    async def jobs(self, *, cursor: str | None = None, limit: int | None = None) -> JobPage:
        """As `Client.jobs`."""
        return await self._run(verbs.jobs(cursor, limit))

    async def cancel(self, job_id: str) -> JobBody:
        """As `Client.cancel`."""
        return await self._run(verbs.cancel(job_id))

    async def delete(self, job_id: str) -> None:
        """As `Client.delete`."""
        await self._run(verbs.delete(job_id))

    async def image(self, job_id: str, index: int, *, redirect: bool = True) -> bytes:
        """As `Client.image`."""
        return await self._run(verbs.image(job_id, index, redirect=redirect))

    async def preview(self, job_id: str) -> bytes | None:
        """As `Client.preview`."""
        return await self._run(verbs.preview(job_id))

    async def models(self) -> tuple[ModelBody, ...]:
        """As `Client.models`."""
        return await self._run(verbs.models())

    async def count_tokens(
        self, prompt: str, *, negative_prompt: str | None = None, model: str | None = None
    ) -> TokensBody:
        """As `Client.count_tokens`."""
        return await self._run(verbs.count_tokens(prompt, negative_prompt, model))

    async def ready(self) -> Readiness:
        """As `Client.ready`."""
        return await self._run(verbs.ready())

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[JobBody], object] | None = None,
        poll_s: float = POLL_S,
    ) -> JobBody:
        """As `Client.wait`."""
        return await self._run(
            verbs.wait(
                job_id, client_timeout=self._timeout, timeout_s=timeout_s, on_progress=on_progress, poll_s=poll_s
            )
        )

    def follow(self, job_id: str, *, previews: bool = False) -> AsyncGenerator[EventBody]:
        """As `Client.follow`. Close it (`contextlib.aclosing`) if you leave it before its end."""
        return self._driver.each(verbs.follow(job_id, client_timeout=self._timeout, previews=previews))

    async def result(self, job: JobBody) -> Result:
        """As `Client.result`."""
        return await self._run(verbs.result(job))

    async def generate(
        self,
        prompt: str | JobRequest,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[JobBody], object] | None = None,
        **params: Unpack[Params],
    ) -> Result:
        """As `Client.generate`."""
        return await self._run(
            verbs.generate(prompt, params, client_timeout=self._timeout, timeout_s=timeout_s, on_progress=on_progress)
        )

    async def submit_batch(
        self, requests: Path | Iterable[str | JobRequest], *, name: str = "", idempotency_key: str | None = None
    ) -> BatchBody:
        """As `Client.submit_batch`."""
        is_file = isinstance(requests, Path)
        lines = await asyncio.to_thread(batches.lines_of, requests) if is_file else batches.lines_of(requests)
        return await self._run(batches.submit(lines, name, http.once(idempotency_key)))

    async def batch(self, batch_id: str) -> BatchBody:
        """As `Client.batch`."""
        return await self._run(batches.batch(batch_id))

    async def batches(self, *, cursor: str | None = None, limit: int | None = None) -> BatchPage:
        """As `Client.batches`."""
        return await self._run(batches.batches(cursor, limit))

    async def wait_batch(
        self,
        batch_id: str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[BatchBody], object] | None = None,
        poll_s: float = COUNTS_S,
    ) -> BatchBody:
        """As `Client.wait_batch`."""
        return await self._run(
            batches.wait(
                batch_id, client_timeout=self._timeout, timeout_s=timeout_s, on_progress=on_progress, poll_s=poll_s
            )
        )

    def batch_results(self, batch_id: str, *, unended: bool = False) -> AsyncGenerator[ResultBody]:
        """As `Client.batch_results`. Close it (`contextlib.aclosing`) if you leave it before its end."""
        return self._driver.each(batches.results(batch_id, unended=unended, client_timeout=self._timeout))

    async def save_batch(self, batch_id: str, path: str | Path) -> Path:
        """As `Client.save_batch`."""
        return await self._driver.save(batches.archive(batch_id, client_timeout=self._timeout), Path(path))

    async def cancel_batch(self, batch_id: str) -> BatchBody:
        """As `Client.cancel_batch`."""
        return await self._run(batches.cancel(batch_id))

    async def delete_batch(self, batch_id: str) -> None:
        """As `Client.delete_batch`."""
        await self._run(batches.delete(batch_id))

    async def create_webhook(
        self, url: str, *, events: Iterable[WebhookEvent | str] | None = None, description: str = ""
    ) -> WebhookWithSecret:
        """As `Client.create_webhook`."""
        return await self._run(webhooks.create(url, events, description))

    async def webhooks(self) -> tuple[WebhookBody, ...]:
        """As `Client.webhooks`."""
        return await self._run(webhooks.webhooks())

    async def webhook(self, webhook_id: str) -> WebhookBody:
        """As `Client.webhook`."""
        return await self._run(webhooks.webhook(webhook_id))

    async def change_webhook(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Iterable[WebhookEvent | str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> WebhookBody:
        """As `Client.change_webhook`."""
        return await self._run(
            webhooks.change(webhook_id, url=url, events=events, description=description, enabled=enabled)
        )

    async def delete_webhook(self, webhook_id: str) -> None:
        """As `Client.delete_webhook`."""
        await self._run(webhooks.delete(webhook_id))

    async def renew_webhook_secret(self, webhook_id: str) -> WebhookWithSecret:
        """As `Client.renew_webhook_secret`."""
        return await self._run(webhooks.renew_secret(webhook_id))

    async def test_webhook(self, webhook_id: str) -> DeliveryBody:
        """As `Client.test_webhook`."""
        return await self._run(webhooks.test(webhook_id))

    async def deliveries(self, webhook_id: str, *, cursor: str | None = None, limit: int | None = None) -> DeliveryPage:
        """As `Client.deliveries`."""
        return await self._run(webhooks.deliveries(webhook_id, cursor, limit))

    async def replay_delivery(self, webhook_id: str, delivery_id: str) -> DeliveryBody:
        """As `Client.replay_delivery`."""
        return await self._run(webhooks.replay(webhook_id, delivery_id))

    async def workers(self) -> WorkerList:
        """As `Client.workers`."""
        return await self._run(verbs.workers())

    async def queue(self) -> QueueBody:
        """As `Client.queue`."""
        return await self._run(verbs.queue())

    async def set_aside(self, *, limit: int | None = None) -> SetAsideList:
        """As `Client.set_aside`."""
        return await self._run(verbs.set_aside(limit))

    async def failed(self, *, limit: int | None = None) -> FailedList:
        """As `Client.failed`."""
        return await self._run(verbs.failed(limit))

    async def retry_failed(self, job_id: str) -> RetriedJob:
        """As `Client.retry_failed`."""
        return await self._run(verbs.retry_failed(job_id))

    async def history(self, *, minutes: int | None = None) -> HistoryBody:
        """As `Client.history`."""
        return await self._run(verbs.history(minutes))

    async def checks(self) -> Checks:
        """As `Client.checks`."""
        return await self._run(verbs.checks())

    async def direct_all(self, order: Order) -> QueueBody:
        """As `Client.direct_all`."""
        return await self._run(verbs.direct_all(order))

    async def direct_worker(self, order: Order, worker_id: str) -> WorkerBody:
        """As `Client.direct_worker`."""
        return await self._run(verbs.direct_worker(order, worker_id))

    async def create_key(
        self,
        name: str,
        tenant: str,
        *,
        scopes: Iterable[Scope | str] | None = None,
        expires_after_s: int | None = None,
    ) -> NewKeyBody:
        """As `Client.create_key`."""
        return await self._run(verbs.create_key(name, tenant, scopes, expires_after_s))

    async def keys(self) -> tuple[KeyBody, ...]:
        """As `Client.keys`."""
        return await self._run(verbs.keys())

    async def revoke_key(self, key_id: str) -> None:
        """As `Client.revoke_key`."""
        await self._run(verbs.revoke_key(key_id))

    async def tenants(self) -> tuple[TenantBody, ...]:
        """As `Client.tenants`."""
        return await self._run(verbs.tenants())

    async def limit_tenant(self, name: str, limits: LimitsBody) -> TenantBody:
        """As `Client.limit_tenant`."""
        return await self._run(verbs.limit_tenant(name, limits))

    async def me(self) -> Me:
        """As `Client.me`."""
        return await self._run(verbs.me())
