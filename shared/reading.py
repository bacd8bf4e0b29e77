"""What the encoders see of a text: windows of tokens with their weights, and what no window holds.

The worker encodes what is found here, and the gateway tells it of a text before a job is made of it: one code for both,
so that what a person was told while typing is what the engine sees.

A window is what an encoder takes at once: 77 tokens for CLIP, two of which are markers. A text of more tokens goes on
in the next window, up to `MAX_WINDOWS`. It breaks behind a phrase or else a word, if one ends within the last 20 tokens
of the window; the last window is filled to its end. Runs no encoder.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final, NamedTuple, final

from tokenizers import Tokenizer

from shared.vocabulary import Vocabulary
from shared.weights import read_weights

MAX_WINDOWS: Final = 4
"""Each takes one more run of the encoders and 77 more keys in every cross-attention of every step."""

_LOOK_BACK: Final = 20
"""Tokens; AUTOMATIC1111's `comma_padding_backtrack`."""

_PHRASE_ENDS: Final = ".,;:!?"


@dataclass(frozen=True, slots=True)
class PromptMeasure:
    """How much of a text the encoders see, and how it is weighed."""

    tokens: int
    """In all, without markers, before anything is cut; of the encoder that counts more."""
    window: int
    """Tokens that one window holds: 75."""
    windows: int
    """Windows that are read: 1 to `MAX_WINDOWS`."""
    passages: tuple[tuple[str, float], ...]
    """What has another weight than 1."""
    unread: tuple[str, ...]
    """What looks like weighting syntax and was read as text."""
    cut: str
    """What no window holds, as it was written; empty if all of it is seen."""


class Tokens(NamedTuple):
    """A window's tokens for one encoder, without markers and padding."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text in windows."""

    windows: tuple[tuple[Tokens, ...], ...]
    """At least one; each has `Tokens` for every encoder."""
    measure: PromptMeasure

    @property
    def is_weighted(self) -> bool:
        """True if any token counts more or less than another."""
        return any(weight != 1 for window in self.windows for tokens in window for weight in tokens.weights)


@final
class TextReader:
    """Reads texts as the encoders of one vocabulary take them; any thread may ask."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Parse a vocabulary: some 0.2 s for SDXL's, in which no other thread runs.

        Raises ValueError if the installed library can't read it: another version wrote it.
        """
        self._tokenizers: list[Tokenizer] = []
        try:
            self.window, written = vocabulary.unpack()
            """Tokens that an encoder takes at once, without markers: 75."""
            for one in written:
                tokenizer = Tokenizer.from_str(one.text)
                if one.shares is not None:
                    tokenizer.model = self._tokenizers[one.shares].model
                self._tokenizers.append(tokenizer)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"The installed tokenizers can't read vocabulary {vocabulary.digest}: {error}") from error

    def read(self, text: str) -> Reading:
        """Cut a text into windows that every encoder can take."""
        weighted = read_weights(text)
        units = _units(weighted.text, self._tokenizers)
        windows: list[tuple[Tokens, ...]] = []
        at = 0
        while at < len(units) and len(windows) < MAX_WINDOWS:
            begin, at = at, _end_of_window(units, at, self.window)
            if at < len(units) and len(windows) < MAX_WINDOWS - 1:
                at = _best_break(units, begin, at, weighted.text)
            windows.append(_window(units[begin:at], weighted.weights, self.window))
        encoders = range(len(self._tokenizers))
        measure = PromptMeasure(
            tokens=max(sum(len(unit.parts[encoder]) for unit in units) for encoder in encoders),
            window=self.window,
            windows=max(1, len(windows)),
            passages=weighted.passages,
            unread=weighted.unread,
            cut=text[weighted.origins[units[at].start] :].strip() if at < len(units) else "",
        )
        empty = (Tokens((), ()),) * len(encoders)
        return Reading(tuple(windows) or (empty,), measure)


class _Token(NamedTuple):
    id: int
    start: int
    end: int


class _Unit(NamedTuple):
    """The least that can be moved to another window: for CLIP one token, or the several of one character."""

    start: int
    end: int
    parts: tuple[tuple[_Token, ...], ...]
    """Its tokens for each encoder."""


def _units(text: str, tokenizers: Sequence[Tokenizer]) -> list[_Unit]:
    """Cut a text wherever every tokenizer begins a token."""
    found = [_tokens(text, tokenizer) for tokenizer in tokenizers]
    starts = sorted(set[int].intersection(*map(_boundaries, found)))
    shares = [
        {number: tuple(share) for number, share in groupby(tokens, lambda token: bisect_right(starts, token.start))}
        for tokens in found
    ]
    units: list[_Unit] = []
    for number, start in enumerate(starts, 1):
        parts = tuple(share.get(number, ()) for share in shares)
        units.append(_Unit(start, max(token.end for part in parts for token in part), parts))
    return units


def _tokens(text: str, tokenizer: Tokenizer) -> list[_Token]:
    found = tokenizer.encode(text, add_special_tokens=False)
    return [_Token(token, start, end) for token, (start, end) in zip(found.ids, found.offsets, strict=True)]


def _boundaries(tokens: list[_Token]) -> set[int]:
    """Where a token begins that no earlier one reaches into; the tokens of one character share its place."""
    found: set[int] = set()
    reached = 0
    for token in tokens:
        if token.start >= reached:
            found.add(token.start)
        reached = max(reached, token.end)
    return found


def _end_of_window(units: list[_Unit], begin: int, room: int) -> int:
    """As many units as there is room for; one that has more tokens than that is alone, and loses its end."""
    left = [room] * len(units[begin].parts)
    end = begin
    while end < len(units):
        left = [most - len(part) for most, part in zip(left, units[end].parts, strict=True)]
        if min(left) < 0:
            break
        end += 1
    return max(begin + 1, end)


def _best_break(units: list[_Unit], begin: int, end: int, text: str) -> int:
    """Go back from `end` to the end of a phrase or else of a word, if one is near."""
    near = range(end, max(begin, end - _LOOK_BACK), -1)
    word_ends = [at for at in near if units[at].start > units[at - 1].end]
    phrase_ends = [at for at in word_ends if text[units[at - 1].end - 1] in _PHRASE_ENDS]
    return next(chain(phrase_ends, word_ends), end)


def _window(units: list[_Unit], weights: Sequence[float], room: int) -> tuple[Tokens, ...]:
    def tokens(encoder: int) -> Tokens:
        found = [token for unit in units for token in unit.parts[encoder]][:room]
        return Tokens(tuple(token.id for token in found), tuple(weights[token.start] for token in found))

    return tuple(map(tokens, range(len(units[0].parts))))
