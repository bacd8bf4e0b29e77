"""The verbs by which workers and models are known, on a real server."""

from __future__ import annotations

from shared import scripts
from shared.jobs import WorkerId
from tests.desk import CARD, MODEL, Desk, state
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
