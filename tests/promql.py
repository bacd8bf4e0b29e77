"""What our dashboards and alert rules ask of Prometheus, taken apart; and what there is to be asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import promql_parser as promql
import yaml

from api.metrics import PREFIX
from shared.meters import METERS, Counter, Histogram

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "observability"
RULES: Final = FOLDER / "rules.yml"
DASHBOARDS: Final = sorted((FOLDER / "dashboards").glob("*.json"))
GRAFANAS: Final = {"$__rate_interval": "1m", "$pool": ".*"}
"""What Grafana fills in, as it does with a scrape each 15 seconds and all pools chosen."""
OF_PROMETHEUS: Final = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity", "pool"},
}

Json = dict[str, Any]


def series() -> dict[str, set[str]]:
    """The labels of all series that there can be, by their names."""
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for meter in METERS:
        name, labels = PREFIX + meter.name, set(meter.labels)
        match meter:
            case Counter():
                found[f"{name}_total"] = labels
            case Histogram():
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            case _:
                found[name] = labels
    return found


@dataclass(frozen=True)
class Rule:
    """An alert."""

    name: str
    expr: str
    body: Json


def rules() -> list[Rule]:
    groups = cast("list[Json]", yaml.safe_load(RULES.read_text())["groups"])
    return [Rule(rule["alert"], rule["expr"], rule) for group in groups for rule in group["rules"]]


def dashboard(path: Path) -> Json:
    return cast("Json", json.loads(path.read_text()))


def panels(path: Path) -> list[Json]:
    """Those that show something."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def asked(panel: Json) -> list[str]:
    """A panel's questions, as Prometheus gets them."""
    return [filled(target["expr"]) for target in panel["targets"]]


def filled(expr: str) -> str:
    for variable, value in GRAFANAS.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr, expr
    return expr


def selectors(expr: str) -> list[promql.VectorSelector]:
    """What a query selects. Fails if it is no PromQL."""
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(promql.parse(expr), visit)
    return found


def text_of(selector: promql.VectorSelector) -> str:
    """The series that it selects, now, in one way to say it."""
    matchers = ", ".join(sorted(map(str, selector.matchers.matchers)))
    return f"{selector.name}{{{matchers}}}" if matchers else str(selector.name)


def labels_of(selector: promql.VectorSelector) -> set[str]:
    return {matcher.name for matcher in selector.matchers.matchers}


def aggregations(expr: str) -> Iterator[tuple[set[str], list[promql.VectorSelector]]]:
    """By which labels a query adds up, and what."""
    nodes: list[promql.AggregateExpr] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.AggregateExpr):
            nodes.append(node)

    promql.walk(promql.parse(expr), visit)
    for node in nodes:
        yield set(node.modifier.labels if node.modifier else ()), selectors(node.expr.prettify())


def told_labels(text: str) -> set[str]:
    """Labels that a legend, or an alert's text, speaks of."""
    return set(re.findall(r"{{\s*(?:\$labels\.)?([a-z_]+)\s*}}", text))
