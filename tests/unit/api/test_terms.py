from __future__ import annotations

import pytest

from api.terms import rate_of, room_in_s, terms_of, too_costly
from shared.access import NO_LIMITS, Limits
from shared.generation import GenerationParams, Scheduler
from shared.jobs import Terms
from shared.lanes import Lane
from shared.scripts import Outlook, WaitingWork
from shared.settings import Settings

PARAMS = GenerationParams(
    prompt="x",
    width=1000,
    height=100,
    num_inference_steps=10,
    guidance_scale=7,
    seed=0,
    num_images=2,
    scheduler=Scheduler.EULER,
)


def test_the_operators_settings_are_the_terms() -> None:
    settings = Settings(keep_finished_s=181, bulk_percent=7, max_waiting=8, max_tenant_waiting=5, max_tenant_running=3)

    assert terms_of(settings, NO_LIMITS) == Terms(
        keep_s=181, bulk_percent=7, max_waiting=8, max_tenant_waiting=5, max_tenant_running=3
    )


def test_what_was_set_for_a_tenant_beats_the_settings() -> None:
    settings = Settings(max_tenant_waiting=5, max_tenant_running=3)

    terms = terms_of(settings, Limits(weight=2.5, max_waiting=7, max_running=0))

    assert (terms.weight, terms.max_tenant_waiting, terms.max_tenant_running) == (2.5, 7, 0)
    assert terms.max_waiting == settings.max_waiting


@pytest.mark.parametrize(
    ("said", "is_limited", "rate"), [(None, True, 100), (None, False, 0), (7, True, 7), (7, False, 7), (0, True, 0)]
)
def test_a_rate_is_the_tenants_own_or_the_settings(said: int | None, is_limited: bool, rate: int) -> None:
    settings = Settings(max_requests_per_minute=100)

    assert rate_of(settings, Limits(requests_per_minute=said), is_limited=is_limited) == rate


def test_a_job_may_cost_just_as_much_as_one_may() -> None:
    assert PARAMS.cost == 4000
    assert too_costly(PARAMS, 4000) == ()


def test_a_job_that_costs_more_is_told_both_numbers_and_what_to_lower() -> None:
    (error,) = too_costly(PARAMS, 3999)

    assert error.field == "cost"
    for word in ("4000", "3999", "pictures", "steps", "size", "guidance"):
        assert word in error.message


def waiting(*lanes: tuple[Lane, int, int]) -> Outlook:
    return Outlook({lane: WaitingWork(jobs, work_ms) for lane, jobs, work_ms in lanes}, (), bulk_share=0.2)


@pytest.mark.parametrize(
    ("ahead", "ready_workers", "seconds"),
    [
        (waiting((Lane.INTERACTIVE, 4, 80_000)), 2, 10),
        (waiting((Lane.INTERACTIVE, 1, 10_000), (Lane.BULK, 3, 70_000)), 4, 5),
        (waiting((Lane.BULK, 3, 10_000)), 1, 4),  # rounded up
        (waiting((Lane.INTERACTIVE, 1000, 1000)), 50, 1),
        (waiting((Lane.BULK, 2, 10_000_000)), 1, 300),
        # Nobody can say: another model's jobs fill the queue, or nobody draws.
        (waiting(), 1, 10),
        (waiting((Lane.INTERACTIVE, 4, 80_000)), 0, 10),
    ],
)
def test_a_full_queue_has_room_when_an_average_job_has_left_it(
    ahead: Outlook, ready_workers: int, seconds: int
) -> None:
    assert room_in_s(ahead, ready_workers) == seconds
