"""What there is to say of how a model reads a prompt and its negative: before it is a job, and of the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from shared.generation import GenerationParams
from shared.jobs import JobWarning, Notes, Reading, TextReading, WeightedPassage

MOST_QUOTED: Final = 200
"""Characters of a text that a warning shows."""


class Measure(Protocol):
    """How much of a text the encoders see: `shared.reading.PromptMeasure`."""

    @property
    def tokens(self) -> int:
        """In all."""
        ...

    @property
    def window(self) -> int:
        """Tokens that the encoders take at once."""
        ...

    @property
    def windows(self) -> int:
        """Such windows that are read."""
        ...

    @property
    def passages(self) -> tuple[tuple[str, float], ...]:
        """What has another weight than 1."""
        ...

    @property
    def unread(self) -> tuple[str, ...]:
        """What looks like weighting syntax and was read as text."""
        ...

    @property
    def cut(self) -> str:
        """What is not read; empty if all of it is."""
        ...


def notes_on(params: GenerationParams, measure: Callable[[str], Measure]) -> Notes:
    """Tell of both texts, of the negative one only with guidance: else it is not read."""
    prompt = measure(params.prompt)
    negative = measure(params.negative_prompt) if params.is_guided else None
    return Notes(reading_of(prompt, negative), warnings_of(prompt, negative))


def reading_of(prompt: Measure, negative: Measure | None) -> Reading:
    """Say how a prompt is read, and a negative one if there is one."""
    return Reading(prompt=_reading(prompt), negative_prompt=None if negative is None else _reading(negative))


def warnings_of(prompt: Measure, negative: Measure | None) -> tuple[JobWarning, ...]:
    """Say what of the texts is not read, or not as it may have been meant."""
    told = {"prompt": prompt} if negative is None else {"prompt": prompt, "negative_prompt": negative}
    return tuple(warning for field, measure in told.items() for warning in _warnings(field, measure))


def _reading(measure: Measure) -> TextReading:
    return TextReading(
        tokens=measure.tokens,
        window=measure.window,
        windows=measure.windows,
        weights=tuple(WeightedPassage(text=text, weight=round(weight, 3)) for text, weight in measure.passages),
        cut=measure.cut,
    )


def _shortened(text: str) -> str:
    """Quote no more than a reader needs to find the place; the job's reading has all of it."""
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED].rstrip()}..."


def _warnings(field: str, measure: Measure) -> Iterator[JobWarning]:
    name = field.replace("_", " ")
    if measure.cut:
        message = (
            f"The {name} has {measure.tokens} tokens, more than the model reads "
            f"({measure.windows} x {measure.window}); it did not see: {_shortened(measure.cut)}"
        )
        yield JobWarning(code=f"{field}_truncated", message=message)
    if measure.unread:
        message = (
            f"The {name} was read as plain text here: {', '.join(measure.unread)}. "
            "Weights are written (a red circle)1.3 or (a red circle:1.3), and go from 0 to 2."
        )
        yield JobWarning(code=f"{field}_syntax_unread", message=message)
