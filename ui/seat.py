"""One open page: what it shows, and whose turn it is to change that.

Gradio keeps a seat for each session, and runs a session's events side by side: a look that began before a press would
undo what came of it. So they take turns. An answer can get lost on the way, and seats are forgotten: so each look says
what its browser shows, and what is told continues that. Knows nothing of what is looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self, TypedDict

from pydantic import BaseModel, Field, ValidationError

from shared.contract import ModelBody
from ui.feed import FIRST, MOST_SEARCHED, Asked, News, job_ids_of
from ui.fitting import Fitted
from ui.form import Form
from ui.handlers import View

MOST_SEARCHED_CHARS: Final = 200
MOST_STARS: Final = 2000
MOST_WAITING: Final = 3
"""Presses of one page that wait for another one of it: each holds a slot that everybody's presses need."""
MOST_UNSEEN: Final = 16
"""Answers that are remembered until the browser has said that it shows a later one."""


class Showing(BaseModel):
    """What a browser says with each look: what it shows, and what its visitor wants to see; `ui/static/wishes.js`."""

    look: int = 0
    """How many looks it has sent; they may overtake each other."""
    number: int = 0
    """Of the last answer that arrived; 0 if none has."""
    choice: int = 0
    pages: int = Field(default=1, ge=1)
    search: str = ""
    favourites: list[str] | None = None
    linked: str | None = None

    @classmethod
    def read(cls, said: object) -> Showing:
        """Read what the browser said; nothing is shown where it can't be read."""
        try:
            return cls.model_validate(said)
        except ValidationError:  # None, before the page's scripts are there
            return cls()

    @property
    def asked(self) -> Asked:
        """Which of their jobs the visitor wants to see."""
        return Asked(
            number=min(self.pages * FIRST, MOST_SEARCHED),
            search=self.search[:MOST_SEARCHED_CHARS],
            favourites=None if self.favourites is None else job_ids_of(self.favourites[-MOST_STARS:]),
            linked=self.linked,
            choice=self.choice,
        )


class Told(TypedDict):
    """An answer's part that the page's scripts read."""

    base: int
    """The number of the answer that this one continues: all that has changed since is in it."""
    number: int
    feed: News | None
    """None if the feed shows what it did."""


@dataclass(frozen=True, slots=True)
class _Answer:
    number: int
    view: View


_NOTHING: Final = View()


class Seat:
    """What one visitor's open page shows."""

    def __init__(self) -> None:
        self.asked = Asked()
        """Which of their jobs they want to see."""
        self._answers = (_Answer(0, _NOTHING),)
        """From the last one that the browser is known to show to the last that was sent."""
        self._looks = 0
        self._said_model: object = None
        """The one that the browser's form was for at the last look."""
        self._turn = threading.Lock()
        self._taken = 0
        """Presses that have their turn, or wait for it."""
        self._counting = threading.Lock()

    def __deepcopy__(self, memo: object) -> Self:
        """Give a new one: Gradio copies what it is given first for each session."""
        return type(self)()

    @property
    def view(self) -> View:
        """As the browser was last told."""
        return self._answers[-1].view

    @property
    def may_show(self) -> tuple[View, ...]:
        """Views of which the browser shows one: answers are on their way, or lost."""
        return tuple(answer.view for answer in self._answers)

    @property
    def is_told_anew(self) -> bool:
        """True if nobody knows what the browser shows: all is told, also what a new page shows by itself."""
        return self._answers[0].view is _NOTHING

    @property
    def seen(self) -> View:
        """As the browser is known to show it, with the jobs as they were last read."""
        return replace(self._answers[0].view, feed=self.view.feed)

    @property
    def models(self) -> tuple[ModelBody, ...]:
        """Those that are offered."""
        return self.view.models

    @property
    def card(self) -> ModelBody | None:
        """Of the model that the form is for."""
        return self.view.card

    def hear(self, showing: Showing) -> bool:
        """Note what the browser shows; False if a later look was here before."""
        if 0 < showing.look <= self._looks:
            return False
        self._looks, self.asked = showing.look, showing.asked
        number = showing.number
        if all(answer.number != number for answer in self._answers):
            # It was told by another seat, before the page restarted or for long was away: begin anew.
            latest = max(number, self._answers[-1].number) + 1
            self._answers = (_Answer(number, _NOTHING), _Answer(latest, replace(View(), feed=self.view.feed)))
        self._answers = tuple(answer for answer in self._answers if answer.number >= number)
        return True

    def hear_form(self, draft: Form) -> Form:
        """Read what the browser's form says, or what it was told to say if that is still on its way.

        A press, or a dropped picture, may have filled it for another model: the one that it said before is no choice.
        """
        before, self._said_model = self._said_model, draft.get("model")
        if self.card is None or self._said_model != before or before == self.card.id:
            return draft
        return {field: control.value for field, control in self.view.controls.items()}

    def tell(self, view: View, feed: News | None) -> Told:
        """Note what the browser is told."""
        number = self._answers[-1].number + 1
        told: Told = {"base": self._answers[0].number, "number": number, "feed": feed}
        self._answers = (*self._answers, _Answer(number, view))[-MOST_UNSEEN:]
        return told

    def keep(self, view: View) -> None:
        """Note a view that looks like the last one."""
        self._answers = (*self._answers[:-1], replace(self._answers[-1], view=view))

    @property
    def waiting(self) -> int:
        """How many presses wait for the turn of another one."""
        return max(self._taken - 1, 0)

    @contextmanager
    def turn_if_few_wait(self) -> Generator[bool]:
        """Wait for one's turn, and have it; False if so many wait already that one more would be in others' way."""
        with self._counting:
            may_wait = self._taken <= MOST_WAITING
            self._taken += may_wait
        if not may_wait:
            yield False
            return
        try:
            with self._turn:
                yield True
        finally:
            with self._counting:
                self._taken -= 1

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
        """Have the form be for the model that took settings over; it is told beside the views."""
        fitted = {"card": taken.card, "controls": dict(taken.controls)}
        self._answers = tuple(
            answer if answer.view.card is None else replace(answer, view=replace(answer.view, **fitted))
            for answer in self._answers
        )
