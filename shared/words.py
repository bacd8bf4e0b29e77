"""The word: one of a list that a field may say. Who accepts or keeps one is strict; who reads an answer is not.

A gateway may be newer than its client, and its lists longer. A word that the client doesn't know stays what was said,
outside of the list: it compares, prints and is sent back as any other, and is equal to none of those known.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, Self

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

_OPEN: ContextVar[bool] = ContextVar("open", default=False)


@contextmanager
def newer_words() -> Generator[None]:
    """Take words that this version doesn't know, for as long as this lasts: in what a gateway says, or shall judge."""
    was = _OPEN.set(True)
    try:
        yield
    finally:
        _OPEN.reset(was)


class Word(StrEnum):
    """A list of words with a meaning each."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Make a member of what is none, outside of the list, as `enum.Flag` does for what it has no name for."""
        if not _OPEN.get() or not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word


def _or_newer(value: object, known: ValidatorFunctionWrapHandler) -> object:
    return value if _OPEN.get() and isinstance(value, str) else known(value)


OR_NEWER: Final = WrapValidator(_or_newer)
"""The same for a `Literal`: `Annotated[Literal["a", "b"], OR_NEWER]`."""
