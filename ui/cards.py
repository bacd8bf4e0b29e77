"""Cards: a job as HTML, from waiting to finished pictures, and the feed that holds them.

Pure functions from a job to text. The browser patches a card's old outline into the new one, so the outline
is the same in every state, and no picture is loaded twice. `ui/static` does what a card's buttons say in `data-do`;
paths are relative to the page.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Final

from shared.contract import ImageBody, JobBody
from shared.generation import GenerationParams, Size
from shared.infotext import sampler_name
from shared.jobs import JobStatus, image_file_name
from ui.durations import seconds
from ui.form import PROMPT_TYPED, STYLE_CHOSEN, TIMES

MIN_STEPS_FOR_ESTIMATE: Final = 3
"""The first step is slower than the rest: an estimate from it would be too long."""

_ENDED_WITHOUT: Final = frozenset({JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED})


def feed() -> str:
    """Show the feed's tools and an empty feed; the browser fills it, and keeps it from then on."""
    return (
        '<div class="feed-head"><h2>Your pictures</h2><div class="feed-tools" role="search">'
        '<input type="search" data-do="search" aria-label="Search your pictures" placeholder="Search prompts, seeds"'
        ' autocomplete="off" spellcheck="false">'
        '<button type="button" class="tool icon-star" data-do="only-favourites" aria-pressed="false">'
        "Favourites</button></div></div>"
        f'<ol id="feed" aria-label="Your jobs, newest first"></ol>{no_cards()}'
        '<p class="feed-end" role="status" hidden></p>'
        '<button type="button" class="act main more" data-do="more" hidden>Show older pictures</button>'
    )


def no_cards() -> str:
    """Say what will be where cards are; seen only while the feed has none, or none that are looked for."""
    frame = "<span></span>" * 3
    return (
        f'<div class="no-cards"><div class="strip" aria-hidden="true">{frame}</div>'
        "<p><strong>Nothing in the tray yet</strong> Say what to draw, then press Generate."
        " Each picture appears here, and grows sharp as it is drawn.</p></div>"
        '<p class="no-match" role="status" hidden>None of your pictures matches.</p>'
    )


def theme_switch() -> str:
    """Offer the other theme: darkroom or daylight."""
    return (
        '<button type="button" class="icon icon-theme" data-do="theme" title="Darkroom or daylight"'
        ' aria-label="Switch between darkroom and daylight"></button>'
    )


def card(job: JobBody) -> str:
    """Show a job as an item of the feed."""
    size = job.params.output_size or job.params.size
    ratio, count = f"{size.width} / {size.height}", job.params.num_images
    done = {image.index: image for image in job.images}
    in_the_making = next((index for index in range(count) if index not in done), None)
    figures = "".join(
        _finished(job, done[index], ratio) if index in done else _unfinished(job, index, ratio, index == in_the_making)
        for index in range(count)
    )
    notes = "".join(f"<li>{escape(warning.message)}</li>" for warning in job.warnings)
    status = escape(job.status)
    return (
        f'<li class="card {status}" id="job-{job.id}" data-job="{job.id}" data-status="{status}"'
        f' data-count="{count}" style="--ratio: {ratio}" aria-labelledby="prompt-{job.id}"'
        f' data-words="{escape(words_of(job))}">'
        f'<div class="label">{_status(job)}'
        f'<h3 class="prompt" id="prompt-{job.id}">{escape(prompt_of(job))}</h3>'
        f'<ul class="facts" aria-label="Drawn with">{_chips(job)}</ul>'
        f'<ul class="notes" aria-label="Notes">{notes}</ul></div>'
        f'<div class="prints">{figures}</div>'
        f'<div class="foot"><div class="actions">{_actions(job)}</div>'
        f'<details class="details"><summary>Details</summary>{_parameters(job)}</details>'
        "</div></li>"
    )


def prompt_of(job: JobBody) -> str:
    """Say what the person wrote, before a style was put around it."""
    return job.metadata.get(PROMPT_TYPED) or job.params.prompt


def words_of(job: JobBody) -> str:
    """Say what a search looks through, in small letters: the card's words on what was asked for, and its metadata."""
    params = job.params
    sizes = [size for size in (params.size, params.output_size) if size is not None]
    words = (
        params.prompt,
        params.negative_prompt,
        *_facts(job),
        *(f"{_pixels(size)} {size}" for size in sizes),
        sampler_name(params.scheduler),
        params.output_format.value,
        job.model,
        *(str(image.seed) for image in job.images),
        *job.metadata.values(),
    )
    return "\n".join(dict.fromkeys(words)).lower()


def picture_path(job: JobBody, image: ImageBody) -> str:
    """Name a picture's address on this page's own server."""
    return f"pictures/{job.id}/{image.index}.{image.output_format.suffix}"


def thumbnail_path(job: JobBody, image: ImageBody) -> str:
    """Name the address of a small copy of a picture."""
    return f"thumbnails/{job.id}/{image.index}.webp"


def preview_path(job: JobBody) -> str:
    """Name the address of the picture in the making; another one with each step."""
    return f"previews/{job.id}?version={job.attempt}-{job.progress.step}"


def sheet_path(job: JobBody) -> str:
    """Name the address of the contact sheet of a job's pictures."""
    return f"sheets/{job.id}.png"


def _status(job: JobBody) -> str:
    headline, detail = _words(job)
    percent = round(100 * job.progress.step / max(job.progress.steps, 1))
    bar = '<div class="bar"></div>'
    if not job.has_ended:
        bar = (
            f'<div class="bar" role="progressbar" aria-label="Progress" aria-valuemin="0" aria-valuemax="100"'
            f' aria-valuenow="{percent}"><div style="width: {percent}%"></div></div>'
        )
    return (
        f'<div class="status"><p class="headline"><span class="dot" aria-hidden="true"></span>'
        f"<span>{escape(headline)}</span>{_time(job.created_at)}</p>{bar}"
        f'<p class="detail">{escape(detail)}</p></div>'
    )


def _words(job: JobBody) -> tuple[str, str]:  # noqa: PLR0911 one a status
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
            return "Failed", f"{message} ({code})"
        case JobStatus.CANCELED:
            done = job.progress.images_done
            kept = f" {done} of {job.progress.images} pictures were done before." if done else ""
            why = job.error.message if job.error else "Nothing more is drawn for this request."
            return "Canceled", f"{why}{kept}"
        case JobStatus.EXPIRED:
            return "Expired", "It waited past its deadline. Send it again when the queue is shorter."
        case _:  # a newer gateway's
            return str(job.status).capitalize(), job.error.message if job.error else ""


def _done_detail(job: JobBody) -> str:
    if job.reused:
        return "The same settings and seed had drawn this already, so it was there at once."
    drawn, waited = job.metrics.predict_time or 0.0, job.metrics.queue_time
    waiting = f", after waiting {_lasting(waited)}" if waited >= 1 else ""
    return f"Drawn in {_lasting(drawn)}{waiting}."


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


def _chips(job: JobBody) -> str:
    return "".join(f"<li>{escape(fact)}</li>" for fact in _facts(job))


def _facts(job: JobBody) -> list[str]:
    params = job.params
    facts = [style] if (style := job.metadata.get(STYLE_CHOSEN)) else []
    if params.is_variation:
        facts.append("variation")
    if params.preset:
        facts.append(params.preset)
    size = params.output_size or params.size
    facts += [_pixels(size), f"{params.num_inference_steps} steps"]
    facts.append(f"seed {params.seed}")
    return facts


def _actions(job: JobBody) -> str:
    what = f": {_short(prompt_of(job))}"
    if not job.has_ended:
        return _button(job, "cancel", "Cancel", what, quiet=False) + _button(job, "reuse", "Reuse settings", what)
    buttons = [_button(job, "again", "Draw again", f" with new seeds{what}", quiet=False)]
    if job.status in _ENDED_WITHOUT:
        buttons = [_button(job, "retry", "Try again", what, quiet=False)]
    buttons.append(_button(job, "reuse", "Reuse settings", what))
    if len(job.images) > 1:
        buttons.append(
            f'<a class="act icon-sheet" href="{sheet_path(job)}" download="darkroom-{job.id}-sheet.png"'
            f' aria-label="Download the contact sheet{escape(what)}">Contact sheet</a>'
        )
    buttons.append(_button(job, "delete", "Delete", what))
    return "".join(buttons)


def _button(job: JobBody, verb: str, name: str, what: str, *, quiet: bool = True) -> str:
    kind = "act" if quiet else "act main"
    return (
        f'<button type="button" class="{kind} icon-{verb}" data-do="{verb}" data-job="{job.id}"'
        f' aria-label="{escape(name + what)}">{name}</button>'
    )


def _finished(job: JobBody, image: ImageBody, ratio: str) -> str:
    path, name = picture_path(job, image), image_file_name(job.id, image.index, image.output_format)
    which, what = _which(job, image.index), escape(_short(prompt_of(job)))
    alt = escape(f"{which}: {prompt_of(job)}")
    which = which.lower()
    tools = (
        f'<button type="button" class="seed" data-do="copy-seed" data-frame="{image.index + 1}" title="Copy the seed"'
        f' aria-label="Copy the seed {image.seed} of {which}: {what}"><span>{image.seed}</span></button>'
        f'<button type="button" class="icon icon-star" data-do="favourite" aria-pressed="false" title="Favourite"'
        f' aria-label="Favourite: {which}, {what}"></button>'
        f'<a class="icon icon-download" data-do="download" href="{path}" download="{name}"'
        f' title="Download the original, with its parameters inside" aria-label="Download {which}: {what}"></a>'
    )
    more = "".join(
        f'<button type="button" data-do="{verb}" data-job="{job.id}" data-index="{image.index}"'
        f' aria-label="{words}: {which}, {what}">{words}</button>'
        for verb, words in (
            ("vary-subtle", "Vary a little"),
            ("vary-strong", "Vary a lot"),
            ("compare", "Compare"),
            ("copy-link", "Copy link"),
        )
    )
    return (
        f'<figure class="paper done" data-job="{job.id}" data-index="{image.index}" data-seed="{image.seed}"'
        f' data-file="{path}" data-name="{name}" data-width="{image.width}" data-height="{image.height}">'
        f'<a class="sheet" href="{path}" data-do="open" style="aspect-ratio: {ratio}"'
        f' aria-label="Open {which} in full: {what}">'
        f'<img class="print" loading="lazy" decoding="async" src="{thumbnail_path(job, image)}" alt="{alt}"'
        f' width="{image.width}" height="{image.height}"></a>'
        f'<figcaption>{tools}<details class="menu"><summary class="icon icon-more" title="More"'
        f' aria-label="More for {which}: {what}"></summary><div>{more}</div></details></figcaption></figure>'
    )


def _unfinished(job: JobBody, index: int, ratio: str, in_the_making: bool) -> str:
    inside = f'<span class="number">{index + 1}</span>' if job.params.num_images > 1 else ""
    if in_the_making and job.status is JobStatus.RUNNING and job.progress.step:
        inside += f'<img class="preview" src="{preview_path(job)}" alt="{_which(job, index)}, in the making">'
    return (
        f'<figure class="paper blank" data-job="{job.id}" data-index="{index}">'
        f'<div class="sheet" style="aspect-ratio: {ratio}">{inside}</div><figcaption></figcaption></figure>'
    )


def _parameters(job: JobBody) -> str:
    params = job.params
    rows = {
        "Prompt": params.prompt,
        "Negative prompt": params.negative_prompt or "none",
        "Size": f"{_pixels(params.size)}, resized to {_pixels(params.output_size)}"
        if params.output_size
        else _pixels(params.size),
        "Steps": str(params.num_inference_steps),
        "Guidance": f"{params.guidance_scale:g}",
        "Sampler": sampler_name(params.scheduler),
        "Seed": str(params.seed),
        **({"Variation": _variation(params)} if params.is_variation else {}),
        "Format": params.output_format.value.upper(),
        "Model": job.model,
        "Job": job.id,
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
    return f'<dl class="parameters">{items}</dl>'


def _pixels(size: Size) -> str:
    return f"{size.width} {TIMES} {size.height}"


def _variation(params: GenerationParams) -> str:
    return f"{params.variation_strength:.0%} of the way to seed {params.variation_seed}"


def _which(job: JobBody, index: int) -> str:
    return "The picture" if job.params.num_images == 1 else f"Picture {index + 1} of {job.params.num_images}"


def _short(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else f"{text[:longest].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _time(at: datetime) -> str:
    return f'<time datetime="{at.isoformat()}">{at:%d %b %H:%M} UTC</time>'


def _left(duration_s: float) -> str:
    return f"{'' if duration_s < 1 else 'about '}{_lasting(duration_s)} left"


def _lasting(duration_s: float) -> str:
    if duration_s < 1:
        return "less than a second"
    return seconds(round(duration_s))
