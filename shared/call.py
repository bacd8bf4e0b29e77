"""A call of a Redis function as a value: what to send and how to read the reply. Does no I/O.

Each verb in `shared/lua` is a function of one library, after the parts that all of them stand on. The library is named
by its content, so that programs of different versions run on one Redis, each with its own. Every reply is a list that
begins with a code (`OK`, `MISSING`, ...).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Generic, TypeAlias, TypeVar

from shared.keys import Keys

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Argument: TypeAlias = str | bytes | int | float
Reply: TypeAlias = "bytes | int | list[Reply] | None"
"""What Redis answers to a call, undecoded."""

PARTS: Final = ("keys", "meters", "work", "fair", "outbox", "record")
"""The files that hold no verb, each standing on those before it."""

_FLAG: Final = re.compile(r"^-- Flags (?P<flag>[a-z-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Library:
    """All verbs, as Redis loads them."""

    name: str
    source: str


@cache
def library() -> Library:
    """Read `shared/lua`."""
    files = sorted(file.name.removesuffix(".lua") for file in resources.files("shared").joinpath("lua").iterdir())
    verbs = [name for name in files if name not in PARTS]
    parts = "\n".join(map(_read, PARTS))
    sources = [parts, *map(_read, verbs)]
    name = "darkroom_" + hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
    functions = (_function(f"{name}_{verb}", source) for verb, source in zip(verbs, sources[1:], strict=True))
    return Library(name, "\n".join((f"#!lua name={name}", parts, *functions)))


def _flag_of(source: str) -> str:
    """Read in a verb's header what Redis is to let it do (redis.io/docs, script flags)."""
    match = _FLAG.search(source)
    return match["flag"] if match else ""


def _function(name: str, source: str) -> str:
    flag = _flag_of(source)
    flags = f"'{flag}'" if flag else ""
    return f"""redis.register_function{{function_name = '{name}', flags = {{{flags}}}, callback = function(KEYS, ARGV)
name_keys(KEYS[1])
{source}
end}}
"""


@cache
def _name_of(verb: str) -> str:
    return f"{library().name}_{verb}"


_TIDYING: Final = frozenset({"admit", "batches", "demand", "fleet"})
"""Verbs that only read, as far as those who call them know: what they write, their next run would write again."""


@cache
def _writes(verb: str) -> bool:
    return verb not in _TIDYING and _flag_of(_read(verb)) != "no-writes"


@cache
def _script_of(verb: str) -> str:
    source = _read(verb)
    flag = _flag_of(source)
    shebang = f"#!lua flags={flag}" if flag else "#!lua"
    return "\n".join((shebang, *map(_read, PARTS), "name_keys(KEYS[1])", source))


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One run of a function; sending the same call again is safe."""

    verb: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    parse: Callable[[Reply], T_co]
    """Turns the reply into a value; raises the DarkroomError that the reply's code stands for."""

    @property
    def words(self) -> tuple[Argument, ...]:
        """What is sent to a Redis that has the library."""
        return ("FCALL", _name_of(self.verb), len(self.keys), *self.keys, *self.args)

    @property
    def writes(self) -> bool:
        """True unless the verb is one that only reads."""
        return _writes(self.verb)

    @property
    def words_of_script(self) -> tuple[Argument, ...]:
        """What is sent to one that is too full to load it: the verb as a script, with the same flags."""
        return ("EVAL", _script_of(self.verb), len(self.keys), *self.keys, *self.args)


def call_of(name: str, keys: Keys, args: tuple[Argument, ...], parse: Callable[[str, list[Reply]], T]) -> Call[T]:
    """Make a call of the verb `name`; `parse` gets the reply's code and what follows it."""

    def parse_reply(reply: Reply) -> T:
        code, *rest = items(reply)
        return parse(text(code), rest)

    return Call(name, (keys.prefix,), args, parse_reply)


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
