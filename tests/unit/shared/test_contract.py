from __future__ import annotations

from dataclasses import replace

import pytest

from shared.contract import JobBody, image_body, job_body
from shared.generation import GenerationParams, ModelCard, OutputFormat, Scheduler, Size
from shared.jobs import LOCAL_TENANT, Image, Job, JobStatus, image_file_name, image_key, new_job_id
from tests.desk import CARD

JOB = Job(
    id=new_job_id(),
    tenant=LOCAL_TENANT,
    pool="test/card",
    params=GenerationParams(
        prompt="x",
        width=64,
        height=64,
        num_inference_steps=4,
        guidance_scale=1,
        seed=1,
        num_images=2,
        scheduler=Scheduler.EULER,
    ),
    metadata={"a": "b"},
    status=JobStatus.QUEUED,
    version=1,
    created_at_ms=1_000_000,
    started_at_ms=None,
    completed_at_ms=None,
    attempt=0,
    worker=None,
    step=0,
    steps=8,
    images=(),
    warnings=(),
    error=None,
    position=3,
)


def test_a_waiting_jobs_clock_runs() -> None:
    metrics = job_body(JOB, now_ms=1_002_500).metrics

    assert (metrics.queue_time, metrics.predict_time, metrics.total_time) == (2.5, None, 2.5)


def test_a_running_jobs_clocks_part_at_its_start() -> None:
    running = replace(JOB, status=JobStatus.RUNNING, started_at_ms=1_001_000)

    metrics = job_body(running, now_ms=1_002_500).metrics

    assert (metrics.queue_time, metrics.predict_time, metrics.total_time) == (1.0, 1.5, 2.5)


def test_an_ended_jobs_clocks_stand() -> None:
    ended = replace(JOB, status=JobStatus.SUCCEEDED, started_at_ms=1_001_000, completed_at_ms=1_004_000)

    metrics = job_body(ended, now_ms=9_000_000).metrics

    assert (metrics.queue_time, metrics.predict_time, metrics.total_time) == (1.0, 3.0, 4.0)


@pytest.mark.parametrize("started_at_ms", [None, 1_001_000])
def test_a_gateway_whose_clock_is_behind_says_no_negative_times(started_at_ms: int | None) -> None:
    metrics = job_body(replace(JOB, started_at_ms=started_at_ms), now_ms=900_000).metrics

    assert min(metrics.queue_time, metrics.predict_time or 0, metrics.total_time) >= 0


def test_a_picture_has_an_address_and_hides_its_key() -> None:
    image = Image(
        index=1,
        seed=2,
        key=image_key(LOCAL_TENANT, JOB.id, 1, OutputFormat.JPEG),
        size=Size(width=32, height=16),
        output_format=OutputFormat.JPEG,
        num_bytes=3,
        sha256="00",
    )

    body = job_body(replace(JOB, images=(image,)), now_ms=1_000_000)

    assert body.progress.images_done == 1
    assert body.images[0].url == f"/v1/jobs/{JOB.id}/images/1"
    assert (body.images[0].width, body.images[0].height) == (32, 16)
    assert image.key == f"images/local/{JOB.id}/1.jpg"
    assert image.key not in body.model_dump_json()
    assert image_file_name(JOB.id, 1, OutputFormat.JPEG) == f"darkroom-{JOB.id}-1.jpg"


def test_a_variation_tells_both_seeds_and_a_picture_of_before_has_one() -> None:
    before = (
        '{"index":0,"seed":2,"key":"k","size":{"width":8,"height":8},"output_format":"png","num_bytes":3,"sha256":"00"}'
    )
    plain = Image.model_validate_json(before)
    varied = plain.model_copy(update={"variation_seed": 5})

    assert [(body.seed, body.variation_seed) for body in (image_body(JOB, plain), image_body(JOB, varied))] == [
        (2, None),
        (2, 5),
    ]


def test_an_old_client_reads_a_newer_gateway() -> None:
    body = job_body(JOB, now_ms=1_000_000)
    newer = body.model_dump(mode="json")
    newer["params"]["from_the_future"] = newer["from_the_future"] = 1

    assert JobBody.model_validate(newer) == body


def test_an_old_gateway_reads_a_newer_workers_card() -> None:
    newer = CARD.model_dump(mode="json")
    newer["defaults"]["from_the_future"] = newer["from_the_future"] = 1

    assert ModelCard.model_validate(newer) == CARD


def test_ids_are_drawn_from_an_alphabet_that_reads_well() -> None:
    ids = {new_job_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(len(one) == 26 and not set(one) & set("ilouILOU") for one in ids)
