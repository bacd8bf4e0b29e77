"""The tray: a job as HTML, from waiting to finished pictures.

Pure functions from a job to text. The browser patches the old tray into the new one element by
element, so the outline is the same in every state and no picture is loaded twice.
"""

from __future__ import annotations

import base64
from html import escape
from typing import Final

from shared.contract import ImageBody, JobBody
from shared.jobs import JobStatus, image_file_name
from ui.form import SAMPLERS

MIN_STEPS_FOR_ESTIMATE: Final = 3
"""The first step is slower than the rest: an estimate from it would be too long."""
LONGEST_IN_SECONDS: Final = 100
"""A longer time is said in minutes."""


def empty_tray() -> str:
    """Show where pictures will appear."""
    sheet = '<li class="paper blank"><div class="sheet" style="aspect-ratio: 1"></div><div class="caption"></div></li>'
    status = _status("Ready", "Say what to draw, then press Generate. Your picture appears here as it is drawn.")
    return _section("empty", status, f'<ul class="papers" data-count="1">{sheet}</ul>')


def job_tray(job: JobBody, preview: bytes | None = None) -> str:
    """Show a job; `preview` is a JPEG of the picture in the making."""
    size = job.params.output_size or job.params.size
    ratio = f"{size.width} / {size.height}"
    sheets: list[str] = []
    done = {image.index: image for image in job.images}
    for index in range(job.params.num_images):
        image = done.get(index)
        if image is not None:
            sheets.append(_finished(job, image, ratio))
        else:
            sheets.append(_unfinished(job, index, ratio, preview))
            preview = None  # it shows the picture in the making: the first that is not done
    notes = "".join(f"<li>{escape(warning.message)}</li>" for warning in job.warnings)
    return _section(
        job.status.value,
        _status(*_words(job), share=job.progress.step / max(job.progress.steps, 1)),
        f'<ul class="papers" data-count="{job.params.num_images}" style="--ratio: {ratio}">{"".join(sheets)}</ul>',
        f'<ul class="notes" aria-label="Notes">{notes}</ul>',
        _parameters(job),
    )


def picture_path(job: JobBody, image: ImageBody) -> str:
    """Name a picture's address on this page's own server, relative to the page."""
    return f"pictures/{job.id}/{image.index}.{image.output_format.suffix}"


def _section(state: str, *parts: str) -> str:
    return f'<section class="tray {state}" aria-label="Pictures">{"".join(parts)}</section>'


def _status(headline: str, detail: str, share: float = 0.0) -> str:
    percent = round(100 * share)
    return (
        f'<div class="status"><p class="headline" role="status">{escape(headline)}</p>'
        f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100"'
        f' aria-valuenow="{percent}"><div style="width: {percent}%"></div></div>'
        f'<p class="detail">{escape(detail)}</p></div>'
    )


def _words(job: JobBody) -> tuple[str, str]:
    """Say a job's state in a headline and a line of detail."""
    match job.status:
        case JobStatus.QUEUED:
            return _waiting_headline(job), _waiting_detail(job)
        case JobStatus.RUNNING:
            return _running_headline(job), _running_detail(job)
        case JobStatus.SUCCEEDED:
            return "Done", _done_detail(job)
        case JobStatus.FAILED:
            code, message = (job.error.code, job.error.message) if job.error else ("unknown", "No reason was given.")
            return f"Failed: {code}", message
        case JobStatus.CANCELED:
            done = job.progress.images_done
            kept = f" {done} of {job.progress.images} pictures were done before." if done else ""
            why = job.error.message if job.error else "Nothing more is drawn for this request."
            return "Canceled", f"{why}{kept}"
        case JobStatus.EXPIRED:
            return "Expired", "It waited past its deadline. Send it again when the queue is shorter."


def _done_detail(job: JobBody) -> str:
    if job.reused:
        return "The same settings and seed had drawn this already, so it was there at once."
    drawn, waited = job.metrics.predict_time or 0.0, job.metrics.queue_time
    return f"Drawn in {_seconds(drawn)}, after waiting {_seconds(waited)}."


def _waiting_headline(job: JobBody) -> str:
    left = f", {_left(job.time_left.seconds)}" if job.time_left else ""
    if job.position is None:
        return f"Waiting{left}"
    return f"You are next{left}" if job.position == 0 else f"{job.position} before you{left}"


def _waiting_detail(job: JobBody) -> str:
    if job.reason is None or job.reason.code == "behind":  # which the headline says
        return "Waiting for a worker. You may leave this page open, reload it or come back."
    return job.reason.message


def _running_headline(job: JobBody) -> str:
    step, steps = job.progress.step, job.progress.steps
    if step >= steps:
        return "Finishing"
    return f"Drawing: step {step} of {steps}" if step else "Starting"


def _running_detail(job: JobBody) -> str:
    progress, parts = job.progress, list[str]()
    if progress.images > 1:
        parts.append(f"{progress.images_done} of {progress.images} pictures done")
    if job.time_left is not None:
        parts.append(_left(job.time_left.seconds))
    elif progress.step >= MIN_STEPS_FOR_ESTIMATE and job.metrics.predict_time is not None:
        left = job.metrics.predict_time / progress.step * (progress.steps - progress.step)
        parts.append(_left(left))
    if job.attempt > 1:
        parts.append(f"attempt {job.attempt}, after a worker was lost")
    text = ", ".join(parts) or "A worker has taken your request"
    return f"{text[0].upper()}{text[1:]}."


def _finished(job: JobBody, image: ImageBody, ratio: str) -> str:
    path, name = escape(picture_path(job, image)), image_file_name(job.id, image.index, image.output_format)
    alt = escape(f"Picture {image.index + 1}: {job.params.prompt}")
    return (
        f'<li class="paper done"><div class="sheet" style="aspect-ratio: {ratio}">'
        f'<a class="picture" href="{path}" target="_blank" rel="noopener" title="Open the full picture in a new tab">'
        f'<img src="{path}" alt="{alt}" width="{image.width}" height="{image.height}"></a></div>'
        f'<div class="caption"><button type="button" class="seed" data-pick="seed" data-value="{image.seed}"'
        f' title="Put this seed into the form: the same settings then draw the same picture">'
        f"Use seed {image.seed}</button>"
        f'<a class="download" href="{path}" download="{name}" title="The original file, with its parameters inside">'
        f"Download {image.output_format.value.upper()}</a></div></li>"
    )


def _unfinished(job: JobBody, index: int, ratio: str, preview: bytes | None) -> str:
    inside = f'<span class="number">{index + 1}</span>' if job.params.num_images > 1 else ""
    if preview is not None and job.status is JobStatus.RUNNING:
        data = base64.b64encode(preview).decode()
        inside = f'<img class="preview" src="data:image/jpeg;base64,{data}" alt="Preview of the picture in the making">'
    return (
        f'<li class="paper blank"><div class="sheet" style="aspect-ratio: {ratio}">{inside}</div>'
        f'<div class="caption"></div></li>'
    )


def _parameters(job: JobBody) -> str:
    params = job.params
    rows = {
        "Prompt": params.prompt,
        "Negative prompt": params.negative_prompt or "none",
        "Size": f"{params.size}, resized to {params.output_size}" if params.output_size else str(params.size),
        "Steps": str(params.num_inference_steps),
        "Guidance": f"{params.guidance_scale:g}",
        "Sampler": SAMPLERS[params.scheduler],
        "Seed": str(params.seed),
        "Model": job.model,
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
    return f'<dl class="parameters">{items}</dl>'


def _left(duration_s: float) -> str:
    return f"{'' if duration_s < 1 else 'about '}{_seconds(duration_s)} left"


def _seconds(duration_s: float) -> str:
    if duration_s < 1:
        return "less than a second"
    return f"{duration_s:.0f} s" if duration_s < LONGEST_IN_SECONDS else f"{duration_s / 60:.0f} min"
