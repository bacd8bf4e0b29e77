"""What programs of different versions agree on: the contract of jobs, by which no worker gets what it would draw wrong.

A field that a worker does not know it leaves out, and draws another picture than was asked for. So a job says which
contract its worker must know, and `claim` hands it to no older one. Knows nothing of Redis; decision 0031.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from json import dumps
from typing import Final, cast

from shared.generation import GenerationParams

FIRST: Final = 1
"""Of jobs that say nothing, and of workers that say nothing: those from before there was a number."""

CONTRACT: Final = 1
"""What this program's workers know. Raise it with every change of `GenerationParams` that an older worker would draw
wrong or could not read, and say in `NEEDS` which jobs that concerns."""

SCHEMA: Final = "54d81f83f7740415"
"""Digest of the parameters' schema under this contract; a test holds it against `schema_digest()`."""

Rule = Callable[[GenerationParams], bool]

NEEDS: Final[Mapping[int, Rule]] = {}
"""By contract since the first: whether a job needs it, as far as its parameters tell. As few as can be, so that most
jobs stay drawable by older workers: of a new field, those where it says something else than what was done before."""


def needed_by(params: GenerationParams, rules: Mapping[int, Rule] = NEEDS) -> int:
    """Tell the lowest contract under which these parameters are drawn right."""
    return max((contract for contract, needs in rules.items() if needs(params)), default=FIRST)


def schema_digest() -> str:
    """Make a digest of all that the parameters' JSON schema says, but for its words to people."""
    schema = _bare(GenerationParams.model_json_schema())
    return sha256(dumps(schema, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def _bare(schema: object) -> object:
    """Leave out what only people read. A property may be named as one of those words are."""
    if isinstance(schema, list):
        return [_bare(part) for part in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    parts = cast("dict[str, object]", schema)
    return {
        name: {field: _bare(said) for field, said in cast("dict[str, object]", part).items()}
        if name in {"properties", "$defs"}
        else _bare(part)
        for name, part in parts.items()
        if name not in {"title", "description"}
    }
