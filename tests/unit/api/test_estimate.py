from __future__ import annotations

import heapq
import random
from dataclasses import replace

import pytest

from api.estimate import DELIVERY_MS, NOMINAL_MS, Forecast, expected_ms
from shared.contract import Speed, TimeLeft, WorkerState
from shared.jobs import Hold, Job, JobStatus
from shared.lanes import Lane
from shared.scripts import Fleet, Mode, Outlook, WaitingWork
from tests.unit.api.waiting import (
    fleet,
    outlook,
    params,
    running,
    running_job,
    speed,
    waiting_job,
    worker,
)


def time_left(job: Job, ahead: Outlook, served: Fleet, *, age_ms: float = 0.0) -> TimeLeft | None:
    return Forecast(ahead, served, job.model).time_left(job, age_ms=age_ms)


def seconds(job: Job, ahead: Outlook, served: Fleet, *, age_ms: float = 0.0) -> float:
    left = time_left(job, ahead, served, age_ms=age_ms)
    assert left is not None
    assert 0 <= left.low <= left.seconds <= left.high
    return left.seconds - DELIVERY_MS / 1000


class TestExpectedWork:
    def test_it_is_what_was_measured_for_this_size(self) -> None:
        measured = worker(speeds=(speed(), speed(1024, 1024, step_ms=999)))

        assert expected_ms(params(), [measured]) == 10 * 100 + 50
        assert expected_ms(params(num_images=3, num_inference_steps=2), [measured]) == 3 * (2 * 100 + 50)

    def test_workers_that_measured_it_are_averaged(self) -> None:
        fast, slow = worker("a", speeds=(speed(step_ms=50),)), worker("b", speeds=(speed(step_ms=150),))
        elsewhere = worker("c", speeds=(speed(64, 64, step_ms=1),))

        assert expected_ms(params(), [fast, slow, elsewhere]) == 10 * 100 + 50

    def test_an_unmeasured_size_is_scaled_from_the_nearest(self) -> None:
        measured = worker(speeds=(speed(512, 512), speed(64, 64, step_ms=999)))

        assert expected_ms(params(width=1024), [measured]) == 2 * (10 * 100 + 50)

    def test_a_turned_size_counts_as_its_like(self) -> None:
        measured = worker(speeds=(speed(512, 512, step_ms=1), speed(1024, 512)))

        assert expected_ms(params(width=512, height=1024), [measured]) == 10 * 100 + 50

    def test_guidance_doubles_the_steps_alone(self) -> None:
        unguided, guided = worker(speeds=(speed(guided=False),)), worker(speeds=(speed(),))

        assert expected_ms(params(), [unguided]) == 10 * 200 + 50
        assert expected_ms(params(guidance_scale=1.0), [guided]) == 10 * 50 + 50

    @pytest.mark.parametrize("measured", [speed(step_ms=100), speed(guided=False, step_ms=50)])
    def test_with_a_cutoff_the_guided_steps_and_the_others_count_apart(self, measured: Speed) -> None:
        part = params(guidance_cutoff=0.5)

        assert part.num_guided_steps == 6
        assert expected_ms(part, [worker(speeds=(measured,))]) == 6 * 100 + 4 * 50 + 50

    def test_workers_that_are_not_ready_do_not_count(self) -> None:
        leaving = worker(state="draining", speeds=(speed(step_ms=1),))

        assert expected_ms(params(), [leaving, worker("b", speeds=(speed(),))]) == 10 * 100 + 50

    @pytest.mark.parametrize("workers", [[], [worker()], [worker(state="warming")]])
    def test_before_anything_is_measured_it_is_the_nominal_speed(self, workers: list[WorkerState]) -> None:
        assert expected_ms(params(), workers) == round(params().cost * NOMINAL_MS)

    def test_while_nobody_has_measured_anything_it_is_what_the_last_worker_left(self) -> None:
        left = (speed(),)

        assert expected_ms(params(), [], left) == 10 * 100 + 50
        assert expected_ms(params(), [worker(state="warming")], left) == 10 * 100 + 50
        assert expected_ms(params(), [worker(speeds=(speed(step_ms=1, picture_ms=0),))], left) == 10

    def test_it_is_never_nothing(self) -> None:
        tiny = params(width=8, height=8, num_inference_steps=1)

        assert expected_ms(tiny, []) == 1
        assert expected_ms(tiny, [worker(speeds=(speed(step_ms=0, picture_ms=0),))]) == 1


class TestWaiting:
    def test_an_idle_worker_begins_at_once(self) -> None:
        assert seconds(waiting_job(), outlook(), fleet(worker())) == pytest.approx(1.0)

    def test_one_worker_does_one_thing_after_the_other(self) -> None:
        ahead = outlook(running("w1", 2000, step=5))

        assert seconds(waiting_job(3, 4500), ahead, fleet(worker())) == pytest.approx(1.0 + 4.5 + 1.0)

    def test_pace_stretches_all_of_it(self) -> None:
        ahead = outlook(running("w1", 2000, step=5))

        assert seconds(waiting_job(3, 4500), ahead, fleet(worker(pace=2))) == pytest.approx(13.0)

    def test_several_jobs_in_one_worker_s_hands_are_in_line_there(self) -> None:
        ahead = outlook(running("w1", 1000, step=5), running("w1", 3000))

        assert seconds(waiting_job(), ahead, fleet(worker())) == pytest.approx(4.5)

    def test_the_next_one_takes_the_worker_that_is_free_first(self) -> None:
        ahead = outlook(running("w1", 60_000), running("w2", 2000))

        assert seconds(waiting_job(), ahead, fleet(worker("w1"), worker("w2"))) == pytest.approx(3.0)

    def test_a_long_job_holds_up_one_worker_and_no_more(self) -> None:
        ahead = outlook(running("w1", 100_000))

        left = seconds(waiting_job(10, 10_000), ahead, fleet(worker("w1"), worker("w2")))

        assert left == pytest.approx(11.0)

    def test_two_workers_take_two_jobs_at_once(self) -> None:
        both = fleet(worker("w1"), worker("w2"))

        assert seconds(waiting_job(1, 1000), outlook(), both) == pytest.approx(1.0)
        assert seconds(waiting_job(2, 2000), outlook(), both) == pytest.approx(2.0)

    def test_a_fast_worker_takes_more_of_the_work(self) -> None:
        both = fleet(worker("fast", pace=0.5), worker("slow", pace=2.0))

        assert seconds(waiting_job(100, 100_000), outlook(), both) == pytest.approx(100 / (2 + 0.5) + 1, abs=1.5)

    @pytest.mark.parametrize("workers", [1, 2, 3, 8])
    def test_a_long_queue_of_unlike_jobs_is_told_within_a_job_s_length(self, workers: int) -> None:
        """Against the same jobs dealt out one by one."""
        dice = random.Random(workers)
        longest = 4000
        works = [dice.randrange(200, longest) for _ in range(300)]
        names = [f"w{n}" for n in range(workers)]
        held = [dice.randrange(100, longest) for _ in names]
        ahead = outlook(*(running(name, work) for name, work in zip(names, held, strict=True)))
        free = [float(work) for work in held]
        heapq.heapify(free)
        for place, work in enumerate(works):
            start = free[0]
            heapq.heapreplace(free, start + work)
            told = seconds(waiting_job(place, sum(works[:place]), work), ahead, fleet(*map(worker, names)))
            assert told == pytest.approx((start + work) / 1000, abs=longest / 1000)

    def test_a_place_far_back_is_told_as_quickly(self) -> None:
        assert seconds(waiting_job(10_000_000, 10**10), outlook(), fleet(worker(), worker("w2"))) > 10**6

    def test_workers_that_take_nothing_do_not_count(self) -> None:
        idle = (
            worker("other", model="another/model"),
            worker("loads", state="warming"),
            worker("leaves", state="draining"),
            worker("stuck", store_away=True),
            worker("paused"),
        )

        served = fleet(*idle, worker("w1"), modes={"paused": Mode.PAUSED})

        assert seconds(waiting_job(4, 4000), outlook(), served) == pytest.approx(5.0)

    @pytest.mark.parametrize(
        "served",
        [
            fleet(),
            fleet(worker(state="warming")),
            fleet(worker(store_away=True)),
            fleet(worker(), mode=Mode.PAUSED),
            fleet(worker(), mode=Mode.DRAINED),
            fleet(worker(), modes={"w1": Mode.PAUSED}),
        ],
    )
    def test_nobody_can_tell_while_nobody_would_begin_it(self, served: Fleet) -> None:
        assert time_left(waiting_job(), outlook(), served) is None

    def test_a_tenant_s_limit_makes_it_a_matter_of_its_own_jobs(self) -> None:
        held = waiting_job(2, 2000, hold=Hold.RUNNING_LIMIT)

        assert time_left(held, outlook(), fleet(worker("w1"), worker("w2"))) is None
        assert seconds(held, outlook(), fleet(worker("w1"))) == pytest.approx(3.0)

    def test_a_joined_job_takes_as_long_as_the_one_it_waits_for(self) -> None:
        joined = waiting_job(3, 3000, hold=Hold.JOINED)

        assert seconds(joined, outlook(), fleet(worker())) == seconds(waiting_job(3, 3000), outlook(), fleet(worker()))

    def test_an_older_look_counts_as_so_much_less_to_do(self) -> None:
        ahead = outlook(running("w1", 2000, step=2))

        assert seconds(waiting_job(), ahead, fleet(worker()), age_ms=400) == pytest.approx(1.6 - 0.4 + 1.0)

    def test_more_jobs_ahead_make_the_band_wider_above(self) -> None:
        near, far = (time_left(waiting_job(n, 10_000), outlook(), fleet(worker())) for n in (1, 20))

        assert near is not None
        assert far is not None
        assert near.seconds == far.seconds
        assert near.high < far.high


class TestRunning:
    @pytest.mark.parametrize(("step", "left"), [(0, 1.0), (5, 0.5), (9, 0.1), (10, 0)])
    def test_what_is_left_are_the_steps_to_come(self, step: int, left: float) -> None:
        job = running_job(step=step)

        assert seconds(job, outlook(), fleet(worker())) == pytest.approx(left)

    def test_within_a_step_the_clock_tells(self) -> None:
        ahead = outlook(running("w1", elapsed_ms=540, step=5))

        assert seconds(running_job(step=5), ahead, fleet(worker())) == pytest.approx(0.46)
        assert seconds(running_job(step=5), ahead, fleet(worker()), age_ms=30) == pytest.approx(0.43)

    def test_a_job_that_is_late_is_told_by_its_steps(self) -> None:
        ahead = outlook(running("w1", elapsed_ms=60_000, step=5))

        assert seconds(running_job(step=5), ahead, fleet(worker())) == pytest.approx(0.4)

    def test_those_that_are_drawn_with_it_take_turns_with_it(self) -> None:
        ahead = outlook(running("w1", step=5), running("w1", 200), running("w1", 60_000), running("w2", 60_000))

        assert seconds(running_job(step=5), ahead, fleet(worker())) == pytest.approx(0.5 + 0.2 + 0.5)

    def test_its_pictures_are_still_to_be_stored_after_the_last_step(self) -> None:
        left = time_left(running_job(step=10), outlook(), fleet(worker()))

        assert left is not None
        assert left.seconds == DELIVERY_MS / 1000

    def test_a_pause_of_the_queue_does_not_stop_it(self) -> None:
        assert seconds(running_job(), outlook(), fleet(worker(), mode=Mode.PAUSED)) == pytest.approx(1.0)

    @pytest.mark.parametrize("served", [fleet(), fleet(worker("w2")), fleet(worker(), mode=Mode.DRAINED)])
    def test_nobody_can_tell_once_it_will_be_begun_again(self, served: Fleet) -> None:
        assert time_left(running_job(), outlook(), served) is None

    def test_a_job_that_joined_it_ends_with_it(self) -> None:
        joined = waiting_job(None, hold=Hold.JOINED, step=5)

        assert seconds(joined, outlook(), fleet(worker())) == pytest.approx(0.5)
        assert time_left(joined, outlook(), fleet()) is None


def bulk_job(ahead_jobs: int = 0, ahead_ms: int = 0, work_ms: int = 1000) -> Job:
    return waiting_job(ahead_jobs, ahead_ms, work_ms, lane=Lane.BULK)


def waits(lane: Lane, jobs: int, work_ms: int) -> dict[Lane, WaitingWork]:
    return {lane: WaitingWork(jobs, work_ms)}


class TestBesideTheOtherLane:
    def test_an_interactive_job_does_not_wait_for_bulk_jobs(self) -> None:
        ahead = outlook(running("w1", 60_000, lane=Lane.BULK), waiting=waits(Lane.BULK, 9, 90_000))

        assert seconds(waiting_job(), ahead, fleet(worker())) == pytest.approx(1.0)
        assert seconds(running_job(), ahead, fleet(worker())) == pytest.approx(1.0)

    def test_after_the_head_start_of_the_first_it_is_slowed_by_their_share(self) -> None:
        bulk = running("w1", 60_000, lane=Lane.BULK)
        drawn = outlook(bulk, running("w1", 18_000, elapsed_ms=200))

        assert seconds(waiting_job(work_ms=18_000), outlook(bulk), fleet(worker())) == pytest.approx(10 + 8 / 0.8)
        assert seconds(waiting_job(2, 17_000), outlook(bulk), fleet(worker())) == pytest.approx(18 / 0.8)
        assert seconds(running_job(work_ms=18_000), drawn, fleet(worker())) == pytest.approx(9.8 + 8 / 0.8)
        crowded = replace(drawn, waiting={**drawn.waiting, **waits(Lane.INTERACTIVE, 1, 1000)})
        assert seconds(running_job(work_ms=18_000), crowded, fleet(worker())) == pytest.approx(17.8 / 0.8)

    def test_but_by_no_more_than_there_is_of_them(self) -> None:
        ahead = outlook(running("w1", 1000, lane=Lane.BULK))

        assert seconds(waiting_job(2, 17_000), ahead, fleet(worker())) == pytest.approx(18 + 1)

    def test_a_bulk_job_s_band_leaves_room_for_interactive_jobs_to_come(self) -> None:
        bulk, interactive = (time_left(job, outlook(), fleet(worker())) for job in (bulk_job(), waiting_job()))

        assert bulk is not None
        assert interactive is not None
        assert bulk.seconds == interactive.seconds
        assert bulk.high > 2 * interactive.seconds > interactive.high

    def test_a_bulk_job_goes_behind_what_is_interactive(self) -> None:
        ahead = outlook(running("w1", 1000), waiting=waits(Lane.INTERACTIVE, 2, 2000))
        drawn = replace(ahead, running=(*ahead.running, running("w1", 1000, lane=Lane.BULK)))

        assert seconds(bulk_job(), ahead, fleet(worker())) == pytest.approx(1 + 2 + 1)
        assert seconds(replace(running_job(), lane=Lane.BULK), drawn, fleet(worker())) == pytest.approx(1 + 2 + 1)

    def test_and_has_its_share_all_the_same(self) -> None:
        ahead = outlook(running("w1", 1000), waiting=waits(Lane.INTERACTIVE, 100, 100_000))
        drawn = replace(ahead, running=(*ahead.running, running("w1", 1000, lane=Lane.BULK)))

        assert seconds(bulk_job(1, 1000), ahead, fleet(worker())) == pytest.approx((1 + 1) / 0.2)
        assert seconds(replace(running_job(), lane=Lane.BULK), drawn, fleet(worker())) == pytest.approx(1 / 0.2)


@pytest.mark.parametrize("status", [status for status in JobStatus if status.is_terminal])
def test_an_ended_job_has_no_time_left(status: JobStatus) -> None:
    assert time_left(waiting_job(None, status=status), outlook(), fleet(worker())) is None
