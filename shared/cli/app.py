"""The command's entry: global options, commands, and how an error is told."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from pydantic import ValidationError

from shared.cli import batch, capacity, doctor, fleet, generate, jobs, keys, models
from shared.cli.exits import ExitCode, exit_code_of, sentence_of
from shared.cli.session import Session, checked_url, key_in
from shared.errors import DarkroomError, FieldError, InvalidRequest
from shared.settings import ClientSettings, wrong_settings
from shared.version import VERSION

EPILOG: Final = """Begin with:  darkroom generate 'a red circle on a blue background'

Ends with 0: done · 1: failed · 2: wrong words · 3: the service is away · 4: refused · 130: Ctrl-C.
NO_COLOR is heeded. More: docs/cli.md
"""

app = typer.Typer(
    name="darkroom",
    help="Ask a Darkroom gateway for pictures, and look after it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (generate, batch, jobs, models, doctor, fleet, capacity, keys):
    room.add_to(app)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"darkroom {VERSION}")
        raise typer.Exit


@app.callback()
def begin(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The gateway. Else DARKROOM_API_URL, else this machine's.")] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file with your key. Else DARKROOM_API_KEY, else the file of DARKROOM_API_KEY_FILE."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Make the session that all commands share."""
    try:
        settings = ClientSettings()
    except ValidationError as error:
        raise InvalidRequest((FieldError("environment", wrong_settings(error)),)) from error
    if key_file is None and settings.api_key is None:
        key_file = settings.api_key_file
    key = settings.api_key if key_file is None else key_in(key_file)
    context.obj = Session(checked_url(url or settings.api_url), key, key_file)


def main() -> None:
    """Run the command; end with one of `ExitCode`, whatever happens."""
    try:
        app(prog_name="darkroom")
    except DarkroomError as error:
        _end(sentence_of(error), exit_code_of(error))
    except KeyboardInterrupt:  # before typer listens for it, or after
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        # A full disk behind `>`, say. What is left in stdout's buffer would be tried again at the very end.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(f"Can't read or write: {error}.", ExitCode.FAILED)


def _end(sentence: str, code: ExitCode) -> NoReturn:
    with suppress(OSError):  # nobody listens any more
        typer.echo(sentence, err=True)
    sys.exit(code)
