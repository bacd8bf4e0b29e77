"""docs/operations/metrics.md lists each meter as the code has it, and no other; its queries ask for these."""

from __future__ import annotations

import re
from pathlib import Path

from shared.meters import METERS, Counter, Histogram, Meter

PAGE = (Path(__file__).parents[3] / "docs/operations/metrics.md").read_text()
PREFIX = "darkroom_"
QUERIES = re.findall(r"\| `(\S.*?darkroom_.*)` \|$", PAGE.partition("## To begin with")[2], re.MULTILINE)


def row_of(meter: Meter) -> str:
    kind = type(meter).__name__.lower()
    name = f"{PREFIX}{meter.name}{'_total' if isinstance(meter, Counter) else ''}"
    labels = ", ".join(f"`{label}`" for label in meter.labels) or "-"
    return f"| `{name}` | {kind} | {labels} | {meter.help} |"


def series() -> set[str]:
    """The names that can be asked for."""
    told = set[str]()
    for one in METERS:
        endings = ("_bucket", "_count", "_sum") if isinstance(one, Histogram) else ("",)
        told |= {f"{PREFIX}{one.name}{'_total' if isinstance(one, Counter) else ending}" for ending in endings}
    return told


def test_the_page_lists_each_meter_as_the_code_has_it_and_no_other() -> None:
    listed = re.findall(rf"^\| `{PREFIX}.*\|$", PAGE, re.MULTILINE)

    assert listed == [row_of(meter) for meter in METERS]


def test_its_queries_ask_for_what_there_is() -> None:
    assert len(QUERIES) >= 6
    for query in QUERIES:
        asked = set(re.findall(rf"{PREFIX}\w+", query))
        assert asked
        assert asked <= series(), query
