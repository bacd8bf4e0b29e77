"""Which of a visitor's jobs their page shows, and what of that the browser is told; from a real gateway."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from shared.client import Client
from shared.contract import JobBody, JobPage
from shared.jobs import JobId, new_job_id
from shared.keys import DEFAULT
from tests.integration.conftest import client, gateway, hand, worker
from tests.integration.serving import Hand
from ui.cards import card
from ui.feed import (
    FIRST,
    FOLLOWED_EVERY,
    MOST_FETCHED,
    MOST_FOLLOWED,
    RENEWED_EVERY,
    Asked,
    Feed,
    job_ids_of,
    look_at_jobs,
    news,
)

__all__ = ["client", "gateway", "hand", "worker"]

MANY = FIRST + 6
NOON_MS = 1_700_000_000_000


@pytest.fixture
def visitor(client: Client, hand: Hand) -> Client:
    """Somebody who has never been here."""
    assert hand.card
    return client.acting(visitor=uuid4().hex)


class Counting(Client):
    """A client over another one's connections that counts the requests for jobs."""

    def __init__(self, client: Client) -> None:
        self.__dict__.update(client.__dict__)
        self.requests = 0

    def job(self, job_id: str) -> JobBody:
        self.requests += 1
        return super().job(job_id)

    def jobs(self, *, cursor: str | None = None, limit: int | None = None) -> JobPage:
        self.requests += 1
        return super().jobs(cursor=cursor, limit=limit)


def submit_many(visitor: Client, number: int) -> list[JobId]:
    """Their ids, newest first."""
    return [visitor.submit(f"cube {at}", seed=1000 + at).id for at in range(number)][::-1]


def opened(visitor: Client, asked: Asked | None = None) -> Feed:
    """The feed of a page that has just been opened."""
    return look_at_jobs(visitor, Feed(), asked or Asked())


def say_when(hand: Hand, job: JobId, created_at_ms: int) -> None:
    """Have a job been submitted at another time by Redis' clock."""
    hand.redis.hset(f"{DEFAULT.prefix}job:{job}", "created_at_ms", str(created_at_ms))


def looked(visitor: Client, feed: Feed, times: int) -> Feed:
    """The feed after so many looks at the same."""
    for _ in range(times):
        feed = look_at_jobs(visitor, feed, feed.asked)
    return feed


class TestWhatIsShown:
    def test_is_the_latest_first_and_more_when_asked(self, visitor: Client) -> None:
        jobs = submit_many(visitor, MANY)

        first = opened(visitor)
        second = look_at_jobs(visitor, first, replace(first.asked, number=2 * FIRST))

        assert (list(first.cards), first.has_more) == (jobs[:FIRST], True)
        assert (list(second.cards), second.has_more) == (jobs, False)

    def test_is_nothing_of_another_visitor(self, client: Client, visitor: Client) -> None:
        submit_many(client.acting(visitor="another"), 2)

        assert opened(visitor).cards == {}

    def test_stays_whole_when_new_jobs_come_and_old_ones_are_deleted(self, visitor: Client) -> None:
        jobs = submit_many(visitor, MANY)
        feed = look_at_jobs(visitor, opened(visitor), Asked(number=2 * FIRST))
        new = visitor.submit("one more").id
        visitor.delete(jobs[3])
        visitor.delete(jobs[FIRST - 2])

        now = look_at_jobs(visitor, feed, feed.asked)

        assert list(now.cards) == [job for job in [new, *jobs] if job not in {jobs[3], jobs[FIRST - 2]}]

    def test_is_read_anew_when_all_that_was_known_is_far_behind(self, visitor: Client) -> None:
        submit_many(visitor, 3)
        feed = opened(visitor)
        jobs = submit_many(visitor, MANY)

        assert list(look_at_jobs(visitor, feed, feed.asked).cards) == jobs[:FIRST]

    def test_follows_a_job_that_is_far_behind_to_its_end(self, visitor: Client, hand: Hand) -> None:
        jobs = submit_many(visitor, MANY)
        asked = Asked(number=2 * FIRST)
        feed = opened(visitor, asked)
        taken = hand.take()
        assert taken.job.id == jobs[-1]

        running = looked(visitor, feed, FOLLOWED_EVERY)
        hand.fail(taken, "model_error", "It broke.")
        failed = looked(visitor, running, FOLLOWED_EVERY)

        assert "Starting" in running.cards[jobs[-1]]
        assert "It broke." in failed.cards[jobs[-1]]

    def test_has_no_gap_where_many_came_between_two_looks(self, visitor: Client) -> None:
        old = submit_many(visitor, 3)
        feed = opened(visitor)
        jobs = [*submit_many(visitor, MANY), *old]

        now = look_at_jobs(visitor, feed, feed.asked)
        all_of_them = look_at_jobs(visitor, now, Asked(number=2 * FIRST))

        assert (list(now.cards), now.has_more) == (jobs[:FIRST], True)
        assert list(all_of_them.cards) == jobs

    def test_is_nothing_of_who_sat_there_before(self, client: Client, visitor: Client) -> None:
        submit_many(visitor, MANY)
        before = look_at_jobs(visitor, opened(visitor), Asked(number=2 * FIRST))
        other = client.acting(visitor=uuid4().hex)
        jobs = submit_many(other, MANY)

        assert list(look_at_jobs(other, before, Asked(number=2 * FIRST)).cards) == jobs

    def test_has_its_favourites_still_when_many_came_between_two_looks(self, visitor: Client) -> None:
        old = visitor.submit("a favourite").id
        submit_many(visitor, MANY)
        feed = opened(visitor, Asked(favourites=(old,)))
        submit_many(visitor, MANY)

        assert list(look_at_jobs(visitor, feed, feed.asked).cards) == [old]

    def test_costs_no_more_requests_the_more_jobs_wait(self, client: Client, visitor: Client, hand: Hand) -> None:
        assert client
        jobs = submit_many(visitor, 2 * FIRST + MANY)
        asked = Asked(number=len(jobs))
        feed = opened(visitor, asked)
        asked_for = Counting(visitor)
        taken = hand.take()

        now = looked(asked_for, feed, FOLLOWED_EVERY)
        hand.release(taken)

        assert asked_for.requests <= FOLLOWED_EVERY + MOST_FOLLOWED
        assert list(now.cards) == jobs
        assert "Starting" in now.cards[jobs[-1]]

    def test_forgets_the_oldest_of_a_page_that_is_open_for_long(
        self, visitor: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ui.feed.MOST_LOADED", MANY)
        feed = opened(visitor)
        jobs: list[JobId] = []
        for _ in range(3):
            jobs = [*submit_many(visitor, FIRST // 2), *jobs]
            feed = look_at_jobs(visitor, feed, feed.asked)
        submit_many(visitor, FIRST // 2)

        feed = look_at_jobs(visitor, feed, feed.asked)

        assert len(feed.loaded) == FIRST
        assert feed.has_more

    @pytest.mark.parametrize(
        ("search", "found"),
        [("CUBE", 3), ("cube 2", 1), ("2 cube", 1), ("sphere", 0), ("typed", 1), ("777", 1), ("77", 0)],
    )
    def test_is_what_was_searched_for_in_any_order_of_words(self, visitor: Client, search: str, found: int) -> None:
        submit_many(visitor, 3)
        visitor.submit("around what was said", metadata={"prompt": "what I typed"}, seed=777)

        assert len(opened(visitor, Asked(search=search)).cards) == found

    def test_is_found_among_old_ones_too(self, visitor: Client) -> None:
        jobs = submit_many(visitor, MANY)
        feed = opened(visitor)

        found = look_at_jobs(visitor, feed, replace(feed.asked, search="cube 1000"))

        assert list(found.cards) == [jobs[-1]]

    def test_is_the_favourites_however_old_and_without_those_that_are_gone(self, visitor: Client) -> None:
        jobs = submit_many(visitor, MANY)
        feed = opened(visitor)
        visitor.delete(jobs[-2])
        favourites = job_ids_of([f"{jobs[-1]}/0", f"{jobs[-2]}/1", f"{jobs[2]}/3", f"{jobs[2]}/0", "nonsense"])

        shown = look_at_jobs(visitor, feed, replace(feed.asked, favourites=favourites))
        again = look_at_jobs(visitor, shown, shown.asked)

        assert list(shown.cards) == [jobs[2], jobs[-1]]
        assert list(again.cards) == list(shown.cards)


class TestALink:
    def test_shows_its_job_however_old_it_is_and_keeps_it(self, visitor: Client) -> None:
        jobs = submit_many(visitor, 2 * MANY)
        feed = opened(visitor)

        linked = look_at_jobs(visitor, feed, Asked(linked=jobs[-2], choice=1))
        told = news([feed], linked)
        later = look_at_jobs(visitor, linked, linked.asked)
        more = look_at_jobs(visitor, later, replace(later.asked, number=3 * FIRST))

        assert list(linked.cards) == list(later.cards) == [*jobs[:FIRST], jobs[-2]]
        assert linked.has_more
        assert told is not None
        assert told["linked"] == jobs[-2]
        assert list(more.cards) == jobs

    def test_shows_it_beside_what_is_searched_for(self, visitor: Client) -> None:
        jobs = submit_many(visitor, 3)

        assert list(opened(visitor, Asked(search="cube 2", linked=jobs[1])).cards) == jobs[:2]

    @pytest.mark.parametrize("whose", ["another's", "nobody's", "no id"])
    def test_to_what_is_not_the_visitors_is_answered_without_it(
        self, client: Client, visitor: Client, whose: str
    ) -> None:
        jobs = submit_many(visitor, 2)
        others = client.acting(visitor="another").submit("a cube").id
        feed = opened(visitor)
        linked = {"another's": others, "nobody's": new_job_id(), "no id": "../keys"}[whose]

        for choice in (1, 2):
            now = look_at_jobs(visitor, feed, Asked(linked=linked, choice=choice))
            told = news([feed], now)
            feed = now

            assert told is not None
            assert (told["order"], told["linked"], told["gone"]) == (jobs, linked, [])


class TestNews:
    def test_is_all_at_first_and_then_what_changes(self, visitor: Client, hand: Hand) -> None:
        older, newer = submit_many(visitor, 2)[::-1]

        first = opened(visitor)
        taken = hand.take()
        second = look_at_jobs(visitor, first, first.asked)
        hand.release(taken)
        at_first, then = news([Feed()], first), news([first], second)

        assert at_first is not None
        assert (at_first["order"], set(at_first["cards"])) == ([newer, older], {newer, older})
        assert then is not None
        assert then["order"] == [newer, older]
        assert older in then["cards"]

    def test_is_none_where_nothing_changed(self, visitor: Client, hand: Hand) -> None:
        visitor.cancel(visitor.submit("a cube").id)
        assert hand.take_any() is None
        feed = opened(visitor)

        assert news([feed], look_at_jobs(visitor, feed, feed.asked)) is None

    def test_is_none_while_nobody_could_look(self) -> None:
        assert news([Feed()], Feed()) is None

    def test_answers_each_choice(self, visitor: Client) -> None:
        feed = opened(visitor)

        assert news([feed], look_at_jobs(visitor, feed, replace(feed.asked, choice=1))) is not None

    def test_tells_all_that_any_of_the_lost_answers_said(self, visitor: Client, hand: Hand) -> None:
        job = visitor.submit("a cube").id
        before = opened(visitor)
        visitor.cancel(job)
        lost = look_at_jobs(visitor, before, before.asked)
        assert hand.take_any() is None

        now = look_at_jobs(visitor, lost, lost.asked)
        told = news([before, lost], now)

        assert news([lost], now) is None
        assert told is not None
        assert "Canceled" in told["cards"][job]

    def test_tells_of_a_page_without_jobs_too(self, visitor: Client) -> None:
        told = news([Feed()], opened(visitor))

        assert told is not None
        assert (told["order"], told["filtered"]) == ([], False)

    def test_of_a_new_job_needs_no_look(self, visitor: Client) -> None:
        feed = opened(visitor)
        job = visitor.submit("a cube")

        told = news([feed], feed.with_job(job))

        assert told is not None
        assert (told["order"], set(told["cards"])) == ([job.id], {job.id})

    def test_of_an_old_job_that_the_page_has_forgotten_is_left_to_a_look(self, visitor: Client) -> None:
        jobs = submit_many(visitor, MANY)
        feed = opened(visitor)

        now = feed.with_job(visitor.cancel(jobs[-1]))
        more = look_at_jobs(visitor, now, Asked(number=2 * FIRST))

        assert list(now.cards) == jobs[:FIRST]
        assert list(more.cards) == jobs, "no gap before it"

    def test_of_a_job_that_is_gone_takes_its_card_away(self, visitor: Client) -> None:
        older, newer = submit_many(visitor, 2)[::-1]
        feed = opened(visitor)

        left = feed.without(newer)
        told, after = news([feed], left), news([left], left.with_job(visitor.submit("another cube")))

        assert told is not None
        assert (told["order"], told["cards"], told["gone"]) == ([older], {}, [newer])
        assert after is not None
        assert after["gone"] == [], "it is told once"

    def test_does_not_call_gone_what_is_out_of_sight(self, visitor: Client) -> None:
        submit_many(visitor, 2)
        feed = opened(visitor)

        told = news([feed], look_at_jobs(visitor, feed, Asked(search="sphere", choice=1)))

        assert told is not None
        assert (told["order"], told["gone"]) == ([], [])


class TestWhatIsDeletedElsewhere:
    def test_goes_from_among_the_latest_at_once_and_its_star_too(self, visitor: Client) -> None:
        older, newer = submit_many(visitor, 2)[::-1]
        feed = opened(visitor)
        visitor.delete(older)

        told = news([feed], look_at_jobs(visitor, feed, feed.asked))

        assert told is not None
        assert (told["order"], told["gone"]) == ([newer], [older])

    def test_goes_from_further_back_after_a_while(self, visitor: Client) -> None:
        jobs = submit_many(visitor, 2 * FIRST)
        for job in jobs:
            visitor.cancel(job)
        feed = opened(visitor, Asked(number=2 * FIRST))
        visitor.delete(jobs[-2])

        now = looked(visitor, feed, RENEWED_EVERY)

        assert list(now.cards) == [job for job in jobs if job != jobs[-2]]
        assert now.gone == {jobs[-2]}

    def test_goes_from_the_favourites_after_a_while(self, visitor: Client) -> None:
        jobs = submit_many(visitor, 2 * FIRST)
        for job in jobs:
            visitor.cancel(job)
        feed = opened(visitor, Asked(favourites=(jobs[-1], jobs[-2])))
        visitor.delete(jobs[-2])

        now = looked(visitor, feed, RENEWED_EVERY)

        assert (list(now.cards), now.gone) == ([jobs[-1]], {jobs[-2]})

    @pytest.mark.parametrize("late_ms", [0, 3_600_000])
    def test_is_not_what_lies_further_back_than_its_time_says(self, visitor: Client, hand: Hand, late_ms: int) -> None:
        jobs = submit_many(visitor, 2 * FIRST)
        for job in jobs:
            visitor.cancel(job)
        for at, job in enumerate(jobs):  # the clock was set back by so much before the last half came
            say_when(hand, job, NOON_MS + (late_ms if at >= FIRST - 1 else 0))
        feed = opened(visitor, Asked(number=2 * FIRST))
        assert list(feed.cards) == jobs
        assert list(looked(visitor, feed, 1).cards) == jobs

        cut = looked(visitor, replace(feed, asked=Asked()), RENEWED_EVERY)

        assert (list(cut.cards), cut.gone) == (jobs[:FIRST], frozenset())

    def test_is_asked_after_before_it_is_called_gone_and_few_at_a_time(self, visitor: Client) -> None:
        jobs = submit_many(visitor, MOST_FOLLOWED + 4)
        feed = opened(visitor)
        for job in jobs[1:-1]:
            visitor.delete(job)
        asked_for = Counting(visitor)

        first = looked(asked_for, feed, 1)
        then = looked(asked_for, first, 1)

        assert list(first.cards) == list(then.cards) == [jobs[0], jobs[-1]]
        assert (len(first.gone), then.gone) == (MOST_FOLLOWED, set(jobs[1:-1]))
        assert asked_for.requests == 2 + len(jobs[1:-1])

    def test_is_not_what_another_visitor_who_signs_in_has_not(self, client: Client, visitor: Client) -> None:
        jobs = submit_many(visitor, FIRST + 1)
        feed = opened(visitor, Asked(favourites=(jobs[0], jobs[-1])))
        assert list(feed.cards) == [jobs[0], jobs[-1]]
        other = client.acting(visitor=uuid4().hex)
        other.submit("another's cube")

        for now in (looked(other, feed, 1), looked(other, feed, RENEWED_EVERY)):
            assert (list(now.cards), now.gone) == ([], frozenset())


class TestFavourites:
    def test_leave_no_gap_when_all_are_shown_again(self, visitor: Client) -> None:
        jobs = submit_many(visitor, 3 * FIRST)
        feed = opened(visitor)

        starred = look_at_jobs(visitor, feed, Asked(favourites=tuple(jobs[-6:])))
        everything = look_at_jobs(visitor, starred, Asked())
        more = look_at_jobs(visitor, everything, Asked(number=2 * FIRST))

        assert list(starred.cards) == jobs[-6:]
        assert list(everything.cards) == jobs[:FIRST]
        assert list(more.cards) == jobs[: 2 * FIRST]

    def test_that_are_dead_are_asked_after_once_and_hide_no_living_one(self, visitor: Client) -> None:
        living = visitor.submit("a favourite").id
        submit_many(visitor, FIRST)
        dead = [new_job_id() for _ in range(2 * MOST_FETCHED)]
        asked_for = Counting(visitor)

        first = look_at_jobs(asked_for, Feed(), Asked(favourites=(*dead, living)))
        requests = asked_for.requests
        now = looked(asked_for, first, 3)
        asked_for.requests = 0
        later = looked(asked_for, now, 3)

        assert requests <= 1 + MOST_FETCHED
        assert first.is_busy, "the page looks again soon"
        assert list(now.cards) == list(later.cards) == [living]
        assert asked_for.requests <= 3 * (1 + MOST_FOLLOWED)
        assert later.gone == frozenset(), "they may be another key's: their stars stay"

    def test_are_read_from_the_one_that_was_starred_last(self) -> None:
        one, other = new_job_id(), new_job_id()

        assert job_ids_of([f"{one}/0", f"{other}/1", f"{other}/0", "nonsense"]) == (other, one)


class TestASearch:
    @pytest.mark.parametrize(
        ("search", "is_found"),
        [
            ("64x64", True),
            ("64 \N{MULTIPLICATION SIGN} 64", True),
            ("4 steps", True),
            ("euler", True),
            ("test/tiny", True),
            ("webp", False),
            ("seed 777", True),
            ("Draw again", False),
        ],
    )
    def test_looks_at_what_was_asked_for_as_the_card_says_it(
        self, visitor: Client, *, search: str, is_found: bool
    ) -> None:
        visitor.submit("a cube", seed=777)

        assert bool(opened(visitor, Asked(search=search)).cards) == is_found

    def test_that_ends_lets_go_of_what_it_had_read(self, visitor: Client) -> None:
        submit_many(visitor, MANY)
        found = opened(visitor, Asked(search="cube"))
        assert len(found.loaded) == MANY

        ended = look_at_jobs(visitor, found, Asked())

        assert (len(ended.loaded), len(ended.cards), ended.has_more) == (FIRST, FIRST, True)

    def test_and_the_feed_say_where_they_end(self, visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ui.feed.MOST_SEARCHED", FIRST)
        submit_many(visitor, MANY)

        searched, shown = opened(visitor, Asked(search="cube 1")), opened(visitor)

        assert "searched" in searched.end
        assert (shown.has_more, "shown" in shown.end) == (False, True)

    def test_of_everything_says_nothing(self, visitor: Client) -> None:
        submit_many(visitor, 2)

        assert opened(visitor, Asked(search="cube 1")).end == opened(visitor).end == ""


def test_a_card_is_worded_again_only_if_its_job_has_changed(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = submit_many(visitor, 3)
    for job in jobs:
        visitor.cancel(job)
    feed = opened(visitor)
    new = visitor.submit("one more").id
    worded = list[str]()

    def counting(job: JobBody) -> str:
        worded.append(job.id)
        return card(job)

    monkeypatch.setattr("ui.feed.card", counting)
    now = look_at_jobs(visitor, feed, feed.asked)

    assert worded == [new]
    assert list(now.cards) == [new, *jobs]
