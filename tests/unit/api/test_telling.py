"""What a reader is told: events of what is new since what they have seen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.outlook import NO_PROSPECT, Prospect
from api.telling import NOTHING, Event, Seen, Telling, View
from shared.contract import JobBody, Reason, TimeLeft
from shared.events import Pictured, Progressed, Queued
from shared.generation import OutputFormat, Size
from shared.jobs import Image, Job, JobStatus
from tests.unit.api.waiting import params, running_job, waiting_job

ENDS = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED]


def picture(index: int) -> Image:
    return Image(
        index=index,
        seed=7,
        key=f"{index}",
        size=Size(width=8, height=8),
        output_format=OutputFormat.PNG,
        num_bytes=3,
        sha256="ab" * 32,
    )


def view(job: Job, *, code: str = "behind", left_s: float | None = None, at_s: float = 0.0) -> View:
    if job.status.is_terminal:
        return View(job, NO_PROSPECT, at_s)
    left = None if left_s is None else TimeLeft(seconds=left_s, low=0, high=2 * left_s)
    reason = Reason.model_validate({"code": code, "message": "."}) if job.status is JobStatus.QUEUED else None
    return View(job, Prospect(reason, left), at_s)


def names(events: Iterable[Event]) -> list[str]:
    return [type(event.body).__name__ for event in events]


class TestWaiting:
    def test_is_told_when_it_begins_and_then_only_when_something_is_another(self) -> None:
        telling = Telling(NOTHING)
        assert names(telling.news(view(waiting_job(3)))) == ["Queued"]
        assert names(telling.news(view(waiting_job(3)))) == []
        (told,) = telling.news(view(waiting_job(2)))
        assert isinstance(told.body, Queued)
        assert told.body.position == 2
        assert names(telling.news(view(waiting_job(2), code="paused"))) == ["Queued"]
        assert names(telling.news(view(waiting_job(None), code="joined"))) == ["Queued"]
        assert names(telling.news(view(waiting_job(None), code="joined"))) == []

    @pytest.mark.parametrize(
        ("left_s", "at_s", "is_told"),
        [(100, 0, False), (70, 30, False), (100, 15, False), (100, 60, True), (50, 0, True), (None, 0, True)],
        ids=["the same", "counted down", "a little off", "nothing went on", "half of it is gone", "unknown now"],
    )
    def test_time_left_is_told_anew_when_a_reader_who_counts_down_is_off(
        self, left_s: float | None, at_s: float, *, is_told: bool
    ) -> None:
        telling = Telling(NOTHING)
        list(telling.news(view(waiting_job(3), left_s=100)))
        assert names(telling.news(view(waiting_job(3), left_s=left_s, at_s=at_s))) == ["Queued"] * is_told

    def test_who_comes_back_is_told_only_if_the_place_or_the_reason_is_another(self) -> None:
        (told,) = Telling(NOTHING).news(view(waiting_job(3), left_s=100))
        assert names(Telling(Seen.of(told.id)).news(view(waiting_job(3), left_s=10))) == []
        assert names(Telling(Seen.of(told.id)).news(view(waiting_job(1), left_s=10))) == ["Queued"]
        assert names(Telling(Seen.of(told.id)).news(view(waiting_job(3), code="paused"))) == ["Queued"]


class TestPreviews:
    def test_come_when_there_is_a_new_one(self) -> None:
        telling = Telling(NOTHING)
        shown = [
            [event.body.preview for event in told if isinstance(event.body, Progressed)]
            for told in (
                telling.news(view(running_job(step=1)), b"one"),
                telling.news(view(running_job(step=1)), b"one"),
                telling.news(view(running_job(step=2)), b"one"),
                telling.news(view(running_job(step=2)), b"two"),
                telling.news(view(running_job(step=3))),
            )
        ]
        assert shown == [["data:image/jpeg;base64,b25l"], [], [None], ["data:image/jpeg;base64,dHdv"], [None]]

    def test_are_not_told_again_to_who_comes_back_to_the_same_step(self) -> None:
        (told,) = Telling(NOTHING).news(view(running_job(step=1)), b"one")
        telling = Telling(Seen.of(told.id))
        assert names(telling.news(view(running_job(step=1)), b"one")) == []
        assert names(telling.news(view(running_job(step=1)), b"two")) == ["Progressed"]


class TestIds:
    @given(
        st.builds(
            Seen,
            st.integers(0, 10**9 - 1),
            st.integers(0, 10**9 - 1),
            st.integers(0, 2**64 - 1),
            st.sampled_from(["", ".", "0.behind", "12345.running_limit", ".joined"]),
        )
    )
    def test_read_back(self, seen: Seen) -> None:
        assert Seen.of(str(seen)) == seen

    @given(st.text() | st.from_regex(r"[0-9-]{0,12}[a-z]?", fullmatch=True))
    def test_that_are_none_of_ours_say_that_nothing_was_seen(self, text: str) -> None:
        seen = Seen.of(text)
        assert seen == NOTHING or re.fullmatch(r"\d+-\d+-[0-9a-f]+(-\d*\.[a-z_]*)?", text, re.ASCII)

    @pytest.mark.parametrize(
        "text", [None, "", "-", "1", "1-2", "1-2-g", "1-2-3-", "1-2-3-x", "-1-2-3", "1-2-3\n", "\u0663-1-1"]
    )
    def test_such_as_these(self, text: str | None) -> None:
        assert Seen.of(text) == NOTHING


def later(draw: st.DrawFn, job: Job) -> Job:
    """A job a little later."""
    if job.status is JobStatus.QUEUED:
        if draw(st.booleans()):
            return replace(job, position=draw(st.integers(0, 5)))
        return replace(job, status=JobStatus.RUNNING, version=job.version + 1, position=None)
    what = draw(st.sampled_from(["step", "picture", "picture", "back"]))
    if what == "step":
        return replace(job, step=min(job.steps, job.step + draw(st.integers(0, 4))))
    if what == "picture" and len(job.images) < job.params.num_images:
        return replace(job, images=(*job.images, picture(len(job.images))))
    if what == "back":
        step = 10 * len(job.images)
        return replace(job, status=JobStatus.QUEUED, version=job.version + 1, position=0, step=step)
    return job


@st.composite
def lives(draw: st.DrawFn) -> list[View]:
    """A job's views from its submit to its end: whatever comes between two looks is not seen."""
    num_images = draw(st.integers(1, 4))
    jobs = [waiting_job(5, params=params(num_images=num_images), steps=10 * num_images)]
    for _ in range(draw(st.integers(0, 12))):
        jobs.append(later(draw, jobs[-1]))
    end = replace(jobs[-1], status=draw(st.sampled_from(ENDS)), version=jobs[-1].version + 1, position=None)
    return [*(view(job) for job in jobs if draw(st.booleans())), view(end)]


def read(views: Iterable[View], cuts: Iterator[bool]) -> list[Event]:
    """What a reader gets whose connection breaks after some of the events, and who comes back each time."""
    got = list[Event]()
    telling = Telling(NOTHING)
    for one in views:
        is_cut = True
        while is_cut:
            is_cut = False
            for event in telling.news(one):
                got.append(event)
                if next(cuts):
                    telling, is_cut = Telling(Seen.of(event.id)), True
                    break
    return got


class TestComingBack:
    @given(lives(), st.lists(st.booleans(), min_size=100, max_size=100))
    def test_anywhere_gives_the_very_events_of_a_connection_that_never_broke(
        self, views: list[View], cuts: list[bool]
    ) -> None:
        whole = read(views, iter([False] * 100))
        assert _said(read(views, iter(cuts))) == _said(whole)

    @given(lives())
    def test_every_picture_is_told_once_before_the_end_which_is_told_once(self, views: list[View]) -> None:
        whole = read(views, iter([False] * 100))
        pictures = [event.body.image.index for event in whole if isinstance(event.body, Pictured)]
        assert pictures == [image.index for image in views[-1].job.images]
        ends = [event.body for event in whole if isinstance(event.body, JobBody)]
        assert ends == [whole[-1].body]

    @given(lives())
    def test_after_the_end_nothing_is_left(self, views: list[View]) -> None:
        last = read(views, iter([False] * 100))[-1]
        assert Seen.of(last.id).has_end_of(views[-1].job)
        assert names(Telling(Seen.of(last.id)).news(views[-1])) == []


def _said(events: Iterable[Event]) -> list[tuple[str | None, str]]:
    """Without the clocks of an end, which go on."""
    return [(event.id, event.body.model_dump_json(exclude={"metrics"})) for event in events]
