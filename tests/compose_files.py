"""The compose files, read as Docker Compose reads them: one laid over the other, variables filled in.

After "Merge Compose files" and "Interpolation" of docs.docker.com/reference/compose-file, as far as our files go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import yaml

ROOT: Final = Path(__file__).parents[1]
BASE: Final = "docker-compose.yml"

Tree = dict[str, Any]

_REPLACED: Final = frozenset({"command", "entrypoint", "test"})
"""Lists that the later file replaces; other lists grow."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unset(Exception):
    """A variable that must be there is not; the text is what its file says."""


@dataclass(frozen=True)
class Tagged:
    """A value under `!reset` or `!override`."""

    tag: str
    value: object


class Loader(yaml.SafeLoader):
    """YAML with Compose' tags."""


def _tagged(loader: yaml.SafeLoader, node: yaml.Node) -> Tagged:
    match node:
        case yaml.SequenceNode():
            value: object = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
        case _:
            value = None
    return Tagged(node.tag, value)


for _tag in ("!reset", "!override"):
    Loader.add_constructor(_tag, _tagged)


@cache
def read(name: str) -> Tree:
    """Read one file as it stands. Nobody changes what it returns."""
    return cast("Tree", yaml.load((ROOT / name).read_text(), Loader))  # noqa: S506 a safe loader with two tags more


def merged(*names: str, env: Mapping[str, str]) -> Tree:
    """Lay the files over each other, the later over the earlier. Raises Unset."""
    whole: Tree = {}
    for name in names:
        tree = {key: value for key, value in read(name).items() if not key.startswith("x-")}
        whole = _laid(whole, filled(tree, env))
    return whole


def filled(value: Any, env: Mapping[str, str]) -> Any:  # noqa: ANN401 any YAML
    """Fill in the variables in all texts. Raises Unset."""
    match value:
        case str():
            return _fill(value, env)
        case list():
            return [filled(one, env) for one in cast("list[object]", value)]
        case dict():
            return {key: filled(one, env) for key, one in cast("Tree", value).items()}
        case Tagged():
            return Tagged(value.tag, filled(value.value, env))
        case _:
            return value


def variables(text: str) -> set[str]:
    """Name the variables that a file asks for."""
    return set(re.findall(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)", text))


def _laid(lower: Tree, upper: Tree) -> Tree:
    both = dict(lower)
    for key, value in upper.items():
        match value, both.get(key):
            case Tagged("!reset"), _:
                both.pop(key, None)
            case Tagged(_, value), _:
                both[key] = value
            case dict(), dict() | None:
                both[key] = _laid(cast("Tree", lower.get(key) or {}), cast("Tree", value))
            case list(), list() if key == "volumes":
                both[key] = _by_target(cast("list[Any]", lower[key]), cast("list[Any]", value))
            case list(), list() if key not in _REPLACED:
                both[key] = [*cast("list[object]", lower[key]), *cast("list[object]", value)]
            case _:
                both[key] = value
    return both


def _by_target(lower: list[Any], upper: list[Any]) -> list[Any]:
    return list({target(one): one for one in [*lower, *upper]}.values())


def target(volume: str | Tree) -> str:
    """Say where in the container a volume is."""
    return volume.split(":")[1] if isinstance(volume, str) else str(volume["target"])


def _fill(text: str, env: Mapping[str, str]) -> str:
    done, rest = "", text
    while "$" in rest:
        before, _, rest = rest.partition("$")
        done += before
        if rest.startswith("$"):
            done, rest = f"{done}$", rest[1:]
            continue
        assert rest.startswith("{"), f"a bare $ in {text!r}"
        end = _closing(rest)
        done, rest = done + _value(rest[1:end], env), rest[end + 1 :]
    return done + rest


def _closing(text: str) -> int:
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return at
    raise AssertionError(f"no end of {text!r}")


def _value(asked: str, env: Mapping[str, str]) -> str:
    found = _NAME.match(asked)
    assert found is not None, asked
    name, how = found[0], asked[found.end() :]
    value = env.get(name)
    is_there = bool(value) if how.startswith(":") else value is not None
    if is_there or not how:
        return value or ""
    word = how.removeprefix(":")
    if word.startswith("?"):
        raise Unset(f"{name}: {word[1:]}")
    assert word.startswith("-"), asked
    return _fill(word[1:], env)
