"""A call of a Lua script as a value: what to send and how to read the reply. Does no I/O.

A script is its file in `shared/lua`, after the files that its header names on a line
`-- With: keys, record`. Every reply is a list that begins with a code (`OK`, `MISSING`, ...).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Generic, TypeAlias, TypeVar

from shared.keys import Keys

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Argument: TypeAlias = str | bytes | int | float
Reply: TypeAlias = "bytes | int | list[Reply] | None"
"""What Redis answers to a script, undecoded."""

_WITH = re.compile(r"^-- With: (?P<names>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua source and the digest under which Redis keeps it."""

    name: str
    source: str
    sha: str


@cache
def load(name: str) -> Script:
    """Read `shared/lua/<name>.lua` and what it stands on."""
    source = _read(name)
    match = _WITH.search(source)
    parts = [_read(part.strip()) for part in match["names"].split(",")] if match else []
    whole = "\n".join([*parts, source])
    return Script(name, whole, hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One run of a script; sending the same call again is safe."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    parse: Callable[[Reply], T_co]
    """Turns the reply into a value; raises the DarkroomError that the reply's code stands for."""


def call_of(name: str, keys: Keys, args: tuple[Argument, ...], parse: Callable[[str, list[Reply]], T]) -> Call[T]:
    """Make a call of the script `name`; `parse` gets the reply's code and what follows it."""

    def parse_reply(reply: Reply) -> T:
        code, *rest = items(reply)
        return parse(text(code), rest)

    return Call(load(name), (keys.prefix,), args, parse_reply)


def items(reply: Reply) -> list[Reply]:
    """Take a reply for a list."""
    if not isinstance(reply, list):
        raise TypeError(f"a list was expected, not {reply!r}")
    return reply


def text(reply: Reply) -> str:
    """Take a reply for a string."""
    if not isinstance(reply, bytes):
        raise TypeError(f"a string was expected, not {reply!r}")
    return reply.decode()


def blob(reply: Reply) -> bytes:
    """Take a reply for bytes."""
    if not isinstance(reply, bytes):
        raise TypeError(f"bytes were expected, not {reply!r}")
    return reply


def number(reply: Reply) -> int:
    """Take a reply for an integer."""
    if not isinstance(reply, int):
        raise TypeError(f"an integer was expected, not {reply!r}")
    return reply


def _read(name: str) -> str:
    return resources.files("shared").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
