"""Nothing that comes from outside is code: neither in the broker, nor in files, nor in what we run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from kombu.exceptions import ContentDisallowed  # pyright: ignore[reportMissingTypeStubs]: kombu ships no types
from kombu.serialization import dumps, loads  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from shared.broker import make_app
from shared.settings import Settings

ROOT = Path(__file__).parents[3]
PARTS = ("api", "deploy", "shared", "ui", "worker")
UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
EVALUATORS = {"eval", "exec", "compile"}


def test_the_broker_takes_json_alone() -> None:
    conf = cast("Any", make_app(Settings())).conf

    assert (conf.accept_content, conf.task_serializer) == (["json"], "json")
    content_type, encoding, body = cast("tuple[str, str, bytes]", dumps({"a": 1}, serializer="pickle"))
    with pytest.raises(ContentDisallowed):
        loads(body, content_type, encoding, accept={"application/json"})


def test_nothing_is_unpickled_evaluated_or_run_by_a_shell() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {what}"
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        for line, what in dangers(ast.parse(file.read_text()))
    ]

    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "eval('1')",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "run('ls', shell=True)",
        "from_pretrained(name, trust_remote_code=True)",
        "yaml.load(text)",
    ],
)
def test_each_of_them_would_be_seen(code: str) -> None:
    assert list(dangers(ast.parse(code)))


def dangers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if UNPICKLERS & {name.name.partition(".")[0] for name in names}:
                yield node.lineno, "unpickles"
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in UNPICKLERS:
                yield node.lineno, "unpickles"
            case ast.Call(func=ast.Name(id=name)) if name in EVALUATORS:
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")) if not says(
                node, "weights_only"
            ):
                yield node.lineno, "torch.load of anything"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load")):
                yield node.lineno, "yaml.load"
            case ast.Call() if says(node, "shell") or says(node, "trust_remote_code"):
                yield node.lineno, "a shell, or code from elsewhere"
            case _:
                continue


def says(call: ast.Call, name: str) -> bool:
    """True if an argument of this name is there and not False."""
    said = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return any(not (isinstance(value, ast.Constant) and value.value is False) for value in said)
