"""Words that the dashboards' questions to Prometheus share, and their colours."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.form import Query

POOL: Final = 'pool=~"$pool"'
EACH: Final = "$__rate_interval"
"""Grafana's own: four scrapes at least, and as much as a point of the plot stands for."""
GOOD, ODD, BAD = "green", "orange", "red"


def quantiles(metric: str, labels: str = "", *, window: str = EACH, legend: str = "") -> tuple[Query, ...]:
    """Ask below what 50, 90 and 99 of a hundred stayed."""
    rate = f"sum by (le) (rate({metric}_bucket{{{labels}}}[{window}]))"
    return tuple(Query(f"histogram_quantile(0.{n}, {rate})", f"{legend} p{n}".strip()) for n in (50, 90, 99))


def p90(metric: str, labels: str, by: str) -> Query:
    """Ask below what nine of ten stayed, for each value of a label."""
    rate = f"sum by (le, {by}) (rate({metric}_bucket{{{labels}}}[{EACH}]))"
    return Query(f"histogram_quantile(0.9, {rate})", f"{{{{{by}}}}}")


def a_minute(metric: str, labels: str, by: str) -> Query:
    """Ask how many a minute, for each value of a label."""
    return Query(f"60 * sum by ({by}) (rate({metric}{{{labels}}}[{EACH}]))", f"{{{{{by}}}}}")
