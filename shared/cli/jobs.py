"""`darkroom jobs`, `watch`, `cancel`: what was asked for, and how it stands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shared.cli import saving, words
from shared.cli.exits import ExitCode, sentence_of
from shared.cli.generate import follow
from shared.cli.live import view_on
from shared.cli.session import Session, session_of
from shared.client import failure_of
from shared.contract import JobBody, JobPage
from shared.errors import GatewayUnavailable, JobNotFound, RateLimited, Unavailable
from shared.jobs import JobStatus

EXAMPLES: Final = """Examples:

  darkroom jobs --status failed -n 5

  darkroom jobs --all --json | jq -r 'select(.lane == "bulk").id'
"""

PAGE: Final = 20
MOST: Final = 100
"""Jobs that the gateway lists at once."""
ID_LENGTH: Final = 26
MOST_SHOWN: Final = 80
"""Characters that a terminal shows of what a job is."""
LOOK_S: Final = 1.0
"""Between looks at a table that is watched."""


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=EXAMPLES)(jobs)
    app.command()(watch)
    app.command()(cancel)


def jobs(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the newest.")] = PAGE,
    everything: Annotated[bool, typer.Option("--all", help="All that are kept.")] = False,
    status: Annotated[JobStatus | None, typer.Option(help="Only those that stand so.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A job a line, as JSON.")] = False,
) -> None:
    """List your jobs, newest first."""
    session = session_of(context)
    of_a_page = limit if status is None and not everything else MOST
    found = (job for job in _newest_first(session, of_a_page) if status in {None, job.status})
    found = found if everything else islice(found, limit)
    if as_json:
        for job in found:
            session.tell(job.model_dump_json())
    else:
        session.out.print(_table(session, found))


def watch(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(help="A job's id. Without: a table of the newest.")] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Save the job's pictures to this file or folder, too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Write over a file that is there.")] = False,
    preview: Annotated[bool, typer.Option(help="Show a sketch where the terminal can.")] = True,
) -> None:
    """Watch a job until its end, or your newest jobs until Ctrl-C. Neither ends with the watching.

    But for a terminal the table is written once.
    """
    session = session_of(context)
    if job is not None:
        if output is not None:
            saving.prepare(output)
        _watch(session, job, previews=preview, output=output, force=force)
    elif output is not None:
        raise typer.BadParameter("Whose pictures? Say a job, too.", param_hint="--output")
    elif session.out.is_interactive:
        _watch_newest(session)
    else:
        session.out.print(_table(session, session.client.jobs(limit=PAGE).data))


def cancel(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Ids of jobs.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All of yours that wait or run.")] = False,
) -> None:
    """End jobs that wait or run. One that has ended stays as it is."""
    session = session_of(context)
    if everything == bool(ids):
        raise typer.BadParameter("Say which jobs, or --all.", param_hint="JOB")
    missing: list[JobNotFound] = []
    for job_id in _under_way(session) if everything else ids or ():
        try:
            job = session.client.cancel(job_id)
        except JobNotFound as error:
            missing.append(error)
        else:
            session.tell(f"{job.id} {job.status}")
    for error in missing:
        session.say(sentence_of(error))
    if missing and not everything:
        raise typer.Exit(ExitCode.REFUSED)


def _watch(session: Session, job_id: str, *, previews: bool, output: Path | None, force: bool) -> None:
    try:
        with view_on(session.err, previews=previews) as view:
            job = follow(session, view, job_id)
    except KeyboardInterrupt:
        session.say(f"Job {job_id} goes on. `darkroom cancel {job_id}` ends it.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if job.status is not JobStatus.SUCCEEDED:
        session.tell(f"{job.id} {job.status}")
        raise failure_of(job)
    if output is None:
        session.tell(f"{job.id} {job.status}")
    else:
        session.tell(*saving.save(session.client.result(job), output, force=force))


def _watch_newest(session: Session) -> None:
    """Show a table that moves. An outage is told below it, and waited out."""
    table: RenderableType = ""
    with Live(console=session.out, auto_refresh=False) as live:
        while True:
            try:
                table = _table(session, session.client.jobs(limit=PAGE).data)
                live.update(table, refresh=True)
            except (GatewayUnavailable, Unavailable, RateLimited) as error:
                live.update(Group(table, Text(sentence_of(error), "red")), refresh=True)
            time.sleep(LOOK_S)


def _newest_first(session: Session, of_a_page: int) -> Iterator[JobBody]:
    """Read your jobs, a page at a time, as far as they are asked for."""
    page = session.client.jobs(limit=min(of_a_page, MOST))
    yield from page.data
    while page.next_cursor is not None:
        page: JobPage = session.client.jobs(cursor=page.next_cursor, limit=MOST)
        yield from page.data


def _under_way(session: Session) -> Iterator[str]:
    return (job.id for job in _newest_first(session, MOST) if not job.has_ended)


def _table(session: Session, jobs: Iterable[JobBody]) -> Table:
    """A row a job, never more than a line: where room is short, what comes last gives way, and no id is cut."""
    table = Table(box=None, pad_edge=False)
    table.add_column("JOB", no_wrap=True, min_width=ID_LENGTH)
    table.add_column("STATUS", no_wrap=True, min_width=max(map(len, JobStatus)))
    table.add_column("AGE", no_wrap=True, min_width=len("59 min"), justify="right")
    table.add_column("WHAT")
    for job in jobs:
        note, prompt = words.plain(_note(job)), words.plain(job.params.prompt)
        # Not the column's: it would make all columns give way alike.
        what = Text(no_wrap=True, overflow="ellipsis")
        what.append(f"{note}  " if note else "", "dim").append(prompt)
        if session.out.is_terminal:
            what.truncate(MOST_SHOWN, overflow="ellipsis")
        table.add_row(job.id, words.state(job), words.since(job.created_at), what)
    return table


def _note(job: JobBody) -> str:
    if job.error is not None:
        return job.error.message
    if job.status is JobStatus.QUEUED:
        return words.waiting(job.position, job.reason, job.time_left)
    return words.left(job.time_left)
