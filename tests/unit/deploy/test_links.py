"""Documents lead to files and headings that there are, and whatever names a page of docs names one that is there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.compose_files import ROOT

_GIT: Final = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
_SAID: Final = subprocess.run(_GIT, cwd=ROOT, capture_output=True, text=True, check=True).stdout
LISTED: Final = [name for name in _SAID.split("\0") if (ROOT / name).is_file()]
PAGES: Final = [name for name in LISTED if name.endswith(".md")]
TEXTS: Final = {"", ".css", ".example", ".js", ".json", ".lua", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}


@cache
def anchors(path: Path) -> set[str]:
    """What a forge lets one jump to."""
    text = without_code(path)
    headings = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    named = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)">', text))


def without_code(path: Path) -> str:
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def broken(links: Iterator[str] | list[str], beside: Path) -> list[str]:
    """Those that lead nowhere."""
    missing: list[str] = []
    for link in links:
        name, _, anchor = link.partition("#")
        path = beside.parent / name if name else beside
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(link)
    return missing


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(ROOT / page))

    assert broken([link for link in links if not re.match(r"[a-z]+:", link)], ROOT / page) == []


def test_pages_that_are_named_elsewhere_are_there() -> None:
    """In messages, settings and comments: the address that somebody in trouble is told to read."""
    named = {
        name: re.findall(r"(?<![\w/.-])docs/[\w/.-]+?\.md(?:#[\w-]+)?", (ROOT / name).read_text())
        for name in LISTED
        if Path(name).suffix in TEXTS
    }

    assert sum(map(len, named.values())) > len(PAGES)
    assert {name: missing for name, links in named.items() if (missing := broken(links, ROOT / "README.md"))} == {}
