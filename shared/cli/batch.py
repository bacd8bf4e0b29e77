"""`darkroom batch`: a file of prompts into a folder of pictures, taken up again where it was left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from shared.cli import prompts
from shared.cli.exits import ExitCode
from shared.cli.live import WIDE
from shared.cli.manifest import Manifest, PictureFile, Record
from shared.cli.prompts import Line
from shared.cli.saving import replace
from shared.cli.session import Session, session_of
from shared.cli.words import duration
from shared.client import AsyncClient
from shared.contract import JobBody
from shared.errors import (
    DarkroomError,
    FieldError,
    GatewayUnavailable,
    ImageNotFound,
    InvalidRequest,
    JobNotFound,
    TooMuch,
    Unavailable,
)
from shared.jobs import JobError, JobStatus
from shared.lanes import Lane

T = TypeVar("T")

AGAIN_S: Final = 2.0
"""Between looks for a gateway that is away."""
PATIENCE_S: Final = 600.0
"""An outage that lasts longer ends the run, to be taken up later."""
REPORT_S: Final = 10.0
"""Between lines of progress where there is no terminal."""

EXAMPLES = """Examples:

  darkroom batch prompts.txt -o out/    # one prompt a line

  darkroom batch prompts.csv -o out/    # the first line: prompt,seed,...

  darkroom batch prompts.jsonl -o out/  # each line as for POST /v1/jobs
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXAMPLES)(batch)


def batch(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Requests, one a line: .csv, .jsonl, or .txt with a prompt a line.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for pictures and manifest.jsonl.")],
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Jobs that wait or run at the same time.")] = 16,
    lane: Annotated[Lane, typer.Option(help="For lines that name none.")] = Lane.BULK,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask anew for lines that failed in an earlier run.")
    ] = False,
) -> None:
    """Draw a file of prompts.

    All lines are checked before anything is sent. What becomes of each is written to manifest.jsonl in the folder; the
    same command again goes on where it was left, however that was, and draws nothing twice.
    """
    session = session_of(context)
    lines = tuple(_in_lane(line, lane) for line in prompts.read_lines(file))
    try:
        with Manifest.opened(output, file) as manifest:
            manifest.require(lines)
            todo = [line for line in lines if _is_wanted(manifest, line, retry_failed=retry_failed)]
            # What is known to have been accepted was checked by the gateway.
            prompts.check(tuple(line for line in todo if line.number not in manifest.records), session.client.models())
            if len(todo) < len(lines):
                session.say(f"{len(lines) - len(todo)} of {len(lines)} lines are done already.")
            _draw(session, _Batch(session, manifest, len(lines), len(lines) - len(todo)), todo, at_once)
    except OSError as error:
        why = f"Can't write to {output}: {error.strerror}. Mended, the same command goes on from here."
        raise InvalidRequest((FieldError("--output", why),)) from error
    _report(session, manifest)


def _draw(session: Session, batch: _Batch, todo: list[Line], at_once: int) -> None:
    """Draw lines; whatever keeps them from being drawn, say how to go on."""
    try:
        asyncio.run(batch.draw(todo, at_once))
    except DarkroomError:
        session.say("The same command goes on from here once that is mended:")
        raise
    except KeyboardInterrupt:
        session.say(
            "Stopped. The same command goes on from here. What was asked for is drawn all the same; "
            "`darkroom cancel --all` ends all jobs of yours."
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None


class _Batch:
    """A run: its lines, each from request to files."""

    def __init__(self, session: Session, manifest: Manifest, total: int, done: int) -> None:
        self._session = session
        self._manifest = manifest
        self._total, self._done_before = total, done
        self._done = done
        self._heard_at = time.monotonic()
        self._is_away = False
        """An outage is told once."""

    async def draw(self, todo: list[Line], at_once: int) -> None:
        """Draw lines, `at_once` of them at the same time."""
        left = iter(todo)

        async def work(client: AsyncClient, advance: Callable[[], None]) -> None:
            for line in left:
                await self._draw(client, line)
                self._done += 1
                advance()

        async with self._shown() as advance, self._session.async_client() as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(at_once, len(todo))):
                        group.create_task(work(client, advance))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _draw(self, client: AsyncClient, line: Line) -> None:
        record = self._manifest.records.get(line.number)
        attempt = 1 if record is None else record.attempt + record.has_failed
        try:
            job = await self._ended(client, line, record, attempt)
            files = await self._saved(client, line, job)
        except (InvalidRequest, JobNotFound, ImageNotFound) as error:
            # The line's own fault, or somebody has deleted its job: the others go on.
            refused = JobError(code=error.code, message=str(error))
            self._manifest.write(Record(line=line.number, request=line.request, attempt=attempt, error=refused))
            return
        self._note(line, job, self._manifest.records[line.number].attempt, files)

    async def _ended(self, client: AsyncClient, line: Line, record: Record | None, attempt: int) -> JobBody:
        """See a line's job through: the one of an earlier run, or a new one."""
        if record is not None and record.job is not None and not record.has_failed:
            try:
                return await self._borne(lambda: client.wait(record.job or ""))
            except JobNotFound:  # deleted, or forgotten long after
                attempt += 1
        key = self._manifest.key_of(line, attempt)
        job = await self._borne(lambda: client.submit(line.request, idempotency_key=key))
        self._note(line, job, attempt)
        return await self._borne(lambda: client.wait(job.id))

    async def _saved(self, client: AsyncClient, line: Line, job: JobBody) -> tuple[PictureFile, ...]:
        files: list[PictureFile] = []
        for image in job.images if job.status is JobStatus.SUCCEEDED else ():
            name = f"{line.number:06d}-{image.index}.{image.output_format.suffix}"
            data = await self._borne(lambda: client.image(job.id, image.index))  # noqa: B023 awaited in this round
            replace(self._manifest.folder / name, data)
            files.append(
                PictureFile(file=name, seed=image.seed, variation_seed=image.variation_seed, sha256=image.sha256)
            )
        return tuple(files)

    async def _borne(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until it is answered: wait as long as a limit says, and out what is no longer than `PATIENCE_S`."""
        while True:
            try:
                answer = await ask()
            except TooMuch as error:
                self._heard_at = time.monotonic()
                await asyncio.sleep(error.retry_after_s)
            except (GatewayUnavailable, Unavailable) as error:
                if time.monotonic() - self._heard_at > PATIENCE_S:
                    raise
                if not self._is_away:
                    self._session.say(f"{error} Waiting for up to {duration(PATIENCE_S)}.")
                    self._is_away = True
                await asyncio.sleep(AGAIN_S)
            else:
                self._heard_at = time.monotonic()
                self._is_away = False
                return answer

    def _note(self, line: Line, job: JobBody, attempt: int, files: tuple[PictureFile, ...] = ()) -> None:
        record = Record(
            line=line.number,
            request=line.request,
            job=job.id,
            attempt=attempt,
            status=job.status,
            pictures=files,
            error=job.error,
        )
        self._manifest.write(record)

    @asynccontextmanager
    async def _shown(self) -> AsyncGenerator[Callable[[], None]]:
        """Show how far the run is; what is given is called with each line that is done."""
        if not self._session.err.is_interactive:
            yield self._reporter()
            return
        columns = (
            SpinnerColumn(),
            BarColumn(40 if self._session.err.width >= WIDE else 10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._session.err) as bar:
            task = bar.add_task("", total=self._total, completed=self._done_before, rate="")
            began_at = time.monotonic()

            def advance() -> None:
                per_minute = (self._done - self._done_before) * 60 / (time.monotonic() - began_at)
                bar.update(task, completed=self._done, rate=f"{per_minute:.1f}/min")

            yield advance

    def _reporter(self) -> Callable[[], None]:
        began_at = said_at = time.monotonic()

        def advance() -> None:
            nonlocal said_at
            now = time.monotonic()
            if now - said_at < REPORT_S and self._done < self._total:
                return
            said_at = now
            left_s = (now - began_at) / (self._done - self._done_before) * (self._total - self._done)
            self._session.say(f"{self._done}/{self._total}, about {duration(left_s)} left")

        return advance


def _in_lane(line: Line, lane: Lane) -> Line:
    """Choose the lane of a line that names none."""
    if "lane" in line.request.model_fields_set:
        return line
    return Line(line.number, line.request.model_copy(update={"lane": lane}))


def _is_wanted(manifest: Manifest, line: Line, *, retry_failed: bool) -> bool:
    """True if there is something left to do for a line."""
    record = manifest.records.get(line.number)
    if record is None:
        return True
    if record.has_failed:
        return retry_failed
    return not (record.is_done and manifest.has_files(record))


def _report(session: Session, manifest: Manifest) -> None:
    records = manifest.records.values()
    failed = [record for record in records if record.has_failed]
    pictures = sum(len(record.pictures) for record in records)
    session.tell(f"{pictures} pictures of {len(records) - len(failed)} lines in {manifest.folder}")
    for record in sorted(failed, key=lambda one: one.line):
        why = record.error.message if record.error else f"The job was {record.status}."
        session.say(f"line {record.line} failed: {why}")
    if failed:
        session.say(f"{len(failed)} lines failed; --retry-failed asks for them anew.")
        raise typer.Exit(ExitCode.FAILED)
