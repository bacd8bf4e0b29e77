"""docs/threat-model.md names tests that there are, for all of OWASP's ten."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW = re.compile(r"^\| \*\*API(\d+)\*\* .*$", re.MULTILINE)


@cache
def named_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def test_each_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE)

    assert len(named) == PAGE.count("::test_")
    assert [f"{file}::{name}" for file, name in named if name not in named_in(file)] == []


def test_all_ten_are_answered_each_by_a_test() -> None:
    rows = {int(row[1]): row[0] for row in ROW.finditer(PAGE)}

    assert sorted(rows) == list(range(1, 11))
    assert [number for number, row in rows.items() if not NAMED.search(row)] == []


def test_each_threat_is_answered_by_a_test() -> None:
    table = PAGE.partition("## Threats, and how each is met")[2].partition("\n## ")[0]
    threats = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]

    assert threats
    assert [line for line in threats if not NAMED.search(line)] == []
