"""How Grafana is told of a dashboard: its JSON, panels laid out from left to right. Knows nothing of what is shown.

After dashboards that Grafana 13 exports ("classic" model, schema 41), as far as ours go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
"""The data source: deploy/observability/grafana/datasources.yml gives it this uid."""
WIDTH: Final = 24
TAG: Final = "darkroom"
"""By which the dashboards find each other."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of Prometheus, and how its series are called."""

    expr: str
    legend: str = ""
    """With labels as `{{pool}}`."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot over time."""

    title: str
    help: str
    unit: str
    """As Grafana names it: `s`, `percentunit`, `bytes`, `short`."""
    queries: tuple[Query, ...]
    width: int = 8
    limits: Mapping[float, str] = field(default_factory=dict[float, str])
    """From which value on it has another colour; in a plot, a line there."""
    most: float | None = None
    """Where the axis ends whatever there is."""
    stacked: bool = False
    colours: Mapping[str, str] = field(default_factory=dict[str, str])
    """By legend, where a series means good or bad."""
    words: Mapping[int, str] = field(default_factory=dict[int, str])
    """What is shown in place of a value that is a yes or a no."""


@dataclass(frozen=True, slots=True)
class Figure(Panel):
    """One number, of now: the last one of a plot would stand there for hours after its series has ended."""

    width: int = 4


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of them."""

    uid: str
    title: str
    help: str
    sections: tuple[Section, ...]
    by_pool: bool = True
    """Whether it can be narrowed to some pools, as `$pool`."""


def json_of(dashboard: Dashboard) -> Json:
    """Say all of it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.help,
        "tags": [TAG],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one cursor in all plots
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {"type": "dashboards", "title": "Darkroom", "tags": [TAG], "asDropdown": True, "keepTime": True, "icon": ""}
        ],
        "annotations": {"list": [_alerts()]},
        "templating": {"list": [_pools()] if dashboard.by_pool else []},
        "panels": list(_laid_out(dashboard.sections)),
    }


def _alerts() -> Json:
    """Mark when alerts fired in every plot."""
    return {
        "name": "Alerts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "step": "60s",
    }


def _pools() -> Json:
    query = "label_values(darkroom_workers, pool)"
    return {
        "name": "pool",
        "label": "Pool",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "pool"},
        "definition": query,
        "refresh": 2,  # whenever the range of time changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _laid_out(sections: Sequence[Section]) -> Iterator[Json]:
    number, top = 1, 0
    for section in sections:
        yield {
            "id": number,
            "type": "row",
            "title": section.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
        }
        number, top, left, height = number + 1, top + 1, 0, 0
        for panel in section.panels:
            if left + panel.width > WIDTH:
                left, top, height = 0, top + height, 0
            tall = 4 if isinstance(panel, Figure) else 8
            place = {"x": left, "y": top, "w": panel.width, "h": tall}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            number, left, height = number + 1, left + panel.width, max(height, tall)
        top += height


def _panel(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in sorted(panel.limits.items())]
    defaults: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.words:
        said = {str(value): {"text": text, "index": at} for at, (value, text) in enumerate(panel.words.items())}
        defaults["mappings"] = [{"type": "value", "options": said}]
    return {
        "type": "stat" if isinstance(panel, Figure) else "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "targets": [_target(number, query, panel) for number, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": {**defaults, **_look(panel)}, "overrides": list(_colours(panel))},
        "options": _options(panel),
    }


def _target(number: int, query: Query, panel: Panel) -> Json:
    is_of_now = isinstance(panel, Figure)
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": not is_of_now,
        "instant": is_of_now,
    }


def _look(panel: Panel) -> Json:
    if isinstance(panel, Figure):
        return {"color": {"mode": "thresholds"}}
    return {
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "auto",  # a lone value between gaps is a point
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.limits else "off"},
        },
    }


def _colours(panel: Panel) -> Iterator[Json]:
    for legend, colour in panel.colours.items():
        yield {
            "matcher": {"id": "byName", "options": legend},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }


def _options(panel: Panel) -> Json:
    if isinstance(panel, Figure):
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "value",
            "justifyMode": "auto",
            "orientation": "auto",
        }
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
