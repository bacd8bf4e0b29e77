"""One open page: what it shows, and whose turn it is to change that.

Gradio keeps a seat for each session, and runs a session's events side by side: a look that began before a press would
undo what came of it. So they take turns. Knows nothing of what is looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

from shared.contract import ModelBody
from ui.feed import Asked
from ui.fitting import Fitted
from ui.handlers import View


class Seat:
    """What one visitor's open page shows."""

    def __init__(self) -> None:
        self.view = View()
        """As the browser was last told."""
        self.asked = Asked()
        """Which of their jobs they want to see."""
        self._turn = threading.Lock()

    def __deepcopy__(self, memo: object) -> Self:
        """Give a new one: Gradio copies what it is given first for each session."""
        return type(self)()

    @property
    def models(self) -> tuple[ModelBody, ...]:
        """Those that are offered."""
        return self.view.models

    @property
    def card(self) -> ModelBody | None:
        """Of the model that the form is for."""
        return self.view.card

    @contextmanager
    def turn(self) -> Generator[None]:
        """Wait for one's turn, and have it."""
        with self._turn:
            yield

    @contextmanager
    def turn_if_free(self) -> Generator[bool]:
        """Have a turn if nobody else has it now; False if not: somebody else tells what is new."""
        has_it = self._turn.acquire(blocking=False)
        try:
            yield has_it
        finally:
            if has_it:
                self._turn.release()

    def fit(self, taken: Fitted) -> None:
        """Have the form be for the model that took settings over."""
        self.view = replace(self.view, card=taken.card, controls=dict(taken.controls))
