from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.scaling import Wanted, wanted
from shared.scripts import Demand, Fleet, Mode, Outlook
from tests.unit.api.waiting import MODEL, fleet, outlook, running, speed, worker

TARGET_S = 60.0
NOTHING = Demand(0, 0, 0)
KEPT = (speed(),)
STATES = ("warming", "ready", "draining")


def served(*workers: object, **more: object) -> Fleet:
    return fleet(*workers, kept=KEPT, **more)  # pyright: ignore[reportArgumentType]: as `fleet` has them


def ask(asked: Demand, fleet: Fleet, ahead: Outlook | None = None, *, target_s: float = TARGET_S) -> Wanted:
    return wanted(fleet, MODEL, ahead or outlook(), asked, target_s=target_s)


def waits(jobs: int, each_s: float, *, oldest_s: float = 1.0) -> Demand:
    return Demand(jobs, round(jobs * each_s * 1000), round(oldest_s * 1000))


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    jobs = draw(st.integers(0, 500))
    work_ms = draw(st.integers(jobs, jobs * 200_000)) if jobs else 0
    return Demand(jobs, work_ms, draw(st.integers(1, 10**6)) if jobs else 0)


@st.composite
def fleets(draw: st.DrawFn, *, mode: Mode = Mode.WORK) -> tuple[Fleet, Outlook]:
    """Workers of all states, some paused, some that hold a job, and a lease whose worker is gone."""
    number = draw(st.integers(0, 6))
    workers = [
        worker(
            f"w{at}",
            state=draw(st.sampled_from(STATES)),
            pace=draw(st.floats(0.2, 5)),
            store_away=draw(st.booleans()),
        )
        for at in range(number)
    ]
    modes = {one.id: Mode.PAUSED for one in workers if draw(st.booleans())}
    holders = [one.id for one in workers if one.state != "warming" and draw(st.booleans())]
    if draw(st.booleans()):
        holders.append("gone")
    work = [running(name, draw(st.integers(1, 100_000)), elapsed_ms=draw(st.integers(0, 100_000))) for name in holders]
    return fleet(*workers, mode=mode, modes=modes, kept=KEPT), outlook(*work)


class TestWhatIsWanted:
    def test_none_while_there_is_nothing_to_do(self) -> None:
        assert ask(NOTHING, served()) == Wanted(0, "idle", 0.0)
        assert ask(NOTHING, served(worker())) == Wanted(0, "idle", 0.0)

    def test_one_for_the_first_job(self) -> None:
        assert ask(waits(1, 3), served()) == Wanted(1, "work", 3.0)

    def test_as_many_as_end_the_work_in_time(self) -> None:
        assert ask(waits(100, 3), served(worker())).workers == 5  # 300 s of work in 60 s

    def test_no_more_than_there_are_jobs(self) -> None:
        assert ask(waits(2, 600), served()).workers == 2

    def test_slow_workers_are_wanted_in_greater_number(self) -> None:
        assert ask(waits(100, 3), served(worker(pace=2))).workers == 10

    def test_what_is_left_of_running_jobs_counts(self) -> None:
        ahead = outlook(running("w1", 120_000), running("w2", 120_000))

        found = ask(waits(2, 30), served(worker("w1"), worker("w2")), ahead)

        assert (found.workers, found.work_s) == (4, 300.0)  # five by the work, but there are four jobs

    def test_as_many_as_hold_jobs(self) -> None:
        ahead = outlook(*(running(name, 1000) for name in ("w1", "w2", "w3")))
        assert ask(NOTHING, served(worker("w1"), worker("w2"), worker("w3")), ahead).workers == 3


class TestWaitingTooLong:
    def test_it_wants_one_more_than_there_are(self) -> None:
        assert ask(waits(9, 1, oldest_s=61), served(worker("w1"), worker("w2"))) == Wanted(3, "wait", 9.0)

    @pytest.mark.parametrize(
        "late",
        [
            served(worker("w1"), worker("w2", state="warming")),  # the next one comes already
            served(worker(store_away=True)),  # no worker would begin it
            served(),  # it waits for the first
        ],
    )
    def test_it_wants_no_more_where_that_would_not_help(self, late: Fleet) -> None:
        assert ask(waits(9, 1, oldest_s=3600), late).workers == 1


class TestPaused:
    def test_none_but_those_that_hold_jobs(self) -> None:
        paused = served(worker("w1"), worker("w2"), mode=Mode.PAUSED)

        assert ask(waits(100, 30), paused) == Wanted(0, "paused", 3000.0)
        assert ask(waits(100, 30), paused, outlook(running("w2"))).workers == 1

    def test_a_worker_that_is_paused_alone_is_no_help(self) -> None:
        asleep = served(worker("w1"), modes={"w1": Mode.PAUSED})

        assert ask(waits(1, 3), asleep) == Wanted(2, "work", 3.0)  # itself, and one that works
        assert ask(NOTHING, asleep).workers == 0


def test_a_model_that_nobody_has_measured_wants_the_one_that_does() -> None:
    assert ask(NOTHING, fleet()) == Wanted(1, "unmeasured", 0.0)
    assert ask(NOTHING, fleet(worker(state="warming"))) == Wanted(1, "unmeasured", 0.0)
    assert ask(NOTHING, fleet(mode=Mode.PAUSED)).workers == 0


def test_workers_of_other_models_do_not_count() -> None:
    assert ask(waits(1, 3), served(worker("w1", model="another/model"))).workers == 1


class TestWhateverComes:
    @given(looks=fleets(), asked=demands(), target_s=st.floats(1, 3600))
    def test_enough_for_the_target_and_no_more_than_jobs(
        self, looks: tuple[Fleet, Outlook], asked: Demand, target_s: float
    ) -> None:
        fleet, ahead = looks
        found = ask(asked, fleet, ahead, target_s=target_s)
        resting = [one.id for one in fleet.workers if one.state != "draining" and one.id in fleet.modes]
        jobs = asked.jobs + sum(work.worker not in resting for work in ahead.running)

        assert found.workers <= jobs + len(resting)
        assert found.workers >= min(jobs, math.ceil(found.work_s / target_s))
        assert (found.workers == 0) == (jobs == 0 and not any(work.worker in resting for work in ahead.running))

    @given(looks=fleets(), asked=demands())
    def test_no_worker_that_holds_a_job_is_given_up(self, looks: tuple[Fleet, Outlook], asked: Demand) -> None:
        fleet, ahead = looks
        staying = {one.id for one in fleet.workers if one.state != "draining"}

        assert ask(asked, fleet, ahead).workers >= len({work.worker for work in ahead.running} & staying)

    @given(looks=fleets(), asked=demands(), more=demands())
    def test_more_work_never_wants_fewer(self, looks: tuple[Fleet, Outlook], asked: Demand, more: Demand) -> None:
        fleet, ahead = looks
        both = Demand(asked.jobs + more.jobs, asked.work_ms + more.work_ms, max(asked.oldest_ms, more.oldest_ms))

        assert ask(both, fleet, ahead).workers >= ask(asked, fleet, ahead).workers

    @given(looks=fleets(), asked=demands(), target_s=st.floats(2, 3600))
    def test_less_time_never_wants_fewer(self, looks: tuple[Fleet, Outlook], asked: Demand, target_s: float) -> None:
        fleet, ahead = looks

        assert (
            ask(asked, fleet, ahead, target_s=target_s / 2).workers
            >= ask(asked, fleet, ahead, target_s=target_s).workers
        )

    @given(looks=fleets(mode=Mode.PAUSED), asked=demands())
    def test_a_paused_queue_starts_nobody(self, looks: tuple[Fleet, Outlook], asked: Demand) -> None:
        fleet, ahead = looks
        assert ask(asked, fleet, ahead) == replace(ask(NOTHING, fleet, ahead), work_s=ask(asked, fleet, ahead).work_s)
