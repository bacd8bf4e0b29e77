"""How a job goes, told while it goes: a moving bar on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from shared.cli import words
from shared.cli.preview import Screen, Sketch, screen_of
from shared.contract import JobBody
from shared.events import EventBody, Gone, Pictured, Progressed, Queued
from shared.settings import Terminal

WIDE: Final = 60
"""Columns of a terminal that has room for everything."""


class View(Protocol):
    """Where a job's events are shown."""

    @property
    def wants_previews(self) -> bool:
        """True if previews can be shown."""
        ...

    def show(self, event: EventBody) -> None:
        """Show what happened."""
        ...


@contextmanager
def view_on(console: Console, *, previews: bool = True) -> Generator[View]:
    """Show a job on a console as well as it can: a bar with a sketch on a terminal, else lines."""
    if not console.is_interactive:
        yield Lines(console)
        return
    with Bar(console, screen_of(console, Terminal()) if previews else None) as bar:
        yield bar


class Lines:
    """A line for each change that matters, for logs and for those who hear rather than see."""

    wants_previews = False

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: object = None

    def show(self, event: EventBody) -> None:
        """Say a change; the time left alone is none."""
        said = _line_of(event)
        key = (said, None) if not isinstance(event, Queued) else (event.position, event.reason)
        if said is not None and key != self._said:
            self._said = key
            self._console.print(said, soft_wrap=True)


def _line_of(event: EventBody) -> str | None:
    match event:
        case Queued():
            return f"waiting: {words.waiting(event.position, event.reason, event.time_left)}"
        case Progressed():
            return "drawing"
        case Pictured():
            return f"picture {event.image.index + 1} is done"
        case Gone():
            return "deleted"
        case JobBody():
            return event.status.value


class Bar:
    """One moving line, under a sketch of the picture where there is one."""

    def __init__(self, console: Console, screen: Screen | None) -> None:
        self._screen = screen
        self._sketch: Sketch | None = None
        columns = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(30),
            TextColumn("{task.fields[said]}", markup=False),
            TimeElapsedColumn(),
        ]
        # On a phone's terminal what is left counts for more than what has passed.
        self._progress = Progress(*(columns if console.width >= WIDE else columns[:-1]), console=console)
        self._task = self._progress.add_task("asking", total=None, said="")
        self._live = Live(get_renderable=self._drawn, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    @property
    def wants_previews(self) -> bool:
        """True if this terminal can show them."""
        return self._screen is not None

    def show(self, event: EventBody) -> None:
        """Move the bar; draw at once what is new to look at."""
        match event:
            case Queued():
                said = words.waiting(event.position, event.reason, event.time_left)
                self._progress.update(self._task, description="waiting", total=None, said=said)
            case Progressed():
                of_many = f"{event.images_done} of {event.images} pictures" if event.images > 1 else ""
                parts = (f"{event.step}/{event.steps}", of_many, words.left(event.time_left))
                said = " · ".join(part for part in parts if part)
                self._progress.update(
                    self._task, description="drawing", total=event.steps, completed=event.step, said=said
                )
                if event.preview and self._screen:
                    self._sketch = self._screen.sketch(base64.b64decode(event.preview.partition(",")[2]))
                    self._live.refresh()
            case Pictured() | JobBody() | Gone():
                pass

    def _drawn(self) -> RenderableType:
        return self._progress if self._sketch is None else Group(self._sketch, self._progress)
