"""`darkroom models`: what is served, and what may be asked of it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from shared.cli.session import session_of
from shared.contract import ModelBody


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(models)


def models(
    context: typer.Context, *, as_json: Annotated[bool, typer.Option("--json", help="A model a line, as JSON.")] = False
) -> None:
    """List the models with their presets, sizes and schedulers."""
    session = session_of(context)
    found = session.client.models()
    if as_json:
        session.tell(*(model.model_dump_json() for model in found))
    elif found:
        session.out.print(Group(*(_told(model) for model in found)))
    else:
        session.say("No worker has named a model yet. Start a worker (`make run`, or `python -m worker`).")


def _told(model: ModelBody) -> Group:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    ready = f"{model.ready_workers} ready" + (f", {model.warming_workers} warming" if model.warming_workers else "")
    default = model.defaults
    rows = {
        "workers": ready,
        "presets": ", ".join(preset.name for preset in model.presets) or "none",
        "default": f"{default.size}, {default.num_inference_steps} steps, guidance {default.guidance_scale:g}, "
        f"{default.scheduler}" + (f" (preset {default.preset})" if default.preset else ""),
        "sizes": ", ".join(str(ratio.size) for ratio in model.aspect_ratios),
        "schedulers": ", ".join(model.schedulers),
    }
    if model.pools:
        rows["pools"] = ", ".join(f"{pool.name} ({pool.ready_workers} ready)" for pool in model.pools)
    for name, said in rows.items():
        table.add_row(name, Text(said))
    return Group(Text(model.id + (" (default)" if model.is_default else ""), "bold"), table, Text())
