"""The verbs by which workers and models are known, on a real server."""

from __future__ import annotations

import pytest

from shared import scripts
from shared.contract import Speed
from shared.errors import NoVocabulary, WorkerNotFound
from shared.jobs import LeaseToken, Terms, WorkerId
from shared.keys import DEFAULT
from shared.lanes import Lane
from shared.scripts import Demand, Mode
from shared.scripts.fleet import CARD_LIFE_S
from shared.vocabulary import Vocabulary
from tests.desk import CARD, KEEP_S, LEASE_S, MODEL, OTHER, WORKER, Desk, claim_call, state
from tests.servers import wait_until


def test_the_fleet_is_the_cards_announced_and_the_workers_that_live(desk: Desk) -> None:
    assert desk(scripts.fleet()) == scripts.Fleet((), ())
    desk(scripts.announce(CARD))
    assert desk(scripts.heartbeat(state("w1"), life_s=60))
    assert desk(scripts.heartbeat(state("w2"), life_s=60))
    found = desk(scripts.fleet())
    assert found.cards == (CARD,)
    assert {worker.id for worker in found.workers} == {"w1", "w2"}
    desk(scripts.leave(WorkerId("w1"), MODEL))
    assert desk(scripts.fleet()).workers == (state("w2"),)


def test_a_worker_that_falls_silent_is_forgotten(desk: Desk) -> None:
    desk(scripts.heartbeat(state(), life_s=0.001))
    wait_until(lambda: desk(scripts.fleet()).workers == (), limit_s=5, what="the worker lapses")
    assert desk(scripts.fleet()).lost == {MODEL: 1}


def test_a_heartbeat_tells_when_the_card_is_gone(desk: Desk) -> None:
    assert not desk(scripts.heartbeat(state(), life_s=60)).is_announced
    desk(scripts.announce(CARD))
    assert desk(scripts.heartbeat(state(), life_s=60)).is_announced


def test_a_paused_worker_begins_nothing_and_keeps_what_it_has(desk: Desk) -> None:
    desk.submit()
    desk.submit()
    claimed = desk.claim()
    desk(scripts.heartbeat(state(WORKER), life_s=60))
    desk(scripts.direct(Mode.PAUSED, WORKER))
    assert desk(scripts.heartbeat(state(WORKER), life_s=60)).mode is Mode.PAUSED
    assert desk(claim_call()) is None
    assert desk(scripts.claim(MODEL, WORKER, claimed.lease.token, lease_s=LEASE_S)) == claimed
    assert desk(scripts.claim(MODEL, WorkerId("another"), LeaseToken("another"), lease_s=LEASE_S)) is not None
    desk(scripts.direct(Mode.WORK, WORKER))
    assert desk(scripts.heartbeat(state(WORKER), life_s=60)).mode is Mode.WORK


def test_a_paused_fleet_begins_nothing_and_is_not_woken(desk: Desk) -> None:
    desk.submit()
    desk(scripts.direct(Mode.PAUSED))
    assert desk(claim_call()) is None
    assert desk.reap().waiting_pools == ()
    assert desk(scripts.fleet()).mode is Mode.PAUSED
    desk(scripts.direct(Mode.WORK))
    assert desk.reap().waiting_pools == (MODEL,)
    desk.claim()


def test_a_worker_that_comes_later_hears_what_was_said_to_all(desk: Desk) -> None:
    desk(scripts.direct(Mode.DRAINED))
    assert desk(scripts.heartbeat(state("late"), life_s=60)).mode is Mode.DRAINED


@pytest.mark.parametrize(
    ("all_", "one", "heard"),
    [
        (Mode.PAUSED, Mode.DRAINED, Mode.DRAINED),
        (Mode.DRAINED, Mode.PAUSED, Mode.DRAINED),
        (Mode.PAUSED, Mode.WORK, Mode.PAUSED),
        (Mode.WORK, Mode.DRAINED, Mode.DRAINED),
    ],
)
def test_the_stricter_of_two_orders_counts(desk: Desk, all_: Mode, one: Mode, heard: Mode) -> None:
    desk(scripts.heartbeat(state(), life_s=60))
    desk(scripts.direct(all_))
    desk(scripts.direct(one, WorkerId("w1")))
    assert desk(scripts.heartbeat(state(), life_s=60)).mode is heard
    assert desk(scripts.fleet()).mode_of("w1") is heard


def test_nobody_directs_a_worker_that_does_not_live(desk: Desk) -> None:
    with pytest.raises(WorkerNotFound):
        desk(scripts.direct(Mode.PAUSED, WorkerId("gone")))


def test_orders_go_with_the_worker_they_were_for(desk: Desk) -> None:
    desk(scripts.heartbeat(state(), life_s=60))
    desk(scripts.direct(Mode.PAUSED, WorkerId("w1")))
    assert desk(scripts.fleet()).modes == {"w1": Mode.PAUSED}
    desk(scripts.leave(WorkerId("w1"), MODEL))
    assert desk(scripts.fleet()).modes == {}


def test_a_worker_that_was_cut_off_finds_its_orders_again(desk: Desk) -> None:
    desk(scripts.heartbeat(state(), life_s=60))
    desk(scripts.direct(Mode.DRAINED, WorkerId("w1")))
    desk.client.delete(DEFAULT.prefix + "worker:w1")
    assert desk(scripts.fleet()).workers == ()
    assert desk(scripts.heartbeat(state(), life_s=60)).mode is Mode.DRAINED
    desk.client.delete(DEFAULT.prefix + "worker:w1")
    desk.client.zadd(DEFAULT.prefix + "workers", {"w1": desk.now_ms() - 601_000})
    assert desk(scripts.fleet()).modes == {}


def test_a_worker_that_takes_its_leave_is_not_lost(desk: Desk) -> None:
    for name in ("good", "bad"):
        desk(scripts.heartbeat(state(name), life_s=60))
    desk(scripts.leave(WorkerId("good"), MODEL))
    assert desk(scripts.fleet()).lost == {}
    desk(scripts.leave(WorkerId("bad"), MODEL, failed=True))
    assert desk(scripts.fleet()).lost == {MODEL: 1}


def test_a_loss_is_forgotten_after_ten_minutes(desk: Desk) -> None:
    desk(scripts.heartbeat(state(), life_s=60))
    desk(scripts.leave(WorkerId("w1"), MODEL, failed=True))
    desk.client.zadd(DEFAULT.prefix + "born", {f"w1 {MODEL}": desk.now_ms() - 601_000})
    assert desk(scripts.fleet()).lost == {}


WORDS, OTHER_WORDS = Vocabulary("one", b"\x00packed"), Vocabulary("other", b"packed otherwise")


def test_what_a_model_reads_by_is_sent_to_who_does_not_have_it(desk: Desk) -> None:
    desk(scripts.announce(CARD, WORDS))
    assert desk(scripts.vocabulary(MODEL)) == WORDS
    assert desk(scripts.vocabulary(MODEL, WORDS.digest)) is None
    desk(scripts.announce(CARD, OTHER_WORDS))
    assert desk(scripts.vocabulary(MODEL, WORDS.digest)) == OTHER_WORDS


def test_a_worker_that_does_not_know_yet_leaves_what_another_one_said(desk: Desk) -> None:
    with pytest.raises(NoVocabulary):
        desk(scripts.vocabulary(MODEL))
    desk(scripts.announce(CARD))
    with pytest.raises(NoVocabulary):
        desk(scripts.vocabulary(MODEL))
    desk(scripts.announce(CARD, WORDS))
    desk(scripts.announce(CARD))
    assert desk(scripts.vocabulary(MODEL)) == WORDS


def test_what_a_model_reads_by_lives_as_long_as_its_card(desk: Desk) -> None:
    name = f"{DEFAULT.prefix}vocabulary:{MODEL}"
    desk(scripts.announce(CARD, WORDS))
    assert 0 < desk.client.ttl(name) <= CARD_LIFE_S
    desk.client.expire(name, 60)
    desk(scripts.heartbeat(state(), life_s=60))
    assert desk.client.ttl(name) > 60


def test_a_heartbeat_tells_who_has_it_that_the_vocabulary_is_gone(desk: Desk) -> None:
    desk(scripts.announce(CARD))
    assert desk(scripts.heartbeat(state(), life_s=60)).is_announced
    assert not desk(scripts.heartbeat(state(), life_s=60, has_vocabulary=True)).is_announced
    desk(scripts.announce(CARD, WORDS))
    assert desk(scripts.heartbeat(state(), life_s=60, has_vocabulary=True)).is_announced


SPEEDS = (Speed(width=1024, height=1024, guided=True, step_ms=80, picture_ms=200),)


def test_how_fast_a_model_was_is_known_after_its_last_worker_left(desk: Desk) -> None:
    fast = state().model_copy(update={"speeds": SPEEDS})
    desk(scripts.announce(CARD))
    assert desk(scripts.fleet()).speeds == {}
    desk(scripts.heartbeat(fast, life_s=60))
    desk(scripts.heartbeat(state("new"), life_s=60))  # which has drawn nothing yet
    desk(scripts.leave(WorkerId(fast.id), MODEL))
    assert desk(scripts.fleet()).speeds == {MODEL: SPEEDS}


class TestDemand:
    def test_it_is_all_that_waits_for_a_worker(self, desk: Desk) -> None:
        assert desk(scripts.demand(MODEL)) == Demand(0, 0, 0)
        desk.submit(work_ms=1000)
        desk.submit(work_ms=2000, lane=Lane.BULK)
        desk.submit(work_ms=4000, tenant=OTHER)
        desk.submit(work_ms=8000, model="another/model")
        found = desk(scripts.demand(MODEL))
        assert (found.jobs, found.work_ms) == (3, 7000)
        desk.claim()
        assert desk(scripts.demand(MODEL)).jobs == 2

    def test_the_oldest_of_those_that_go_next_tells_how_long_is_waited(self, desk: Desk) -> None:
        first = desk.submit()
        wait_until(lambda: desk(scripts.demand(MODEL)).oldest_ms >= 20, limit_s=5, what="it has waited")
        desk.submit(tenant=OTHER, lane=Lane.BULK)
        assert desk(scripts.demand(MODEL)).oldest_ms >= 20
        desk(scripts.cancel(first.id, first.tenant))
        assert desk(scripts.demand(MODEL)).jobs == 1

    def test_a_tenant_s_jobs_count_as_far_as_they_may_run_at_once(self, desk: Desk) -> None:
        two_at_once = Terms(keep_s=KEEP_S, max_tenant_running=2)
        for lane in (Lane.INTERACTIVE, Lane.INTERACTIVE, Lane.INTERACTIVE, Lane.BULK):
            desk.submit(lane=lane, terms=two_at_once, work_ms=1000)
        assert desk(scripts.demand(MODEL)).jobs == 2
        desk.claim()
        found = desk(scripts.demand(MODEL))
        assert (found.jobs, found.work_ms) == (1, 1000)
        desk.claim()
        assert desk(claim_call()) is None  # it is passed over from now on
        assert desk(scripts.demand(MODEL)) == Demand(0, 0, 0)
        desk.submit(tenant=OTHER)
        assert desk(scripts.demand(MODEL)).jobs == 1

    def test_who_asks_keeps_what_is_known_of_the_model_and_is_known_to_ask(self, desk: Desk) -> None:
        desk(scripts.announce(CARD, WORDS))
        desk(scripts.heartbeat(state().model_copy(update={"speeds": SPEEDS}), life_s=60))
        names = [f"{DEFAULT.prefix}{what}:{MODEL}" for what in ("card", "vocabulary", "speeds")]
        for name in names:
            desk.client.expire(name, 60)
        assert desk(scripts.fleet()).scaled == frozenset()
        desk(scripts.demand(MODEL))
        assert all(desk.client.ttl(name) > 60 for name in names)
        assert desk(scripts.fleet()).scaled == {MODEL}
        desk.client.delete(f"{DEFAULT.prefix}scaled:{MODEL}")  # as two minutes would
        assert desk(scripts.fleet()).scaled == frozenset()


def test_what_a_newer_version_says_in_words_of_its_own_hides_nothing_else(desk: Desk) -> None:
    desk(scripts.announce(CARD.model_copy(update={"id": "newer"})))
    desk(scripts.announce(CARD))
    desk(scripts.heartbeat(state("w1"), life_s=60))
    desk(scripts.heartbeat(state("w2"), life_s=60))
    card = CARD.model_dump_json().replace('"schedulers":[', '"schedulers":["of_tomorrow",')
    desk.client.set(DEFAULT.prefix + "card:newer", card)
    desk.client.set(DEFAULT.prefix + "worker:w1", '{"id": "w1"}')

    found = desk(scripts.fleet())
    assert found.cards == (CARD,)
    assert found.workers == (state("w2"),)
    assert set(found.silent_ms) == {"w2"}
