"""A job as HTML, in every state."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from shared.contract import ImageBody, JobBody, Metrics, Progress, Reason, TimeLeft, Urls
from shared.generation import GenerationParams, OutputFormat, Scheduler, Size
from shared.jobs import JobError, JobId, JobStatus, JobWarning
from ui.tray import empty_tray, job_tray

ID = JobId("0123456789abcdefghjkmnpqrs")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PARAMS = GenerationParams(
    prompt="a cube",
    width=96,
    height=64,
    num_inference_steps=10,
    guidance_scale=5.0,
    seed=41,
    num_images=2,
    scheduler=Scheduler.EULER,
)


def job(status: JobStatus = JobStatus.RUNNING, **fields: object) -> JobBody:
    whole: dict[str, object] = {
        "id": ID,
        "status": status,
        "version": 1,
        "model": "test/tiny",
        "params": PARAMS,
        "metadata": {},
        "created_at": NOW,
        "started_at": NOW,
        "completed_at": None,
        "attempt": 1,
        "position": None,
        "progress": Progress(step=0, steps=20, images_done=0, images=2),
        "images": (),
        "warnings": (),
        "error": None,
        "metrics": Metrics(queue_time=0.2, predict_time=4.0, total_time=4.2),
        "urls": Urls(get="", cancel="", preview="", events=""),
    }
    return JobBody.model_validate(whole | fields)


def picture(index: int) -> ImageBody:
    return ImageBody(
        index=index,
        seed=PARAMS.seed_of(index),
        url="",
        width=96,
        height=64,
        output_format=OutputFormat.PNG,
        num_bytes=3,
        sha256="",
    )


class Outline(HTMLParser):
    """The elements of a page down to a depth, and whether each is closed."""

    def __init__(self, html: str, depth: int = 3) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self._depth = depth
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if len(self.open) < self._depth:
            self.tags.append("/".join([*self.open, tag]))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("status", list(JobStatus))
def test_the_outline_is_the_same_in_every_state(status: JobStatus) -> None:
    outline = Outline(job_tray(job(status, position=3, images=(picture(0),))))

    assert outline.open == []
    assert outline.tags == Outline(job_tray(job(JobStatus.RUNNING, images=(picture(0), picture(1))))).tags


def test_the_empty_tray_is_whole() -> None:
    assert Outline(empty_tray()).open == []


def test_what_people_wrote_is_shown_and_never_run() -> None:
    evil = '"><script>alert(1)</script>'
    params = PARAMS.model_copy(update={"prompt": evil, "negative_prompt": evil})
    notes = (JobWarning(code="prompt_truncated", message=evil),)

    html = job_tray(job(params=params, model=evil, warnings=notes, images=(picture(0),)))

    assert "<script" not in html
    assert "&quot;&gt;&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("position", "words"), [(0, "You are next"), (1, "1 before you"), (12, "12 before you"), (None, "Waiting")]
)
def test_a_place_in_the_queue(position: int | None, words: str) -> None:
    assert f">{words}</p>" in job_tray(job(JobStatus.QUEUED, position=position))


def test_a_waiting_job_says_why_it_waits_and_how_long() -> None:
    waiting = job(
        JobStatus.QUEUED,
        position=3,
        reason=Reason(code="workers_failing", message="Workers start and die."),
        time_left=TimeLeft(seconds=42, low=30, high=60),
    )
    tray = job_tray(waiting)
    assert ">3 before you, about 42 s left</p>" in tray
    assert "Workers start and die." in tray


def test_a_running_job_says_the_time_that_the_gateway_knows() -> None:
    tray = job_tray(job(time_left=TimeLeft(seconds=7, low=6, high=8)))
    assert "about 7 s left." in tray


def test_less_than_a_second_is_said_without_about() -> None:
    assert ", less than a second left." in job_tray(job(time_left=TimeLeft(seconds=0.4, low=0, high=1)))


def test_a_reused_picture_is_called_one() -> None:
    assert "had drawn this already" in job_tray(job(JobStatus.SUCCEEDED, reused=True))


def test_a_job_that_its_deadline_canceled_says_so() -> None:
    error = JobError(code="deadline_passed", message="It had not ended by its deadline.")
    assert "not ended by its deadline" in job_tray(job(JobStatus.CANCELED, error=error))


def test_time_left_is_told_from_the_third_step_on() -> None:
    def at(step: int) -> str:
        return job_tray(job(progress=Progress(step=step, steps=20, images_done=0, images=2)))

    assert "left" not in at(2)
    assert "About 16 s left" in at(4).replace("0 of 2 pictures done, about", "About")


def test_the_preview_stands_where_the_next_picture_will() -> None:
    html = job_tray(job(images=(picture(0),)), b"jpeg")

    assert html.index("pictures/") < html.index("data:image/jpeg")
    assert html.count("data:image/jpeg") == 1


def test_no_preview_once_the_job_has_ended() -> None:
    assert "data:image" not in job_tray(job(JobStatus.CANCELED), b"jpeg")


def test_pictures_keep_their_shape_before_and_after() -> None:
    shape = 'style="aspect-ratio: 96 / 64"'

    assert job_tray(job()).count(shape) == 2
    assert job_tray(job(images=(picture(0), picture(1)))).count(shape) == 2


def test_a_resized_picture_has_the_shape_of_its_file() -> None:
    params = PARAMS.model_copy(update={"output_size": Size(width=512, height=512)})

    html = job_tray(job(params=params))

    assert "aspect-ratio: 512 / 512" in html
    assert "96x64, resized to 512x512" in html


def test_a_second_attempt_says_why() -> None:
    assert "attempt 2, after a worker was lost" in job_tray(job(attempt=2)).lower()


def test_a_failure_without_a_reason_still_says_something() -> None:
    assert "Failed: unknown" in job_tray(job(JobStatus.FAILED))
    error = JobError(code="worker_lost", message="Its workers died.")
    assert "Its workers died." in job_tray(job(JobStatus.FAILED, error=error))


def test_a_canceled_job_keeps_what_was_done() -> None:
    progress = Progress(step=12, steps=20, images_done=1, images=2)

    html = job_tray(job(JobStatus.CANCELED, images=(picture(0),), progress=progress))

    assert "1 of 2 pictures were done before." in html
    assert f'href="pictures/{ID}/0.png"' in html


def test_warnings_are_shown() -> None:
    note = JobWarning(code="prompt_truncated", message="12 words were left out.")

    assert "<li>12 words were left out.</li>" in job_tray(job(warnings=(note,)))
