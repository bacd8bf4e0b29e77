"""A visitor's jobs as their page shows them: which, in what order, and what of that is news to the browser.

Reads jobs through the gateway's client, has `ui.cards` word each, and knows nothing of Gradio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final, TypedDict

from shared.client import Client
from shared.contract import JobBody
from shared.errors import JobNotFound
from shared.jobs import JobId
from ui.cards import card

FIRST: Final = 24
"""Jobs that a page shows at first, and by which it grows."""
MOST_SEARCHED: Final = 1000
"""A search looks through so many of the latest jobs."""
MOST_FAVOURITES: Final = 200
MOST_LOADED: Final = 2 * MOST_SEARCHED
"""A page that is open for days while a program submits begins anew here."""
MOST_FOLLOWED: Final = 8
"""Jobs behind the latest that a look asks after, one by one: each counts against the visitor's requests a minute."""
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of their jobs a visitor wants to see."""

    number: int = FIRST
    search: str = ""
    """Words that must all stand in what the job was asked for, or be a seed or an id."""
    favourites: frozenset[str] | None = None
    """Only these jobs; None: all."""
    linked: str | None = None
    """A job that an address names: it is shown beside the others, however old it is."""

    @property
    def words(self) -> tuple[str, ...]:
        """What is searched for, without regard to capitals."""
        return tuple(self.search.casefold().split())


class News(TypedDict):
    """What the browser is told; `ui/static/feed.js` puts it into the page."""

    base: int | None
    """The number of the news that this continues; null: forget what you show."""
    number: int
    order: list[str]
    """All jobs that are shown, newest first."""
    cards: dict[str, str]
    """HTML by job, of those that have changed."""
    more: bool
    """True if there are older ones."""
    search: str
    """What was searched for, as it was typed."""
    filtered: bool
    """True if not all jobs are wanted: if none is shown, there may be some all the same."""
    linked: str | None
    """The job that an address named; if it is not in `order`, there is none such for this visitor."""
    gone: list[str]
    """Jobs that were deleted here, by the gateway's word; others are only out of sight."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a page shows of a visitor's jobs."""

    asked: Asked = Asked()
    loaded: tuple[JobBody, ...] = ()
    """Newest first; what is shown is among these."""
    cursor: str | None = None
    """Where those begin that are not loaded; None if all are, or none is yet."""
    cards: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTML by job, of what is shown, in order."""
    has_more: bool = False
    number: int = 0
    """How often there was news."""
    gone: tuple[str, ...] = ()
    """Jobs that were deleted since the last news."""
    is_told: bool = False
    """True once the browser knows what is shown."""

    @property
    def is_busy(self) -> bool:
        """True while one of the jobs waits or runs."""
        return any(not job.status.is_terminal for job in self.loaded)

    def job(self, job_id: str) -> JobBody | None:
        """Find a job that was loaded."""
        return next((job for job in self.loaded if job.id == job_id), None)

    def untold(self) -> Feed:
        """Begin anew with a browser that has lost the thread."""
        return replace(self, cards={}, is_told=False)

    def without(self, job_id: str) -> Feed:
        """Leave out a job that is gone."""
        left = tuple(job for job in self.loaded if job.id != job_id)
        return _shown(replace(self, loaded=left, gone=(*self.gone, job_id)))

    def with_job(self, job: JobBody) -> Feed:
        """Put in a job that is new, or has changed."""
        return _shown(replace(self, loaded=_in_order([job, *(one for one in self.loaded if one.id != job.id)])))


def look_at_jobs(client: Client, feed: Feed, asked: Asked) -> Feed:
    """See how a visitor's jobs stand. Raises what the client's verbs raise."""
    head = client.jobs(limit=FIRST)
    known = _still_there(client, feed, head.data, reaches_the_end=head.next_cursor is None)
    loaded = {job.id: job for job in (*head.data, *(known or ()))}
    cursor = feed.cursor if known else head.next_cursor
    wanted = MOST_SEARCHED if asked.words else 0 if asked.favourites is not None else asked.number
    while cursor is not None and len(loaded) < wanted:
        page = client.jobs(cursor=cursor, limit=min(_PAGE, wanted))
        loaded = {job.id: job for job in page.data} | loaded
        cursor = page.next_cursor
    if asked != feed.asked or known is None:
        loaded |= {job.id: job for job in _found(client, _missing(asked, loaded.keys()))}
    return _shown(replace(feed, asked=asked, loaded=_in_order(loaded.values()), cursor=cursor))


def news(seen: Feed, now: Feed) -> tuple[Feed, News | None]:
    """Tell what has changed, and the feed that counts it; None if nothing has, or nobody could look."""
    if now is seen:
        return now, None
    changed = {job_id: html for job_id, html in now.cards.items() if seen.cards.get(job_id) != html}
    order = list(now.cards)
    is_same = seen.is_told and not (changed or now.gone)
    is_same = is_same and order == list(seen.cards) and seen.has_more == now.has_more
    if is_same and seen.asked == now.asked:
        return replace(now, number=seen.number, is_told=True), None
    gone, now = list(now.gone), replace(now, number=seen.number + 1, gone=(), is_told=True)
    return now, {
        "base": seen.number if seen.is_told else None,
        "number": now.number,
        "order": order,
        "cards": changed,
        "more": now.has_more,
        "search": now.asked.search,
        "filtered": bool(now.asked.words) or now.asked.favourites is not None,
        "linked": now.asked.linked,
        "gone": gone,
    }


def _still_there(
    client: Client, feed: Feed, head: tuple[JobBody, ...], *, reaches_the_end: bool
) -> list[JobBody] | None:
    """Of the jobs that were known, those older than the latest, which were just read; the others of them are gone.

    None if they are to be forgotten: there may be jobs between them and the latest, or they are too many.
    """
    if reaches_the_end:
        return []
    if feed.job(head[-1].id) is None or len(feed.loaded) > MOST_LOADED:
        return None
    fresh = {job.id for job in head}
    older = [job for job in feed.loaded if job.id not in fresh and job.created_at <= head[-1].created_at]
    ended = [job for job in older if job.status.is_terminal]
    # Those that one sees come first, and of them the oldest, which are drawn first; the others' turn comes.
    going = sorted(
        (job for job in older if not job.status.is_terminal), key=lambda job: (job.id not in feed.cards, job.created_at)
    )
    return ended + _found(client, [job.id for job in going[:MOST_FOLLOWED]]) + going[MOST_FOLLOWED:]


def _missing(asked: Asked, loaded: AbstractSet[str]) -> list[str]:
    """List what is wanted, however old it is, and not loaded."""
    favourites = sorted((asked.favourites or frozenset()) - loaded)[:MOST_FAVOURITES]
    return favourites if asked.linked is None or asked.linked in loaded else [*favourites, asked.linked]


def _found(client: Client, job_ids: Iterable[str]) -> list[JobBody]:
    jobs: list[JobBody] = []
    for job_id in job_ids:
        try:
            jobs.append(client.job(job_id))
        except JobNotFound:
            continue
    return jobs


def _in_order(jobs: Iterable[JobBody]) -> tuple[JobBody, ...]:
    return tuple(sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True))


def _shown(feed: Feed) -> Feed:
    """Choose what is shown of what is loaded, and word it."""
    asked = feed.asked
    fitting = [job for job in feed.loaded if _fits(job, asked)]
    first = {job.id for job in fitting[: asked.number]}
    cards = {job.id: card(job) for job in feed.loaded if job.id in first or job.id == asked.linked}
    is_cut = len(fitting) > asked.number
    reaches_back = asked.favourites is None and len(feed.loaded) < MOST_SEARCHED
    return replace(feed, cards=cards, has_more=is_cut or (feed.cursor is not None and reaches_back and not asked.words))


def _fits(job: JobBody, asked: Asked) -> bool:
    if asked.favourites is not None and job.id not in asked.favourites:
        return False
    if not asked.words:
        return True
    text = " ".join((job.params.prompt, job.params.negative_prompt, *job.metadata.values())).casefold()
    names = {job.id, str(job.params.seed), *(str(image.seed) for image in job.images)}
    return all(word in text or word in names for word in asked.words)


def job_ids_of(favourites: Iterable[object]) -> frozenset[str]:
    """Read favourites as the browser keeps them, `JOB/INDEX` each."""
    return frozenset(str(JobId(str(one).partition("/")[0])) for one in favourites)
