"""`darkroom keys`: who may ask, and how much. For operators."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from shared.access import Scope
from shared.cli.exits import ExitCode, sentence_of
from shared.cli.fleet import OPERATORS
from shared.cli.session import Session, session_of
from shared.cli.words import plain, since
from shared.errors import FieldError, InvalidRequest, KeyNotFound
from shared.keyring import MAX_LIFE_S, LimitsBody, NewKeyBody, TenantBody

DAY_S: Final = 24 * 3600

EXAMPLES = """Examples:

  export DARKROOM_API_KEY=...    # an operator's, DARKROOM_OPERATOR_KEY say

  darkroom keys create 'nightly batch' --tenant ann -o ann.key

  darkroom --key-file ann.key generate 'a red cube'
"""

keys = typer.Typer(name="keys", help="Make, list and revoke keys; set what a tenant may have.")


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(keys, no_args_is_help=True, epilog=EXAMPLES, rich_help_panel=OPERATORS)


@keys.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="For people: who or what uses it.")],
    *,
    tenant: Annotated[str, typer.Option(help="Whose jobs it makes and sees.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it opens, each; default: submit and read.")] = None,
    days: Annotated[
        float | None, typer.Option(min=0.0001, max=MAX_LIFE_S / DAY_S, help="After how long it opens nothing any more.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this new file, for its owner alone to read.")
    ] = None,
) -> None:
    """Make a key. It is told this once: what the gateway keeps is a digest."""
    session = session_of(context)
    expires_after_s = None if days is None else max(1, round(days * DAY_S))
    if output is None:
        made = session.client.create_key(name, tenant, scopes=scope or None, expires_after_s=expires_after_s)
        session.tell(made.key)
        return
    # Before the key is made: one that can't be written down is lost.
    _claim(output)
    try:
        made = session.client.create_key(name, tenant, scopes=scope or None, expires_after_s=expires_after_s)
        _write_down(session, made, output)
    except BaseException:
        output.unlink()
        raise
    session.say(f"Key {made.id} of {made.tenant} is in {output}.")


@keys.command("list")
def list_keys(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="A key a line, as JSON.")] = False
) -> None:
    """List the keys, newest first, without their secrets."""
    session = session_of(context)
    found = session.client.keys()
    if as_json:
        session.tell(*(key.model_dump_json() for key in found))
        return
    table = _table("KEY", "NAME", "TENANT", "SCOPES", "MADE", "EXPIRES", "LAST USED")
    for key in found:
        used = "-" if key.last_used_at is None else f"{since(key.last_used_at)} ago"
        scopes = ", ".join(key.scopes)
        table.add_row(key.id, plain(key.name), key.tenant, scopes, _day(key.created_at), _day(key.expires_at), used)
    session.out.print(table)


@keys.command()
def revoke(context: typer.Context, ids: Annotated[list[str], typer.Argument(metavar="KEY", help="Ids.")]) -> None:
    """Forget keys: within seconds nobody accepts them any more. Their tenants' jobs stay."""
    session = session_of(context)
    missing: list[KeyNotFound] = []
    for key_id in ids:
        try:
            session.client.revoke_key(key_id)
        except KeyNotFound as error:
            missing.append(error)
        else:
            session.tell(f"{key_id} revoked")
    for error in missing:
        session.say(sentence_of(error))
    if missing:
        raise typer.Exit(ExitCode.REFUSED)


@keys.command()
def tenants(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="A tenant a line, as JSON.")] = False,
) -> None:
    """List the tenants that have had a key or limits; a dash is what everybody has."""
    session = session_of(context)
    found = session.client.tenants()
    if as_json:
        session.tell(*(tenant.model_dump_json() for tenant in found))
    else:
        session.out.print(_tenants(found))


@keys.command()
def limit(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(help="Its name.")],
    *,
    weight: Annotated[float | None, typer.Option(help="Its share of the work beside the others', which is 1.")] = None,
    max_waiting: Annotated[int | None, typer.Option(help="Jobs that wait.")] = None,
    max_running: Annotated[int | None, typer.Option(help="Jobs that run at once; 0: any number.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Of all its keys together; 0: any number.")] = None,
) -> None:
    """Set all of a tenant's limits; what is not said is as for everybody."""
    session = session_of(context)
    limits = LimitsBody(
        weight=weight, max_waiting=max_waiting, max_running=max_running, requests_per_minute=requests_per_minute
    )
    session.out.print(_tenants((session.client.limit_tenant(tenant, limits),)))


def _claim(output: Path) -> None:
    try:
        output.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise InvalidRequest((FieldError("--output", f"Can't make {output}: {error.strerror}."),)) from error


def _write_down(session: Session, made: NewKeyBody, output: Path) -> None:
    try:
        output.write_text(f"{made.key}\n", encoding="utf-8")
    except OSError as error:
        session.client.revoke_key(made.id)
        why = f"Can't write {output}: {error.strerror}. The key is revoked again."
        raise InvalidRequest((FieldError("--output", why),)) from error


def _tenants(found: tuple[TenantBody, ...]) -> Table:
    table = _table("TENANT", *(name.upper().replace("_", " ") for name in LimitsBody.model_fields))
    for tenant in found:
        table.add_row(tenant.name, *("-" if said is None else f"{said:g}" for said in dict(tenant.limits).values()))
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "KEY", min_width=len(name))
    return table


def _day(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d}"
