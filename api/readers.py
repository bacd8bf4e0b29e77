"""One reader of a stream: what they have heard of and been told, and how the news are found out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Protocol, final

from redis.asyncio import Redis

import api.changes
from api.changes import Word
from api.following import Followed, Following
from api.outlook import Outlooks
from api.telling import NOTHING, Event, Seen, Telling, View
from shared.connection import run_async
from shared.errors import JobNotFound, QueueUnavailable
from shared.events import Gone
from shared.jobs import JobId, JobStatus, Tenant
from shared.scripts import Changed, changed


class Reader(Protocol):
    """Somebody who follows something."""

    woken: asyncio.Event
    """Set when there may be news: cleared before they are asked for."""
    is_over: bool
    """True once no more can come."""

    def news(self) -> AsyncGenerator[Event]:
        """Tell what is new by now. Raises QueueUnavailable: ask again, nothing is lost."""
        ...


@final
class JobReader:
    """Follows one job to its end."""

    def __init__(self, followed: Followed, woken: asyncio.Event, seen: Seen, *, previews: bool) -> None:
        self.woken = woken
        self.is_over = False
        self._followed = followed
        self._telling = Telling(seen)
        self._previews = previews

    async def news(self) -> AsyncGenerator[Event]:
        """Tell what is new by now. Raises QueueUnavailable."""
        try:
            view = await self._followed.view()
            shows = self._previews and view.job.status is JobStatus.RUNNING
            jpeg = await self._followed.preview() if shows else None
        except JobNotFound:
            self.is_over = True
            yield Event(Gone(job=self._followed.job_id))
            return
        for event in self._telling.news(view, jpeg):
            yield event
        self.is_over = view.job.status.is_terminal


@final
class TenantReader:
    """Follows all of a tenant's jobs, from the change numbered `since` on."""

    def __init__(self, tenant: Tenant, since: int, redis: Redis, following: Following, outlooks: Outlooks) -> None:
        self.woken = asyncio.Event()
        self.is_over = False
        self._tenant = tenant
        self._since = since
        self._redis = redis
        self._following = following
        self._outlooks = outlooks
        self._told: dict[JobId, Telling] = {}
        """Of those that go on and have begun, or have pictures: of others nothing need be remembered."""
        self._has_changes = True
        self._progressed = set[JobId]()
        self._gone = set[JobId]()
        self._looked_at_s = 0.0

    def hear(self, word: Word | None) -> None:
        """Note where to look."""
        match word:
            case Word(kind="progress", job_id=job_id):
                self._progressed.add(job_id)
            case Word(kind="gone", job_id=job_id):
                self._gone.add(job_id)
            case _:
                self._has_changes = True
        self.woken.set()

    async def news(self) -> AsyncGenerator[Event]:
        """Tell what is new by now. Raises QueueUnavailable."""
        while self._has_changes or time.monotonic() - self._looked_at_s > api.changes.LOOK_ANYWAY_S:
            page = await self._page()
            for change in page.changes:
                view = View(change.job, await self._outlooks.prospect(change.job), time.monotonic())
                for event in self._news_of(view, change.number):
                    yield event
            self._since = page.number
        while self._progressed:
            view = await self._running(self._progressed.pop())
            for event in () if view is None else self._news_of(view):
                yield event
        while self._gone:
            job_id = self._gone.pop()
            self._told.pop(job_id, None)
            yield Event(Gone(job=job_id))

    async def _page(self) -> Changed:
        """Ask for what has changed; what is heard of meanwhile is for the next time."""
        self._has_changes = False
        try:
            page = await run_async(self._redis, changed(self._tenant, since=self._since))
        except QueueUnavailable:
            self._has_changes = True
            raise
        self._has_changes |= not page.is_all
        self._looked_at_s = time.monotonic()
        return page

    async def _running(self, job_id: JobId) -> View | None:
        """A job that is being drawn; None if it no longer is, which has been told or will be."""
        with self._following.follow(job_id, self._tenant) as (followed, _):
            try:
                view = await followed.view()
            except JobNotFound:
                return None
        return view if view.job.status is JobStatus.RUNNING else None

    def _news_of(self, view: View, number: int | None = None) -> list[Event]:
        """Tell of one job; all is told with the last event, which has the change's number for an id."""
        job = view.job
        telling = self._told.pop(job.id, None) or Telling(NOTHING)
        news = [replace(event, id=None) for event in telling.news(view)]
        if job.status is JobStatus.RUNNING or (telling.seen.images and not job.status.is_terminal):
            self._told[job.id] = telling
        if news and number is not None:
            news[-1] = replace(news[-1], id=str(number))
        return news
