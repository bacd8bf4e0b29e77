"""A job as HTML, in every state."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from shared.contract import ImageBody, JobBody, Metrics, Progress, Reason, TimeLeft, Urls
from shared.generation import GenerationParams, OutputFormat, Scheduler, Size
from shared.infotext import infotext_of, read_infotext
from shared.jobs import JobError, JobId, JobStatus, JobWarning
from ui.cards import card, feed, no_cards
from ui.form import PROMPT_TYPED, STYLE_CHOSEN

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
        "completed_at": NOW if status.is_terminal else None,
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

    def __init__(self, html: str, depth: int = 2) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self._depth = depth
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if len(self.open) < self._depth:
            self.tags.append("/".join([*self.open, tag]))
        if tag not in {"img", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("status", list(JobStatus))
def test_the_outline_is_the_same_in_every_state(status: JobStatus) -> None:
    outline = Outline(card(job(status, position=3, images=(picture(0),))))

    assert outline.open == []
    assert outline.tags == Outline(card(job(JobStatus.RUNNING, images=(picture(0), picture(1))))).tags


@pytest.mark.parametrize("html", [feed(), no_cards()])
def test_the_empty_feed_is_whole(html: str) -> None:
    assert Outline(html).open == []


def test_what_people_wrote_is_shown_and_never_run() -> None:
    evil = '"><script>alert(1)</script>'
    params = PARAMS.model_copy(update={"prompt": evil, "negative_prompt": evil})
    notes = (JobWarning(code="prompt_truncated", message=evil),)

    html = card(job(params=params, model=evil, warnings=notes, images=(picture(0),)))

    assert "<script" not in html
    assert "&quot;&gt;&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("position", "words"), [(0, "You are next"), (1, "1 before you"), (12, "12 before you"), (None, "Waiting")]
)
def test_a_place_in_the_queue(position: int | None, words: str) -> None:
    assert f"<span>{words}</span>" in card(job(JobStatus.QUEUED, position=position))


def test_a_waiting_job_says_why_it_waits_and_how_long() -> None:
    waiting = job(
        JobStatus.QUEUED,
        position=3,
        reason=Reason(code="workers_failing", message="Workers start and die."),
        time_left=TimeLeft(seconds=42, low=30, high=60),
    )
    html = card(waiting)
    assert "<span>3 before you, about 42 s left</span>" in html
    assert "Workers start and die." in html


def test_a_running_job_says_the_time_that_the_gateway_knows() -> None:
    assert "about 7 s left." in card(job(time_left=TimeLeft(seconds=7, low=6, high=8)))


def test_less_than_a_second_is_said_without_about() -> None:
    assert ", less than a second left." in card(job(time_left=TimeLeft(seconds=0.4, low=0, high=1)))


def test_a_reused_picture_is_called_one() -> None:
    assert "had drawn this already" in card(job(JobStatus.SUCCEEDED, reused=True))


def test_a_job_that_its_deadline_canceled_says_so() -> None:
    error = JobError(code="deadline_passed", message="It had not ended by its deadline.")
    assert "not ended by its deadline" in card(job(JobStatus.CANCELED, error=error))


def test_time_left_is_told_from_the_third_step_on() -> None:
    def at(step: int) -> str:
        return card(job(progress=Progress(step=step, steps=20, images_done=0, images=2)))

    assert "left" not in at(2)
    assert "About 16 s left" in at(4).replace("0 of 2 pictures done, about", "About")


def test_the_preview_stands_where_the_next_picture_will() -> None:
    html = card(job(images=(picture(0),), progress=Progress(step=12, steps=20, images_done=1, images=2)))

    assert html.index("thumbnails/") < html.index(f"previews/{ID}?version=1-12")
    assert html.count("previews/") == 1


def test_no_preview_before_the_first_step() -> None:
    assert "previews/" not in card(job())


def test_no_preview_once_the_job_has_ended() -> None:
    progress = Progress(step=12, steps=20, images_done=0, images=2)

    assert "previews/" not in card(job(JobStatus.CANCELED, progress=progress))


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        (JobStatus.QUEUED, {"cancel", "reuse"}),
        (JobStatus.RUNNING, {"cancel", "reuse"}),
        (JobStatus.SUCCEEDED, {"again", "reuse", "delete"}),
        (JobStatus.FAILED, {"retry", "reuse", "delete"}),
        (JobStatus.CANCELED, {"retry", "reuse", "delete"}),
        (JobStatus.EXPIRED, {"retry", "reuse", "delete"}),
    ],
)
def test_a_job_offers_what_can_be_done_with_it(status: JobStatus, verbs: set[str]) -> None:
    assert set(re.findall(r'data-do="([a-z-]+)"', card(job(status)))) == verbs


def test_a_picture_offers_what_can_be_done_with_it() -> None:
    offered = re.findall(r'data-do="([a-z-]+)"', card(job(images=(picture(0),))))

    assert set(offered) - {"cancel", "reuse"} == {
        "open",
        "copy-seed",
        "copy-link",
        "favourite",
        "download",
        "compare",
        "vary-subtle",
        "vary-strong",
    }


def test_every_button_says_which_picture_or_job_it_is_for() -> None:
    names = re.findall(r'<button[^>]* aria-label="([^"]+)"', card(job(images=(picture(0), picture(1)))))

    assert all("of 2" in name or PARAMS.prompt in name for name in names)
    assert len(set(names)) == len(names)


def test_whoever_listens_tells_the_pictures_of_two_jobs_apart() -> None:
    def names(prompt: str) -> set[str]:
        params = PARAMS.model_copy(update={"prompt": prompt, "num_images": 1})
        html = card(job(JobStatus.SUCCEEDED, params=params, images=(picture(0),)))
        return set(re.findall(r'<(?:a|button|summary)[^>]* aria-label="([^"]+)"', html))

    one, other = names("a cube"), names('a "ball"')

    assert "Open the picture in full: a cube" in one
    assert one.isdisjoint(other)


def test_a_contact_sheet_is_offered_of_several_pictures() -> None:
    assert "sheets/" not in card(job(JobStatus.SUCCEEDED, images=(picture(0),)))
    assert f'href="sheets/{ID}.png"' in card(job(JobStatus.SUCCEEDED, images=(picture(0), picture(1))))


def test_what_the_person_wrote_is_shown_and_the_style_beside_it() -> None:
    html = card(job(metadata={PROMPT_TYPED: "a <cube>", STYLE_CHOSEN: "Film & grain"}))

    assert ">a &lt;cube&gt;</h3>" in html
    assert "<li>Film &amp; grain</li>" in html
    assert "<dd>a cube</dd>" in html


def test_what_a_programs_metadata_means_is_its_own_business() -> None:
    html = card(job(metadata={"prompt": "row 17", "style": "oil", "preset": "draft"}))

    assert ">a cube</h3>" in html
    assert "row 17" not in re.sub(r"<[^>]*>", "", html), "a search finds it, and nobody reads it"
    assert "<li>oil</li>" not in html
    assert "<li>draft</li>" not in html


def test_pictures_keep_their_shape_before_and_after() -> None:
    shape = 'style="aspect-ratio: 96 / 64"'

    assert card(job()).count(shape) == 2
    assert card(job(images=(picture(0), picture(1)))).count(shape) == 2


def test_a_resized_picture_has_the_shape_of_its_file() -> None:
    params = PARAMS.model_copy(update={"output_size": Size(width=512, height=512)})

    html = card(job(params=params))

    assert "aspect-ratio: 512 / 512" in html
    assert "96 \N{MULTIPLICATION SIGN} 64, resized to 512 \N{MULTIPLICATION SIGN} 512" in html


def test_a_second_attempt_says_why() -> None:
    assert "attempt 2, after a worker was lost" in card(job(attempt=2)).lower()


def test_a_failure_without_a_reason_still_says_something() -> None:
    assert "No reason was given. (unknown)" in card(job(JobStatus.FAILED))
    error = JobError(code="worker_lost", message="Its workers died.")
    assert "Its workers died. (worker_lost)" in card(job(JobStatus.FAILED, error=error))


def test_a_canceled_job_keeps_what_was_done() -> None:
    progress = Progress(step=12, steps=20, images_done=1, images=2)

    html = card(job(JobStatus.CANCELED, images=(picture(0),), progress=progress))

    assert "1 of 2 pictures were done before." in html
    assert f'href="pictures/{ID}/0.png"' in html


def test_warnings_are_shown() -> None:
    note = JobWarning(code="prompt_truncated", message="12 words were left out.")

    assert "<li>12 words were left out.</li>" in card(job(warnings=(note,)))


def test_a_variation_is_called_one() -> None:
    varied = PARAMS.model_copy(update={"variation_seed": 5, "variation_strength": 0.15})

    html = card(job(params=varied))

    assert "<li>variation</li>" in html
    assert "<dt>Variation</dt><dd>15% of the way to seed 5</dd>" in html
    assert "ariation" not in card(job())


def test_a_long_time_is_said_as_operators_read_it() -> None:
    assert "about 2 h 5 min left" in card(job(time_left=TimeLeft(seconds=7500.3, low=7000, high=8000)))


@pytest.mark.parametrize("scheduler", Scheduler)
def test_a_sampler_has_the_name_that_stands_in_the_pictures_file(scheduler: Scheduler) -> None:
    params = PARAMS.model_copy(update={"scheduler": scheduler})
    written = read_infotext(infotext_of(params, model="test/tiny", model_revision="0", software="Darkroom"))

    assert f"<dd>{written.fields['Sampler']}</dd>" in card(job(params=params))
