"""docs/licences.md tells of everything that is locked."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ELSEWHERE = {"audioop-lts", "async-timeout"}
"""Wanted by some Pythons only."""


def test_the_page_names_every_locked_package_at_its_version() -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.split(";")[0].strip().split("==") for line in lock if not line.startswith("#"))
    page = (ROOT / "docs" / "licences.md").read_text()

    told = dict(re.findall(r"^\| \[(\S+)\]\(\S+\) \| (\d\S*) \|", page, re.MULTILINE))

    assert told == {name: version for name, version in pins.items() if name not in ELSEWHERE}, "run make licences"
