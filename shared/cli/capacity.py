"""`darkroom capacity`: how many workers a load needs, by what the living ones measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Annotated, Final

import typer
from pydantic import BaseModel, ValidationError
from rich.table import Table
from rich.text import Text

from shared.capacity import capacity
from shared.cli.fleet import OPERATORS
from shared.cli.generate import sides
from shared.cli.session import session_of
from shared.contract import JobRequest, ModelBody
from shared.errors import FieldError, InvalidRequest, field_errors
from shared.generation import GenerationParams, Size
from shared.oversight import WorkerBody
from shared.speeds import Expected, expected_picture

HOUR_S: Final = 3600
DEFAULT_WAIT_S: Final = 10.0
PROMPT: Final = "any"
"""Its words change nothing here."""


class Need(BaseModel):
    """What a load needs, and from what that was reckoned."""

    model: str
    pool: str
    """Whose workers it needs: the model, or that and their GPU class."""
    size: Size
    steps: int
    guided_steps: int
    pictures_per_hour: float
    wait_s: float
    device_s: float
    """Seconds of a worker's device for one picture, at the pace of its last jobs."""
    is_measured: bool
    """False: reckoned from pictures of another size or guidance."""
    devices: tuple[str, ...]
    """On which it was measured."""
    busy: float
    """Workers that are drawing, on average."""
    workers: int
    use: float
    """The part of the time that each of them draws."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="capacity", rich_help_panel=OPERATORS)(show_capacity)


def show_capacity(
    context: typer.Context,
    *,
    pictures_per_hour: Annotated[float, typer.Option(min=0.01, max=1e9, help="In the busiest hour.")],
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds within which nine of ten jobs shall begin.")
    ] = DEFAULT_WAIT_S,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Pixels. Else the model's default.")] = None,
    preset: Annotated[str | None, typer.Option(help="One of the model's presets. Else its default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps, if not the preset's.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Its id, or that and a GPU class: model@class. Else the default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Tell how many workers a load needs, by what the living workers measured.

    Draw some such pictures first: the sixteen newest of a kind count.
    """
    session = session_of(context)
    card = _card(session.client.models(), model)
    params = _params(card, size=size, preset=preset, steps=steps)
    workers = _of_a_pool(session.client.workers().data, card, model)
    expected = expected_picture(params, [speed for worker in workers for speed in worker.speeds])
    if expected is None:
        raise _nothing_measured(model or card.id)
    need = _need(params, workers, expected, pictures_per_hour=pictures_per_hour, wait_s=wait)
    session.show(need, lambda: _told(need), as_json=as_json)


def _card(served: Iterable[ModelBody], model: str | None) -> ModelBody:
    known = {card.id: card for card in served}
    for card in known.values():
        if card.is_default if model is None else model in (card.id, *_classes(card)):
            return card
    names = ", ".join(name for card in known.values() for name in (card.id, *_classes(card)))
    raise InvalidRequest((FieldError("--model", f"There is no such model. Known: {names or 'none; start a worker'}."),))


def _classes(card: ModelBody) -> tuple[str, ...]:
    """The names of a model's pools that are of a GPU class."""
    return tuple(pool.name for pool in card.pools if pool.gpu_class is not None)


def _of_a_pool(living: Iterable[WorkerBody], card: ModelBody, model: str | None) -> Sequence[WorkerBody]:
    """Choose the workers that measured, all of one pool: classes of GPUs differ in what a picture takes them.

    Raises InvalidRequest if those of several pools are meant.
    """
    # An older gateway lists a class as a model of that name.
    found = [worker for worker in living if card.id in {worker.model, worker.pool} and worker.speeds]
    if model is not None and model != card.id:
        return [worker for worker in found if worker.pool == model]
    if len({worker.pool for worker in found}) > 1:
        said = f"Its GPU classes take different times, so name one: {', '.join(_classes(card))}."
        raise InvalidRequest((FieldError("--model", said),))
    return found


def _nothing_measured(model: str) -> InvalidRequest:
    said = f"No living worker has drawn with {model} yet. Draw some such pictures first: `darkroom generate`."
    return InvalidRequest((FieldError("--model", said),))


def _params(card: ModelBody, *, size: str | None, preset: str | None, steps: int | None) -> GenerationParams:
    """Fill in what is not said as the gateway would. Raises InvalidRequest."""
    width, height = sides(size)
    try:
        request = JobRequest(prompt=PROMPT, width=width, height=height, preset=preset, num_inference_steps=steps)
    except ValidationError as error:
        wrong = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
        raise InvalidRequest(wrong) from error
    return request.resolve(card, drawn_seed=0)


def _need(
    params: GenerationParams,
    workers: Sequence[WorkerBody],
    expected: Expected,
    *,
    pictures_per_hour: float,
    wait_s: float,
) -> Need:
    device_s = expected.picture_ms * mean(worker.pace for worker in workers) / 1000
    found = capacity(per_second=pictures_per_hour / HOUR_S, seconds_each=device_s, wait_s=wait_s)
    return Need(
        model=workers[0].model,
        pool=workers[0].pool,
        size=params.size,
        steps=params.num_inference_steps,
        guided_steps=params.num_guided_steps,
        pictures_per_hour=pictures_per_hour,
        wait_s=wait_s,
        device_s=round(device_s, 4),
        is_measured=expected.is_measured,
        devices=tuple(sorted({worker.device for worker in workers})),
        busy=round(found.busy, 3),
        workers=found.workers,
        use=round(found.use, 3),
    )


def _told(need: Need) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    how = "measured" if need.is_measured else "reckoned from what was measured of another size or guidance"
    guided = f", {need.guided_steps} of them guided" if need.guided_steps else ""
    rows = {
        "picture": f"{need.size}, {need.steps} steps{guided}, {need.pool}",
        "takes": f"{need.device_s:.3g} s of {' and '.join(need.devices)}, {how}",
        "load": f"{need.pictures_per_hour:,.0f} an hour keep {need.busy:.3g} workers drawing",
        "workers": f"{need.workers}, drawing for {need.use:.0%} of the time; "
        f"nine of ten jobs begin within {need.wait_s:g} s",
    }
    for name, said in rows.items():
        table.add_row(name, Text(said))
    return table
