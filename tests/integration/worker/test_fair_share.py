"""One user's thousand jobs and another's one, with a real worker."""

from __future__ import annotations

from shared import scripts
from shared.generation import GenerationRequest
from shared.jobs import Job, JobStatus, NewJob, Tenant, Terms, new_job_id
from tests.integration.worker.system import System

ANN, BOB = Tenant("ann"), Tenant("bob")


def submit(system: System, tenant: Tenant, *, steps: int = 3) -> Job:
    card = system.card
    params = GenerationRequest(prompt="x", num_inference_steps=steps).resolve(card, drawn_seed=0)
    new = NewJob(new_job_id(), tenant, card.id, params, {})
    return system(scripts.submit(new, Terms(keep_s=3600))).job


def test_a_single_job_starts_next_though_anothers_thousand_wait(system: System) -> None:
    system.ready_worker()
    anns = [submit(system, ANN) for _ in range(1000)]
    system.wake_ups.send(system.card.id)
    system.wait_for(anns[0], lambda job: job.status is not JobStatus.QUEUED, "a job of Ann's runs")
    bobs = submit(system, BOB)
    assert bobs.position == 0
    ended = system.wait_ended(bobs)
    assert ended.status is JobStatus.SUCCEEDED
    assert ended.started_at_ms is not None
    page = system(scripts.page(ANN, cursor=None, limit=1000))
    begun_before = [
        job
        for job in page.jobs
        if job.started_at_ms is not None and bobs.created_at_ms < job.started_at_ms < ended.started_at_ms
    ]
    assert begun_before == []
    assert any(job.status is JobStatus.QUEUED for job in page.jobs)  # hers still wait: none had to be done first
