"""`darkroom doctor`: what is wrong with an installation, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from shared.checks import Finding, wrong
from shared.cli import findings
from shared.cli.exits import ExitCode
from shared.cli.session import Session, session_of
from shared.errors import DarkroomError

STYLES: Final = {"ok": "green", "warning": "yellow", "wrong": "red", "unknown": "cyan"}
WORDS: Final = {"unknown": "can't tell"}
"""Of a level, where they are others than its name."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    *,
    draw: Annotated[bool, typer.Option("--draw", help="Draw a picture, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A finding a line, as JSON.")] = False,
) -> None:
    """Look for what is wrong with an installation, and tell how to mend it.

    Exit code 1 if anything is. With a key that has the scope admin the gateway tells what it finds of Redis, the object
    store, workers and itself; on the server's machine the settings in the environment are looked at, too.
    """
    session = session_of(context)
    with session.err.status("looking"):
        found = tuple(_examined(session, draw=draw))
    if as_json:
        session.tell(*(finding.model_dump_json() for finding in found))
    else:
        session.out.print(table_of(found))
    if any(finding.level == "wrong" for finding in found):
        raise typer.Exit(ExitCode.FAILED)


def _examined(session: Session, *, draw: bool) -> Iterator[Finding]:
    """Look at one matter after the other, as far as the ones before let us."""
    yield from findings.environment()
    yield from findings.key_at_rest(session)
    address = findings.proxy(session.url) or findings.address(session.url)
    yield address
    if address.level == "wrong":
        return
    about = tuple(findings.gateway(session.url))
    yield from about
    if any(finding.level == "wrong" for finding in about):
        return
    try:
        ready = tuple(findings.readiness(session.client))
        yield from ready
        if any(finding.level == "wrong" and finding.what == "redis" for finding in ready):
            return
        known = tuple(findings.identity(session, session.client))
        yield from known
        if any(finding.level == "wrong" and finding.what == "key" for finding in known):
            return
        yield from findings.models(session.client)
        if draw:
            yield findings.drawing(session.client)
    except DarkroomError as error:
        yield wrong("gateway", str(error), "See the gateway's log.")


def table_of(found: tuple[Finding, ...]) -> Table:
    """Show findings to a person, whatever grades a newer gateway gives."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        said = Text(finding.found)
        if finding.remedy:
            said.append(f"\n→ {finding.remedy}", "bold")
        table.add_row(Text(WORDS.get(finding.level, finding.level), STYLES.get(finding.level, "")), finding.what, said)
    return table
