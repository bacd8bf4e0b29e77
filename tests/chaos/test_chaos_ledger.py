"""The ledger finds what must not be: a run that finds nothing has then looked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.jobs import JobStatus
from tests.chaos.ledger import Ledger, Order, Sighting, Stored, wrong

QUEUED = Sighting("j", "local", 1, JobStatus.QUEUED, 1, 0, 1, (), None)
RUNNING = replace(QUEUED, status=JobStatus.RUNNING, version=2, attempt=1)
DONE = replace(RUNNING, status=JobStatus.SUCCEEDED, version=3, pictures=(Stored("k", "00"),))


def ledger_of(*sightings: Sighting) -> Ledger:
    ledger = Ledger()
    ledger.accept(sightings[0])
    for sighting in sightings:
        ledger.see(sighting)
    return ledger


def test_a_job_that_goes_its_way_is_well() -> None:
    requeued = replace(RUNNING, status=JobStatus.QUEUED, version=3)
    again = replace(RUNNING, version=4, attempt=2)
    (promise,) = ledger_of(QUEUED, RUNNING, requeued, again, replace(DONE, version=5, attempt=2)).accepted()
    assert not promise.troubles
    assert not promise.ended_twice
    assert promise.last.claims == 2


@pytest.mark.parametrize(
    "later",
    [
        replace(DONE, version=4),
        replace(DONE, version=5, attempt=2),
        replace(DONE, status=JobStatus.FAILED),
        replace(RUNNING, version=4, attempt=2),
    ],
)
def test_an_end_that_is_not_the_end_is_found(later: Sighting) -> None:
    (promise,) = ledger_of(RUNNING, DONE, later).accepted()
    assert promise.ended_twice


@pytest.mark.parametrize(
    "sighting",
    [
        replace(QUEUED, version=2),
        replace(RUNNING, version=3),
        replace(DONE, version=4),
        replace(DONE, attempt=2),
        replace(DONE, attempt=0),
        replace(DONE, pictures=()),
    ],
)
def test_a_count_of_moves_that_cannot_be_is_found(sighting: Sighting) -> None:
    assert wrong(sighting) is not None


def test_a_job_canceled_while_it_waits_or_runs_is_well() -> None:
    assert wrong(replace(QUEUED, status=JobStatus.CANCELED, version=2)) is None
    assert wrong(replace(RUNNING, status=JobStatus.CANCELED, version=3)) is None


def test_a_version_that_goes_back_is_found() -> None:
    (promise,) = ledger_of(RUNNING, QUEUED).accepted()
    assert promise.troubles


def test_a_job_that_nobody_was_promised_is_kept_apart() -> None:
    ledger = Ledger()
    ledger.refuse(Order(1, "local", 4, 1, 7), "queue_unavailable")
    ledger.see(QUEUED)
    assert not list(ledger.accepted())
    assert [(promise.last, told) for promise, told in ledger.unheard()] == [(QUEUED, "queue_unavailable")]
    assert ledger.open()


def test_an_end_that_a_customer_was_told_of_must_be_the_end() -> None:
    ledger = ledger_of(RUNNING)
    ledger.answer(replace(RUNNING, status=JobStatus.CANCELED, version=3))
    ledger.see(DONE)
    (promise,) = ledger.accepted()
    assert promise.ended_twice
