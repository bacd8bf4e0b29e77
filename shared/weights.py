r"""How a prompt says that a passage matters more or less; knows nothing of tokens.

    (a red circle)1.4    (a red circle)++    of compel: a number, or 1.1 for each + and 0.9 for each -
    (a red circle:1.4)                       of AUTOMATIC1111
    circle++  circle--                       of compel, on one word of two letters and more

A weight is from 0 to 2 and stands right behind its passage, with a blank, punctuation or the end after it; what
stands in each other multiplies, and 2 is the most. `\(`, `\)`, `\+`, `\-` mean the sign itself.

All else is text, to the letter: plain and doubled parentheses, brackets, quotes, C++, A+, :-), (16:9), (c)2024, f(x)2,
what is left open. So is the rest of compel's and AUTOMATIC1111's languages (`.and()`, `.swap()`, `<lora:...>`) and a
weight beyond 2, but these were meant to do something, so they are told as `unread`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Final

MAX_WEIGHT: Final = 2.0
"""compel's author finds garbage beyond 1.6 or so, with SD 1.5."""

PLUS: Final = 1.1
MINUS: Final = 0.9
"""compel's steps."""

_NUMBER = r"\d+\.\d+|\.\d+|\d+"
_BEHIND = r"(?=[\s,.;:!?)\]}(]|$)(?!\.\d)"
_MARK: Final = re.compile(
    r"\\[()+\-]"
    r"|\("
    rf"|(?::[ ]*(?P<colon>{_NUMBER})[ ]*)?\)"
    rf"|(?<![\w'+\-])[^\W\d_](?:[\w'\-]*[^\W_])(?P<signs>\+{{2,}}|-{{2,}}){_BEHIND}"
)
_BEHIND_GROUP: Final = re.compile(rf"(?:(?P<number>{_NUMBER})|(?P<signs>\++|-+)){_BEHIND}")
_UNREAD: Final = re.compile(
    r"<(?:lora|lyco|hypernet):[^<>]*>"
    r"|[)\"']\.(?:and|add|attend|blend|swap)\([^()]*\)"
    r"|\b(?:useLora|withLora)\([^()]*\)"
    rf"|(?<![\w)])\([^()]*\)-?\d{{1,2}}(?:\.\d+)?{_BEHIND}"
    rf"|\([^()]*[^\s\d()]:[ ]*-?(?:{_NUMBER})[ ]*\)"
    rf"|\([^()]*:[ ]*(?:{_NUMBER})$"
)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A prompt without its weighting syntax, and what that said."""

    text: str
    """What the encoders are to read; the prompt itself, to the letter, if it has no such syntax."""
    weights: tuple[float, ...]
    """One a character of `text`."""
    origins: tuple[int, ...]
    """Where each character stood in the prompt."""
    unread: tuple[str, ...]
    """What looks like syntax and was left as text."""

    @property
    def passages(self) -> tuple[tuple[str, float], ...]:
        """What has another weight than 1, in order."""
        found: list[tuple[str, float]] = []
        for weight, characters in groupby(zip(self.text, self.weights, strict=True), key=lambda pair: pair[1]):
            passage = "".join(character for character, _ in characters).strip()
            if weight != 1 and passage:
                found.append((passage, weight))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Span:
    """A passage and the syntax around it, as places in the prompt: `start` ... `first` to `last` ... `end`."""

    start: int
    first: int
    last: int
    end: int
    weight: float


def read_weights(prompt: str) -> Weighted:
    """Take the weights out of a prompt. Reads anything; its time grows with the length alone."""
    spans, escapes = _marks(prompt)
    opening = {span.start: span for span in spans}
    closing = {span.last: span for span in spans}
    text: list[str] = []
    weights: list[float] = []
    origins: list[int] = []

    def read(character: str) -> None:
        text.append(character)
        weights.append(min(MAX_WEIGHT, weight))
        origins.append(at)

    around: list[float] = []
    weight, at = 1.0, 0
    while at < len(prompt):
        if at in opening:
            span = opening.pop(at)
            around.append(weight)
            weight *= span.weight
            at = span.first
        elif at in closing:
            span = closing[at]
            weight = around.pop()
            if re.match(r"[\w(]", prompt[span.end : span.end + 1]):
                read(" ")  # or two words would become one
            at = span.end
        else:
            at += at in escapes
            read(prompt[at])
            at += 1
    plain = "".join(text)
    return Weighted(plain, tuple(weights), tuple(origins), tuple(match[0] for match in _UNREAD.finditer(plain)))


def _marks(prompt: str) -> tuple[list[_Span], set[int]]:
    """Find the weighted passages, and the backslashes that only say that the next sign is text."""
    spans: list[_Span] = []
    escapes: set[int] = set()
    open_at: list[int] = []
    ends: set[int] = set()
    at = 0
    while mark := _MARK.search(prompt, at):
        at = mark.end()
        if mark[0] == "(":
            open_at.append(mark.start())
        elif mark[0].startswith("\\"):
            escapes.add(mark.start())
        elif mark["signs"]:
            spans.append(_Span(mark.start(), mark.start(), mark.start("signs"), at, _steps(mark["signs"])))
        elif open_at:
            start = open_at.pop()
            is_joined = start not in ends and bool(re.match(r"\w", prompt[max(0, start - 1) : start]))
            span = _group(prompt, start, mark, is_joined=is_joined)
            if span is not None:
                spans.append(span)
                ends.add(span.end)
                at = span.end
    return spans, escapes


def _group(prompt: str, start: int, close: re.Match[str], *, is_joined: bool) -> _Span | None:
    """Read the weight of what stands between the parenthesis at `start` and `close`; None if it has none.

    `is_joined`: a word stands right before it, as in f(x)2, which is no weight.
    """
    inside, number = prompt[start + 1 : close.start()], close["colon"]
    is_ratio = inside[-1:].isdigit() and "." not in (number or "")
    if number is not None and not is_ratio:
        span = _Span(start, start + 1, close.start(), close.end(), float(number))
    else:
        behind = _BEHIND_GROUP.match(prompt, close.end())
        if behind is None or is_joined:
            return None
        weight = _steps(behind["signs"]) if behind["signs"] else float(behind["number"])
        span = _Span(start, start + 1, close.end() - 1, behind.end(), weight)
    return span if span.weight <= MAX_WEIGHT and re.search(r"[^\W_]", inside) else None


def _steps(signs: str) -> float:
    return min(MAX_WEIGHT, (PLUS if signs[0] == "+" else MINUS) ** len(signs))
