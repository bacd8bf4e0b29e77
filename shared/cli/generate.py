"""`darkroom generate`: from a prompt to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from shared.cli import saving
from shared.cli.exits import ExitCode
from shared.cli.live import View, view_on
from shared.cli.session import Session, session_of
from shared.client import Params, Result
from shared.contract import JobBody
from shared.errors import (
    DarkroomError,
    FieldError,
    GatewayUnavailable,
    InvalidRequest,
    Unavailable,
    UnexpectedAnswer,
)
from shared.generation import STRONG_VARIATION, SUBTLE_VARIATION, OutputFormat, Scheduler
from shared.jobs import JobStatus
from shared.lanes import Lane

EXAMPLES = """Examples:

  darkroom generate 'a lighthouse in a storm, oil painting' -o lighthouse.png

  darkroom generate 'a red cube' --count 4 --preset fast -o cubes/

  darkroom generate 'a red cube' --seed 7 --variation-strength 0.15 --count 4 -o neighbours/

  cd "$(mktemp -d)" && xdg-open "$(darkroom generate 'a blue cat')"

  fortune | darkroom generate -
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(generate)


def generate(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to draw; `-`: what stdin says.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file, or a folder for files with names of their own. Default: this folder."
        ),
    ] = None,
    negative: Annotated[str | None, typer.Option("--negative", "-n", help="What to keep away from.")] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels, such as 1024x768.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 or less: none.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same picture again.")] = None,
    variation_seed: Annotated[
        int | None, typer.Option(help="Draw neighbours of the seed's picture; each has its own. Default: drawn.")
    ] = None,
    variation_strength: Annotated[
        float | None,
        typer.Option(
            help=f"How far from the seed's picture, 0 to 1: {SUBTLE_VARIATION} is subtle, {STRONG_VARIATION} is strong."
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many pictures.")] = None,
    preset: Annotated[str | None, typer.Option(help="One of the model's presets; see `darkroom models`.")] = None,
    scheduler: Annotated[Scheduler | None, typer.Option(help="The sampler.")] = None,
    output_format: Annotated[
        OutputFormat | None, typer.Option("--format", help="Default: what the output file's name says, else png.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model's id; see `darkroom models`.")] = None,
    lane: Annotated[Lane | None, typer.Option(help="bulk: for what may take its time.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over a file that is there.")] = False,
    preview: Annotated[bool, typer.Option(help="Show a sketch where the terminal can.")] = True,
    open_it: Annotated[bool, typer.Option("--open", help="Open the pictures when they are saved.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job instead of the files' paths.")] = False,
) -> None:
    """Draw a prompt, and save the picture.

    Shows the place in the queue, the time that is left and how the picture comes on. The paths of the files go to
    stdout, all else to stderr. Ctrl-C cancels the job.
    """
    session = session_of(context)
    width, height = sides(size)
    saving.prepare(output, output_format)
    if prompt == "-":
        prompt = _from_stdin()
    said = {
        "negative_prompt": negative,
        "width": width,
        "height": height,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "variation_seed": variation_seed,
        "variation_strength": variation_strength,
        "num_images": count,
        "preset": preset,
        "scheduler": scheduler,
        "output_format": output_format or saving.format_of(output),
        "model": model,
        "lane": lane,
    }
    params = Params(**{name: value for name, value in said.items() if value is not None})  # pyright: ignore[reportArgumentType]: the names are Params'
    with view_on(session.err, previews=preview) as view:
        result = _Asking(session, prompt, params).seen_through(view)
    paths = saving.save(result, output, force=force)
    for warning in result.job.warnings:
        session.say(f"Note: {warning.message}")
    session.tell(*([result.job.model_dump_json(indent=2)] if as_json else paths))
    if open_it:
        for path in paths:
            typer.launch(str(path))


def follow(session: Session, view: View, job_id: str) -> JobBody:
    """Show a job until its end, and return it as it ended. Raises JobNotFound if it is deleted meanwhile."""
    for event in session.client.follow(job_id, previews=view.wants_previews):
        view.show(event)
        if isinstance(event, JobBody):
            return event
    # The stream ends without a last event where that was seen before, or the job was deleted.
    return session.client.job(job_id)


class _Asking:
    """A prompt on its way to pictures. Whoever has to leave it is told what becomes of the job."""

    def __init__(self, session: Session, prompt: str, params: Params) -> None:
        self._session = session
        self._prompt, self._params = prompt, params
        self._key = uuid4().hex
        self._job_id: str | None = None

    def seen_through(self, view: View) -> Result:
        """Ask, show the job until its end, and fetch its pictures."""
        try:
            return self._session.client.result(follow(self._session, view, self._asked()))
        except KeyboardInterrupt:
            self._stop()
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (GatewayUnavailable, Unavailable, UnexpectedAnswer):
            if self._job_id is not None:
                self._session.say(_goes_on(self._job_id))
            raise

    def _asked(self) -> str:
        if self._job_id is None:
            # The same key each time: finds the job that is there, even if its answer was not yet read.
            job = self._session.client.submit(self._prompt, idempotency_key=self._key, **self._params)
            self._job_id = job.id
        return self._job_id

    def _stop(self) -> None:
        try:
            job = self._session.client.cancel(self._asked())
        except (DarkroomError, KeyboardInterrupt) as error:
            self._session.say(f"Stopped, and could not cancel: {str(error) or 'Ctrl-C again.'}")
            if self._job_id is not None:
                self._session.say(_goes_on(self._job_id))
            return
        self._session.say(f"Stopped: job {job.id} is {job.status}.")
        if job.status is JobStatus.SUCCEEDED:
            self._session.say(f"`darkroom watch {job.id} -o PLACE` saves its pictures.")


def _goes_on(job_id: str) -> str:
    return f"Job {job_id} may go on. `darkroom watch {job_id} -o PLACE` saves its pictures, `darkroom cancel` ends it."


def _from_stdin() -> str:
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError as error:
        raise InvalidRequest((FieldError("prompt", f"What stdin says is no text: {error}."),)) from error


def sides(size: str | None) -> tuple[int, int] | tuple[None, None]:
    """Read a size such as `1024x768`. Raises InvalidRequest for what is none."""
    if size is None:
        return None, None
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidRequest((FieldError("--size", f"{size!r} is no size such as 1024x768."),))
    return int(width), int(height)
