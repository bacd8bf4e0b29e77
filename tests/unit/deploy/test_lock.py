"""requirements.lock fits pyproject.toml, and any machine."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[3]


def name_and_version(requirement: str) -> tuple[str, str]:
    name, version = requirement.partition(";")[0].strip().split("==")
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower(), version


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(name_and_version(line) for line in lines if not line.startswith("#"))


def test_every_package_of_the_project_is_locked_at_its_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups: list[list[str]] = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = dict(map(name_and_version, chain.from_iterable(groups)))

    pins = locked()

    assert {name: pins.get(name) for name in wanted} == wanted


def test_no_line_is_of_one_machine() -> None:
    assert not re.search(r"file:|://|\+| @ ", (ROOT / "requirements.lock").read_text())
