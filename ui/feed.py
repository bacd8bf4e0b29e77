"""A visitor's jobs as their page shows them: which, in what order, and what of that is news to the browser.

Reads jobs through the gateway's client, has `ui.cards` word each, and knows nothing of Gradio.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypedDict

from shared.client import Client
from shared.contract import JobBody
from shared.errors import JobNotFound
from shared.jobs import ID_PATTERN
from ui.cards import card, words_of

FIRST: Final = 24
"""Jobs that a page shows at first, and by which it grows."""
MOST_SEARCHED: Final = 1000
"""A search looks through so many of the latest jobs, and a page shows no more."""
MOST_FAVOURITES: Final = 200
MOST_LOADED: Final = 2 * MOST_SEARCHED
"""A page that is open for days while a program submits begins anew here."""
MOST_FOLLOWED: Final = 8
"""Jobs behind the latest that a look asks after, one by one: each counts against the visitor's requests a minute."""
FOLLOWED_EVERY: Final = 4
"""Looks of which one asks after those that wait or run."""
MOST_FETCHED: Final = 24
"""Favourites that a look reads, one by one; the others' turn comes at the next ones."""
RENEWED_EVERY: Final = 40
"""Looks after which all that is known is read anew: what was deleted elsewhere goes, what is not shown is let go."""
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of their jobs a visitor wants to see."""

    number: int = FIRST
    search: str = ""
    """Words that must all stand in what the job was asked for, or be a number in it or its id."""
    favourites: tuple[str, ...] | None = None
    """Only these jobs, the one that was starred last first; None: all."""
    linked: str | None = None
    """A job that an address names: it is shown beside the others, however old it is."""
    choice: int = 0
    """How often the visitor has chosen: each time they are answered, also if nothing else is."""

    @property
    def words(self) -> tuple[str, ...]:
        """What is searched for, without regard to capitals."""
        return tuple(self.search.lower().split())

    @property
    def is_all(self) -> bool:
        """True if whatever is the latest is wanted."""
        return not self.words and self.favourites is None


class News(TypedDict):
    """What the browser is told of the feed; `ui/static/feed.js` puts it into the page."""

    order: list[str]
    """All jobs that are shown, newest first."""
    cards: dict[str, str]
    """HTML by job, of those that have changed."""
    more: bool
    """True if older ones can be shown."""
    end: str
    """What is said where the feed ends though there are older ones."""
    search: str
    """What was searched for, as it was typed."""
    filtered: bool
    """True if not all jobs are wanted: if none is shown, there may be some all the same."""
    linked: str | None
    """The job that an address named; if it is not in `order`, there is none such for this visitor."""
    gone: list[str]
    """Jobs that were there and are deleted, by the gateway's word; others are only out of sight."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a page shows of a visitor's jobs."""

    asked: Asked = Asked()
    loaded: tuple[JobBody, ...] = ()
    """The latest without a gap, as the gateway lists them: by when it took them, which their times may not say."""
    cursor: str | None = None
    """Where those begin that are not loaded; None if all are, or none is yet."""
    apart: tuple[JobBody, ...] = ()
    """Favourites, and the job of a link, that are older than what is loaded."""
    unread: frozenset[str] = frozenset()
    """Favourites that the next looks read."""
    unknown: frozenset[str] = frozenset()
    """Favourites that are not among this visitor's jobs: deleted long ago, or another key's. Asked after once."""
    missing: tuple[str, ...] = ()
    """Jobs that were here, and that this look or the next ones ask after."""
    gone: frozenset[str] = frozenset()
    """Jobs that were here, and are deleted, by the gateway's word."""
    cards: Mapping[str, str] = field(default_factory=dict[str, str])
    """HTML by job, of what is shown, in order."""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a search looks through by job, while there is one."""
    has_more: bool = False
    end: str = ""
    looks: int = 0
    """How often the jobs were read; nothing is known before."""

    @property
    def is_busy(self) -> bool:
        """True while one of the jobs waits or runs, or is still to be read."""
        return bool(self.unread) or any(not job.has_ended for job in self.known)

    @property
    def known(self) -> tuple[JobBody, ...]:
        """All that were read."""
        return (*self.loaded, *self.apart)

    def job(self, job_id: str) -> JobBody | None:
        """Find a job that was loaded."""
        return next((job for job in self.known if job.id == job_id), None)

    def without(self, job_id: str) -> Feed:
        """Leave out a job that is gone."""
        loaded, apart = (tuple(job for job in jobs if job.id != job_id) for jobs in (self.loaded, self.apart))
        return _shown(replace(self, loaded=loaded, apart=apart, gone=self.gone | {job_id}), self)

    def with_job(self, job: JobBody) -> Feed:
        """Put in a job that is new, or has changed; an old one that is not known is left to the next look."""
        if self.job(job.id) is None:
            if self.loaded and job.created_at < self.loaded[-1].created_at:
                return self
            return _shown(replace(self, loaded=(job, *self.loaded)), self)
        loaded, apart = (tuple(job if one.id == job.id else one for one in jobs) for jobs in (self.loaded, self.apart))
        return _shown(replace(self, loaded=loaded, apart=apart), self)


def look_at_jobs(client: Client, feed: Feed, asked: Asked) -> Feed:
    """See how a visitor's jobs stand. Raises what the client's verbs raise."""
    feed = replace(feed, looks=feed.looks + 1)
    head = client.jobs(limit=FIRST)
    known = _still_there(client, feed, head.data, reaches_the_end=head.next_cursor is None)
    if known is None or not _is_same_visitor(feed, (*head.data, *known)):
        feed = replace(feed, loaded=(), apart=(), unknown=frozenset(), missing=())
    is_renewed = feed.looks % RENEWED_EVERY == 0 or (bool(feed.asked.words) and not asked.words)
    kept = () if is_renewed or known is None else known
    loaded = {job.id: job for job in (*head.data, *kept)}
    cursor = feed.cursor if kept else head.next_cursor
    wanted = MOST_SEARCHED if asked.words else 0 if asked.favourites is not None else asked.number
    while cursor is not None and len(loaded) < wanted:
        page = client.jobs(cursor=cursor, limit=min(_PAGE, wanted))
        loaded |= {job.id: job for job in page.data}
        cursor = page.next_cursor
    now = replace(feed, asked=asked, loaded=tuple(loaded.values()), cursor=cursor)
    return _shown(_with_those_apart(client, feed, _without_those_gone(client, feed.loaded, now)), feed)


def news(shown: Sequence[Feed], now: Feed) -> News | None:
    """Tell a browser that shows one of these what has changed; None if nothing has, or nobody could look."""
    if not now.looks:
        return None
    changed = {
        job_id: html for job_id, html in now.cards.items() if any(one.cards.get(job_id) != html for one in shown)
    }
    if not changed and all(_looks_the_same(one, now) for one in shown):
        return None
    return {
        "order": list(now.cards),
        "cards": changed,
        "more": now.has_more,
        "end": now.end,
        "search": now.asked.search,
        "filtered": not now.asked.is_all,
        "linked": now.asked.linked,
        "gone": sorted(now.gone - frozenset[str].intersection(*(one.gone for one in shown))),
    }


def _looks_the_same(one: Feed, other: Feed) -> bool:
    """Compare all but the cards' HTML."""
    said, others = ((feed.asked.choice, feed.asked.search, feed.has_more, feed.end) for feed in (one, other))
    return bool(one.looks) and said == others and list(one.cards) == list(other.cards) and other.gone <= one.gone


def _still_there(
    client: Client, feed: Feed, head: tuple[JobBody, ...], *, reaches_the_end: bool
) -> list[JobBody] | None:
    """Of the jobs that were known, those older than the latest, which were just read; the others of them are gone.

    None if they are to be forgotten: there may be jobs between them and the latest, or they are too many.
    """
    if reaches_the_end:
        return []
    last = next((at for at, job in enumerate(feed.loaded) if job.id == head[-1].id), None)
    if last is None or len(feed.loaded) > MOST_LOADED:
        return None
    fresh = {job.id for job in head}
    older = [job for job in feed.loaded[last + 1 :] if job.id not in fresh]
    if feed.looks % FOLLOWED_EVERY:
        return older
    # Those that one sees come first, and of them the oldest, which are drawn first; the others' turn comes.
    going = sorted(
        (job for job in older if not job.has_ended), key=lambda job: (job.id not in feed.cards, job.created_at)
    )
    followed = {job.id: None for job in going[:MOST_FOLLOWED]}
    now = followed | {job.id: job for job in _found(client, followed)}
    return [job for one in older if (job := now.get(one.id, one)) is not None]


def _is_same_visitor(feed: Feed, now: Iterable[JobBody]) -> bool:
    """Tell whether any job that was loaded is there; somebody may have signed in, in another tab."""
    return not feed.loaded or not {job.id for job in feed.loaded}.isdisjoint(job.id for job in now)


def _without_those_gone(client: Client, before: Sequence[JobBody], now: Feed) -> Feed:
    """Ask after jobs that were loaded and are missing, so many at a time, and note those that are deleted."""
    there = {job.id for job in now.loaded}
    missing = dict.fromkeys((*now.missing, *(job_id for job_id in _within(before, now) if job_id not in there)))
    asked_after = list(missing)[:MOST_FOLLOWED]
    gone = frozenset(asked_after) - {job.id for job in _found(client, asked_after)}
    return replace(now, missing=tuple(missing)[MOST_FOLLOWED:], gone=now.gone | gone)


def _within(before: Sequence[JobBody], now: Feed) -> list[str]:
    """Name those of the jobs that were loaded that lie no further back than what is loaded now."""
    there = {job.id for job in now.loaded}
    last = max((at for at, job in enumerate(before) if job.id in there), default=-1)
    reaches_on = last >= 0 and before[last].id != now.loaded[-1].id
    return [job.id for job in (before if now.cursor is None or reaches_on else before[: last + 1])]


def _with_those_apart(client: Client, before: Feed, now: Feed) -> Feed:
    """Read what is wanted however old it is: so many at a time, and only what is new here or may have changed."""
    loaded, asked = {job.id for job in now.loaded}, now.asked
    favourites = [job_id for job_id in asked.favourites or () if job_id not in now.unknown | now.gone]
    wanted = [asked.linked] if asked.linked and asked.linked not in now.unknown | now.gone else []
    wanted = [one for one in dict.fromkeys([*wanted, *favourites[:MOST_FAVOURITES]]) if one not in loaded]
    had = {job.id: job for job in (*before.loaded, *before.apart) if job.id in wanted}
    unread = [job_id for job_id in wanted if job_id not in had]
    going = [job_id for job_id, job in had.items() if not job.has_ended]
    followed = () if now.looks % FOLLOWED_EVERY else going[:MOST_FOLLOWED]
    asked_after = [*unread[:MOST_FETCHED], *followed, *_its_turn(list(had), now.looks)]
    found = {job.id: job for job in _found(client, dict.fromkeys(asked_after))}
    missing = frozenset(asked_after) - found.keys()
    return replace(
        now,
        apart=_by_time(job for job in (had | found).values() if job.id not in missing),
        unread=frozenset(unread[MOST_FETCHED:]),
        unknown=now.unknown | (missing - had.keys()),
        gone=now.gone | (missing & had.keys()),
    )


def _its_turn(job_ids: Sequence[str], looks: int) -> Sequence[str]:
    """Choose, at one look of many, some that are asked after though they have ended: they may be deleted."""
    turn, rest = divmod(looks, RENEWED_EVERY)
    if rest or not job_ids:
        return ()
    begin = turn * MOST_FOLLOWED % len(job_ids)
    return job_ids[begin : begin + MOST_FOLLOWED]


def _found(client: Client, job_ids: Iterable[str]) -> list[JobBody]:
    jobs: list[JobBody] = []
    for job_id in job_ids:
        try:
            jobs.append(client.job(job_id))
        except JobNotFound:
            continue
    return jobs


def _by_time(jobs: Iterable[JobBody]) -> tuple[JobBody, ...]:
    return tuple(sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True))


def _shown(feed: Feed, before: Feed) -> Feed:
    """Choose what is shown of what is known, and word what was not shown like that before."""
    asked = feed.asked
    within = feed.known if asked.favourites is not None else feed.loaded
    was = {job.id: job for job in before.known}
    same = {job.id for job in feed.known if was.get(job.id) == job}
    texted, carded = same & before.texts.keys(), same & before.cards.keys()
    texts: dict[str, str] = {
        job.id: before.texts[job.id] if job.id in texted else words_of(job) for job in (within if asked.words else ())
    }
    fitting = [job for job in within if _fits(job, asked, texts)]
    first = {job.id for job in fitting[: asked.number]}
    cards = {
        job.id: before.cards[job.id] if job.id in carded else card(job)
        for job in feed.known
        if job.id in first or job.id == asked.linked
    }
    is_cut = len(fitting) > asked.number
    reaches_back = asked.is_all and feed.cursor is not None
    is_full = asked.number >= MOST_SEARCHED
    has_more = not is_full and (is_cut or reaches_back)
    return replace(feed, cards=cards, texts=texts, has_more=has_more, end="" if has_more else _end(feed))


def _end(feed: Feed) -> str:
    """Say why a feed ends though there is more."""
    asked, stars = feed.asked, len(feed.asked.favourites or ())
    if asked.favourites is not None:
        is_cut = stars - len(feed.unknown) > MOST_FAVOURITES
        return f"Of your favourites the latest {MOST_FAVOURITES} are looked through." if is_cut else ""
    if feed.cursor is None:
        return ""
    verb = "searched" if asked.words else "shown"
    return f"Your latest {MOST_SEARCHED:,} requests are {verb} here; links to older ones open them."


def _fits(job: JobBody, asked: Asked, texts: Mapping[str, str]) -> bool:
    is_wanted = asked.favourites is None or job.id in asked.favourites
    return is_wanted and all(word == job.id or _says(texts[job.id], word) for word in asked.words)


def _says(said: str, word: str) -> bool:
    """Find a word, or the beginning, middle or end of one; but a number as a whole."""
    if not (word.isascii() and word.isdigit()):
        return word in said
    return re.search(f"(?<![0-9]){word}(?![0-9])", said) is not None


def job_ids_of(favourites: Iterable[object]) -> tuple[str, ...]:
    """Read favourites as the browser keeps them, `JOB/INDEX` each, the one that was starred last at the end."""
    ids = (str(one).partition("/")[0] for one in reversed(list(favourites)))
    return tuple(dict.fromkeys(job_id for job_id in ids if re.fullmatch(ID_PATTERN, job_id)))
