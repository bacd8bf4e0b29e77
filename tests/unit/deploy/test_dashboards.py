"""Dashboards ask what there is, are laid out without holes' worth of overlap, and are those that the source says."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from deploy.dashboards.__main__ import texts
from deploy.dashboards.form import SOURCE, WIDTH
from tests.compose_files import ROOT, read
from tests.promql import (
    DASHBOARDS,
    FOLDER,
    Json,
    aggregations,
    asked,
    dashboard,
    filled,
    labels_of,
    panels,
    selectors,
    series,
    told_labels,
)

UNITS: Final = {"short", "s", "percentunit", "bytes", "reqps", "ops", "watt", "joule", "celsius"}
"""Those of Grafana's that we use."""
YES_IF_WRITTEN: Final = "darkroom_redis_writes_ok"
PROVISIONED: Final = FOLDER / "grafana"


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def provisioned(name: str) -> Json:
    return cast("Json", yaml.safe_load((PROVISIONED / name).read_text()))


def test_the_files_are_what_the_source_says() -> None:
    """Else: make dashboards."""
    assert {path.name: path.read_text() for path in DASHBOARDS} == texts()


def test_it_asks_for_metrics_and_labels_that_there_are(path: Path) -> None:
    known = series()

    for query in (query for panel in panels(path) for query in asked(panel)):
        for one in selectors(query):
            assert one.name in known, query
            assert labels_of(one) <= known[one.name], query
        for by, added_up in aggregations(query):
            for one in added_up:
                assert by <= known[str(one.name)], query


def test_what_is_asked_beside_the_panels_is_there_too(path: Path) -> None:
    (marks,) = dashboard(path)["annotations"]["list"]
    variables = dashboard(path)["templating"]["list"]

    assert [one.name for one in selectors(marks["expr"])] == ["ALERTS"]
    for variable in variables:
        metric, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
        assert label in series()[metric]
    used = {name for panel in panels(path) for target in panel["targets"] for name in _variables(target["expr"])}
    assert used <= {"__rate_interval", *(variable["name"] for variable in variables)}


def _variables(expr: str) -> set[str]:
    return {part.split("]")[0].split('"')[0] for part in expr.split("$")[1:]}


def test_legends_name_labels_that_come_out(path: Path) -> None:
    for target in (target for panel in panels(path) for target in panel["targets"]):
        kept = {label for by, _ in aggregations(filled(target["expr"])) for label in by} - {"le"}
        assert told_labels(target["legendFormat"]) <= kept, target


def test_every_panel_has_a_title_a_unit_and_says_what_it_means(path: Path) -> None:
    shown = panels(path)

    assert len({panel["title"] for panel in shown}) == len(shown)
    for panel in shown:
        assert len(panel["description"]) > 15, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["datasource"] == SOURCE
        assert [target["datasource"] for target in panel["targets"]] == [SOURCE] * len(panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_a_figure_is_of_now_and_a_plot_of_the_range(path: Path) -> None:
    for panel in panels(path):
        is_figure = panel["type"] == "stat"
        assert {(one["instant"], one["range"]) for one in panel["targets"]} == {(is_figure, not is_figure)}
        assert len(panel["targets"]) == 1 or not is_figure


def test_limits_go_up(path: Path) -> None:
    for panel in panels(path):
        first, *others = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert first["value"] is None
        assert [step["value"] for step in others] == sorted({step["value"] for step in others})


def test_a_yes_or_no_is_shown_as_a_word(path: Path) -> None:
    """For each value that there can be: a 0 without one would be read as a count."""
    for panel in panels(path):
        asks = {str(one.name) for query in asked(panel) for one in selectors(query)}
        words = [set(one["options"]) for one in panel["fieldConfig"]["defaults"].get("mappings", ())]
        is_yes_or_no = panel["type"] == "stat" and asks <= {"darkroom_redis_up", "darkroom_store_up", YES_IF_WRITTEN}
        assert words == ([{"0", "1"}] if is_yes_or_no else []), panel["title"]


def test_a_colour_is_for_a_series_that_there_can_be(path: Path) -> None:
    """By a legend that is fixed, or one that is a label's value."""
    for panel in panels(path):
        legends = {target["legendFormat"] for target in panel["targets"]}
        fixed = {legend for legend in legends if "{{" not in legend}
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in fixed or fixed != legends, panel["title"]


def test_no_panel_lies_over_another_and_all_have_ids(path: Path) -> None:
    laid = dashboard(path)["panels"]

    assert len({panel["id"] for panel in laid}) == len(laid)
    for panel in laid:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH
        assert min(place.values()) >= 0
    assert [(a["title"], b["title"]) for a, b in combinations(laid, 2) if _overlap(a["gridPos"], b["gridPos"])] == []


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    apart = (
        a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    )
    return not apart


def test_the_first_rows_fill_their_width(path: Path) -> None:
    """What tells whether to worry is one line."""
    first = [panel for panel in panels(path) if panel["gridPos"]["y"] == 1]

    assert sum(panel["gridPos"]["w"] for panel in first) == WIDTH
    assert {panel["type"] for panel in first} == {"stat"}


def test_dashboards_have_addresses_of_their_own() -> None:
    told = [dashboard(path) for path in DASHBOARDS]

    assert len({one["uid"] for one in told}) == len({one["title"] for one in told}) == len(told) == 3
    assert all(len(one["uid"]) <= 40 for one in told)
    assert all("id" not in one for one in told)  # it would be another's in somebody's Grafana


def test_the_data_source_is_provisioned_as_the_panels_name_it() -> None:
    (source,) = provisioned("datasources.yml")["datasources"]
    prometheus = read("docker-compose.yml")["services"]["prometheus"]
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert (source["type"], source["uid"]) == (SOURCE["type"], SOURCE["uid"])
    assert source["url"] == "http://prometheus:9090"
    assert prometheus["ports"][0].endswith(":9090")
    assert source["jsonData"]["timeInterval"] == scraped


def test_the_dashboards_are_provisioned_from_where_compose_puts_them() -> None:
    grafana = read("docker-compose.yml")["services"]["grafana"]
    mounted: dict[str, Any] = {
        volume["target"]: ROOT / volume["source"] for volume in grafana["volumes"] if isinstance(volume, dict)
    }
    (provider,) = provisioned("dashboards.yml")["providers"]

    assert mounted == {
        "/etc/grafana/provisioning/datasources/darkroom.yml": PROVISIONED / "datasources.yml",
        "/etc/grafana/provisioning/dashboards/darkroom.yml": PROVISIONED / "dashboards.yml",
        provider["options"]["path"]: FOLDER / "dashboards",
    }
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert mounted[str(home.parent)] / home.name in DASHBOARDS
