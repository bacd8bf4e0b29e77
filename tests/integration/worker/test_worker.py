"""One worker process with a real (tiny) model, and what a tenant sees of its work."""

from __future__ import annotations

import hashlib

import pytest

from shared import scripts
from shared.jobs import JobStatus, Reading, TextReading, WeightedPassage
from shared.keys import queue_of
from shared.provenance import read_parameters
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import wait_until

pytestmark = pytest.mark.timeout(900)  # a worker imports torch for seconds, on a busy machine for a minute


def test_a_job_becomes_pictures_in_the_store(served: System) -> None:
    ended = served.wait_ended(served.submit(num_images=2, seed=7))
    assert (ended.status, ended.error) == (JobStatus.SUCCEEDED, None)
    assert (ended.step, ended.attempt) == (ended.steps, 1)
    assert [(image.index, image.seed) for image in ended.images] == [(0, 7), (1, 8)]
    for image in ended.images:
        data = served.store.get(image.key)
        assert len(data) == image.num_bytes
        assert hashlib.sha256(data).hexdigest() == image.sha256
        provenance = read_parameters(data).provenance
        assert provenance is not None
        assert provenance.params == ended.params.alone(image.index).model_copy(update={"deterministic": False})


def test_picture_n_of_a_job_is_the_picture_of_its_own_seed(served: System) -> None:
    many = served.wait_ended(served.submit(num_images=2, seed=20))
    alone = served.wait_ended(served.submit(num_images=1, seed=21))
    assert many.images[1].sha256 == alone.images[0].sha256


def test_a_variation_tells_both_of_its_seeds_and_is_drawn_again_by_them(served: System) -> None:
    many = served.wait_ended(served.submit(num_images=2, seed=20, variation_seed=30))
    assert [(image.seed, image.variation_seed) for image in many.images] == [(20, 30), (20, 31)]
    provenance = read_parameters(served.store.get(many.images[1].key)).provenance
    assert provenance is not None
    told = provenance.params
    alone = served.wait_ended(served.submit(seed=told.seed, variation_seed=told.variation_seed))
    assert alone.params.variation_strength == told.variation_strength
    assert many.images[1].sha256 == alone.images[0].sha256
    assert len({image.sha256 for image in many.images}) == 2


def test_a_job_whose_wake_up_was_lost_is_drawn_all_the_same(served: System) -> None:
    job = served.submit(wake=False)
    assert served.wait_ended(job).status is JobStatus.SUCCEEDED


def test_wake_ups_without_work_do_no_harm(served: System) -> None:
    model = served.card.id
    for _ in range(5):
        served.wake_ups.send(model)
    job = served.submit()
    assert served.wait_ended(job).status is JobStatus.SUCCEEDED
    wait_until(lambda: served.client.llen(queue_of(model)) == 0, limit_s=LIMIT_S, what="the wake-ups are gone")


def test_a_running_job_shows_its_progress_and_a_preview(served: System) -> None:
    job = served.submit(steps=60, num_images=2)
    drawing = served.wait_drawing(job)
    assert drawing.status is JobStatus.RUNNING
    assert drawing.worker is not None
    wait_until(
        lambda: (served(scripts.preview(job.id, job.tenant)) or b"").startswith(b"\xff\xd8"),
        limit_s=LIMIT_S,
        what="there is a preview",
    )
    served(scripts.cancel(job.id, job.tenant))


def test_a_canceled_job_leaves_the_worker_free_for_the_next(served: System) -> None:
    job = served.submit(steps=100, num_images=8)
    served.wait_drawing(job)
    assert served(scripts.cancel(job.id, job.tenant)).status is JobStatus.CANCELED
    assert served.wait_ended(served.submit()).status is JobStatus.SUCCEEDED
    now = served.read(job)
    assert (now.status, now.step < now.steps) == (JobStatus.CANCELED, True)


def test_a_job_canceled_while_it_waits_is_never_drawn(served: System) -> None:
    busy = served.submit(steps=100, num_images=2)
    served.wait_drawing(busy)
    waiting = served.submit()
    assert served(scripts.cancel(waiting.id, waiting.tenant)).attempt == 0
    served(scripts.cancel(busy.id, busy.tenant))
    assert served.wait_ended(served.submit()).status is JobStatus.SUCCEEDED
    assert served.read(waiting).started_at_ms is None


def test_a_prompt_that_is_too_long_is_drawn_with_a_warning(served: System) -> None:
    ended = served.wait_ended(served.submit(prompt="a very long story " * 60))
    assert ended.status is JobStatus.SUCCEEDED
    assert [warning.code for warning in ended.warnings] == ["prompt_truncated"]
    assert ended.reading is not None
    assert (ended.reading.prompt.tokens, ended.reading.prompt.windows) == (840, 4)
    assert ended.reading.prompt.cut.endswith("a very long story")
    assert f"it did not see: {ended.reading.prompt.cut[:100]}" in ended.warnings[0].message


def test_a_job_says_how_its_texts_were_read(served: System) -> None:
    ended = served.wait_ended(served.submit(prompt="a (red)1.5 circle <lora:film:1>"))
    assert ended.status is JobStatus.SUCCEEDED
    assert ended.reading == Reading(
        prompt=TextReading(tokens=23, window=75, windows=1, weights=(WeightedPassage(text="red", weight=1.5),)),
        negative_prompt=TextReading(tokens=4, window=75, windows=1),
    )
    assert [warning.code for warning in ended.warnings] == ["prompt_syntax_unread"]


def test_a_worker_says_how_it_computes_and_how_fast_it_draws(served: System) -> None:
    ended = served.wait_ended(served.submit())
    assert ended.status is JobStatus.SUCCEEDED

    def is_measured() -> bool:
        (worker,) = served(scripts.fleet()).workers
        return worker.pace != 1.0 and worker.jobs == 0

    wait_until(is_measured, limit_s=LIMIT_S, what="a heartbeat tells of the job")
    (worker,) = served(scripts.fleet()).workers
    speed = worker.speeds[0]
    assert (speed.width, speed.height, speed.guided) == (ended.params.width, ended.params.height, True)
    assert speed.step_ms > 0
    assert worker.tuning is not None
    assert worker.tuning.precision in {"fp32", "fp16"}
    assert worker.tuning.notes == ()
    assert not worker.store_away


def test_the_fleet_shows_the_worker_and_its_card(served: System) -> None:
    # The worker is ready a moment before a heartbeat says so.
    wait_until(lambda: served(scripts.fleet()).workers[0].state == "ready", limit_s=30, what="the fleet hears of it")
    found = served(scripts.fleet())
    assert [worker.state for worker in found.workers] == ["ready"]
    assert found.workers[0].model == found.cards[0].id
    measured, default = found.workers[0].batching[0], found.cards[0].defaults.size
    assert (measured.width, measured.height) == (default.width, default.height)
    assert set(measured.forward_ms) == {1, 2, 4, 8, 16}
    assert measured.samples in measured.forward_ms
